import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from medseg.errors import VolumeError
from medseg.io import read_geometry, read_volume, write_volume
from medseg.volume import Geometry, Volume


def image(dtype=np.int16) -> sitk.Image:
    made = sitk.GetImageFromArray(np.arange(60).reshape(5, 4, 3).astype(dtype))  # K J I
    made.SetSpacing((0.5, 0.75, 2.0))
    made.SetOrigin((10.0, -20.0, 30.0))
    made.SetDirection((0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0))
    return made


def refusal(path) -> str:
    with pytest.raises(VolumeError) as caught:
        read_volume(path)
    assert str(caught.value).startswith(path.name) and ";" in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("suffix", [".nrrd", ".nhdr", ".mha", ".mhd"])
def test_values_and_places_equal_itk(tmp_path, suffix, compressed):
    path = tmp_path / f"a{suffix}"
    sitk.WriteImage(image(), str(path), useCompression=compressed)
    volume = read_volume(path)
    assert volume.array.dtype == np.int16 and read_geometry(path) == volume.geometry
    for index in [(0, 0, 0), (2, 3, 4), (1, 0, 2)]:
        assert volume.array[index] == image()[index]
        lps = np.array(image().TransformIndexToPhysicalPoint(index))
        world = volume.geometry.to_world(np.array([index], dtype=np.float64))[0]
        np.testing.assert_allclose(world, lps * (-1, -1, 1), atol=1e-9)


@pytest.mark.parametrize(
    "dtype", [np.uint8, np.int8, np.uint16, np.int32, np.uint32, np.int64, np.float32, np.float64]
)
@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_types_are_kept(tmp_path, suffix, dtype):
    sitk.WriteImage(image(dtype), str(tmp_path / f"a{suffix}"))
    found = read_volume(tmp_path / f"a{suffix}").array
    assert found.dtype == (np.float32 if dtype == np.float64 else dtype)
    np.testing.assert_array_equal(found, np.arange(60).reshape(5, 4, 3).transpose(2, 1, 0))


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_truncated_files_that_itk_may_accept_are_refused(tmp_path, suffix, compressed):
    path = tmp_path / f"a{suffix}"
    sitk.WriteImage(image(), str(path), useCompression=compressed)
    path.write_bytes(path.read_bytes()[:-3])
    assert "truncated" in refusal(path)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_vectors_and_other_dimensions_are_refused(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    sitk.WriteImage(sitk.Compose(image(), image()), str(path))
    assert "vector" in refusal(path) or "4-D" in refusal(path)
    sitk.WriteImage(image()[:, :, 0], str(path))
    assert "2-D" in refusal(path) or "orientation" in refusal(path)


def test_noise_and_missing_orientation_are_refused(tmp_path):
    for suffix in (".nrrd", ".mha", ".nhdr", ".mhd"):
        (tmp_path / f"a{suffix}").write_bytes(b"noise" * 99)
        assert "not a" in refusal(tmp_path / f"a{suffix}")
    (tmp_path / "b.nrrd").write_bytes(
        b"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 1 1 2\nencoding: raw\n\nab"
    )
    assert "no orientation" in refusal(tmp_path / "b.nrrd")
    header = (
        b"ObjectType = Image\nNDims = 3\nDimSize = 1 1 2\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
    )
    (tmp_path / "b.mha").write_bytes(header + b"ab")
    assert "no orientation" in refusal(tmp_path / "b.mha")


def test_a_missing_data_file_is_named(tmp_path):
    sitk.WriteImage(image(), str(tmp_path / "a.mhd"))
    (tmp_path / "a.raw").unlink()
    with pytest.raises(VolumeError, match=r"a\.raw: there is no such file"):
        read_volume(tmp_path / "a.mhd")


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_sheared_axes_cannot_be_written(tmp_path, suffix):
    affine = np.eye(4)
    affine[1, 2] = 0.3
    with pytest.raises(VolumeError, match=r"sheared axes .* write \.nii\.gz"):
        write_volume(
            Volume(np.zeros((2, 2, 2), dtype=np.uint8), Geometry((2, 2, 2), affine)), tmp_path / f"a{suffix}"
        )
    assert not list(tmp_path.iterdir())

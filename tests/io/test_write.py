import errno
import os

import nibabel as nib
import numpy as np
import pytest

from medseg.errors import EnvironmentProblem, VolumeError
from medseg.io import is_volume_file, read_volume, volume_stem, write_volume
from medseg.volume import Geometry, Volume

AFFINE = np.array([[-0.8, 0, 0, 10.3], [0, 0.7, 0.1, 20], [0, -0.1, 3.0, 30], [0, 0, 0, 1]])


def volume(array, affine=AFFINE) -> Volume:
    return Volume(array, Geometry(array.shape, affine))


@pytest.mark.parametrize(
    ("values", "expected"),
    [((0, 1), np.uint8), ((0, 255), np.uint8), ((0, 256), np.uint16), ((-1, 100), np.int16),
     ((0, 70000), np.uint32), ((-40000, 0), np.int32), ((0, 2**40), np.uint64), ((-1, 2**40), np.int64)],
)  # fmt: skip
@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_the_smallest_integer_type(tmp_path, values, expected, suffix):
    made = volume(np.array(values, dtype=np.int64).reshape(1, 1, 2), np.diag([1.0, 1.0, 2.0, 1.0]))
    write_volume(made, tmp_path / f"a{suffix}")
    found = read_volume(tmp_path / f"a{suffix}").array
    assert found.dtype == expected
    np.testing.assert_array_equal(found, made.array)


def test_masks_are_not_rescaled_and_both_forms_agree(tmp_path):
    write_volume(volume(np.eye(3, dtype=bool)[:, :, None].repeat(4, 2)), tmp_path / "mask.nii.gz")
    made = nib.load(tmp_path / "mask.nii.gz")
    assert (made.dataobj.slope, made.dataobj.inter) == (1, 0)
    assert made.get_data_dtype() == np.uint8
    sform, sform_code = made.get_sform(coded=True)
    assert sform_code == 1
    np.testing.assert_allclose(sform, AFFINE, atol=1e-5)


def test_qform_equals_sform_unless_sheared(tmp_path):
    array = np.zeros((4, 5, 6), dtype=np.uint8)
    write_volume(volume(array, np.diag([-0.8, 0.7, 3.0, 1.0])), tmp_path / "a.nii")
    header = nib.load(tmp_path / "a.nii").header
    assert header["qform_code"] == header["sform_code"] == 1
    np.testing.assert_allclose(header.get_qform(), header.get_sform(), atol=1e-5)
    sheared = np.array([[1.0, 0, 0, 0], [0, 1, 0.4, 0], [0, 0, 2, 0], [0, 0, 0, 1]])
    write_volume(volume(array, sheared), tmp_path / "b.nii")
    header = nib.load(tmp_path / "b.nii").header
    assert (header["qform_code"], header["sform_code"]) == (0, 1)
    np.testing.assert_allclose(read_volume(tmp_path / "b.nii").geometry.affine, sheared, atol=1e-6)


def test_floats_are_float32_and_must_be_finite(tmp_path):
    made = volume(np.random.default_rng(0).normal(size=(3, 4, 5)))
    write_volume(made, tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nii.gz").array, made.array.astype(np.float32))
    with pytest.raises(VolumeError, match=r"b\.nii: 1 of 8 voxels"):
        write_volume(volume(np.array([np.nan] + [0.0] * 7).reshape(2, 2, 2)), tmp_path / "b.nii")
    with pytest.raises(VolumeError, match="complex64 cannot be written"):
        write_volume(volume(np.zeros((2, 2, 2), dtype=np.complex64)), tmp_path / "b.nii")


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_the_same_volume_gives_the_same_bytes(tmp_path, suffix):
    made = volume(np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.diag([1.0, 2.0, 3.0, 1.0]))
    for name in ("a", "b"):
        write_volume(made, tmp_path / name / f"mask{suffix}")
    assert (tmp_path / "a" / f"mask{suffix}").read_bytes() == (tmp_path / "b" / f"mask{suffix}").read_bytes()


def test_an_unknown_suffix_is_refused(tmp_path):
    for name in ("mask.png", "mask", "mask.mhd"):
        with pytest.raises(VolumeError, match="name it with one of"):
            write_volume(volume(np.zeros((2, 2, 2), dtype=np.uint8)), tmp_path / name)


def test_a_long_axis_is_written_as_nifti_2(tmp_path):
    made = volume(np.zeros((40000, 1, 1), dtype=np.uint8), np.diag([0.01, 1.0, 1.0, 1.0]))
    write_volume(made, tmp_path / "a.nii.gz")
    assert read_volume(tmp_path / "a.nii.gz").geometry.shape == (40000, 1, 1)


@pytest.mark.parametrize(
    ("code", "fix"), [(errno.ENOSPC, "free some disk space"), (errno.EACCES, "you may write to")]
)
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, code, fix):
    path = tmp_path / "mask.nii.gz"
    write_volume(volume(np.ones((2, 2, 2), dtype=np.uint8)), path)
    before = path.read_bytes()

    def fail(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(EnvironmentProblem, match=rf"mask\.nii\.gz: cannot be written \(.*\); .*{fix}"):
        write_volume(volume(np.zeros((2, 2, 2), dtype=np.uint8)), path)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["mask.nii.gz"]


def test_what_reads_back_differently_does_not_get_its_name(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "medseg.io.write.read_volume",
        lambda path: read_volume(path).with_array(np.ones((2, 2, 2), dtype=np.uint8)),
    )
    with pytest.raises(EnvironmentProblem, match="holds other voxels when read back"):
        write_volume(volume(np.zeros((2, 2, 2), dtype=np.uint8)), tmp_path / "mask.nii.gz")
    assert not list(tmp_path.iterdir())


def test_names(tmp_path):
    assert volume_stem(tmp_path / "scan.nii.gz") == "scan"
    assert volume_stem(tmp_path / "scan.1.NRRD") == "scan.1"
    assert volume_stem(tmp_path / "1.2.840") == "1.2.840"
    (tmp_path / "._scan.nii.gz").touch()
    (tmp_path / "scan.nii.gz").touch()
    assert is_volume_file(tmp_path / "scan.nii.gz")
    assert not is_volume_file(tmp_path / "._scan.nii.gz")
    assert not is_volume_file(tmp_path / "gone.nii.gz")


def test_the_folder_is_made_and_a_missing_file_is_told(tmp_path):
    write_volume(volume(np.zeros((2, 2, 2), dtype=np.uint8)), tmp_path / "new" / "mask.nii.gz")
    with pytest.raises(VolumeError, match=r"gone\.nii\.gz: there is no such file"):
        read_volume(tmp_path / "gone.nii.gz")

import gzip
import os
import struct

import nibabel as nib
import numpy as np
import pytest

from medseg.errors import VolumeError
from medseg.io import read_geometry, read_label, read_volume

AFFINE = np.array([[-2.0, 0, 0, 10], [0, 2.0, 0, 20], [0, 0, 3.0, 30], [0, 0, 0, 1]])


def save(path, array=None, *, affine=AFFINE, kind=nib.Nifti1Image, **fields):
    """A NIfTI file by nibabel; ``fields`` are then set in the header on the disk."""
    array = np.arange(60, dtype=np.int16).reshape(3, 4, 5) if array is None else array
    image = kind(array, affine)
    image.set_qform(affine, fields.pop("qform_code", 1))
    nib.save(image, path)
    if fields:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        header = kind.header_class(content[: kind.header_class.sizeof_hdr], check=False)
        for name, value in fields.items():
            header[name] = value
        content = header.binaryblock + content[len(header.binaryblock) :]
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return array


def refusal(path, **options) -> str:
    for read in (read_volume, read_geometry) if not options.pop("pixels", False) else (read_volume,):
        with pytest.raises(VolumeError) as caught:
            read(path, **options)
    text = str(caught.value)
    assert text.startswith(path.name) and ";" in text and "\n" not in text
    return text


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("order", "<>")
def test_values_and_grid_equal_nibabel(tmp_path, name, kind, order):
    array = np.arange(60).reshape(3, 4, 5).astype(f"{order}i2")
    header = kind.header_class(endianness=order)
    header.set_data_dtype(array.dtype)
    nib.save(kind(array, AFFINE, header), tmp_path / name)
    volume = read_volume(tmp_path / name)
    assert volume.array.dtype == np.int16 and volume.array.dtype.isnative
    np.testing.assert_array_equal(volume.array, array)
    np.testing.assert_array_equal(volume.geometry.affine, AFFINE)
    assert read_geometry(tmp_path / name) == volume.geometry


def test_the_name_need_not_say_whether_it_is_compressed(tmp_path):
    array = save(tmp_path / "a.nii.gz")
    (tmp_path / "b.nii").write_bytes((tmp_path / "a.nii.gz").read_bytes())
    np.testing.assert_array_equal(read_volume(tmp_path / "b.nii").array, array)


@pytest.mark.parametrize("cut", [1, 9, 30, 200])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_truncated_files_are_refused(tmp_path, name, cut):
    path = tmp_path / name
    save(path, np.random.default_rng(0).integers(0, 99, (9, 9, 9)).astype(np.int16))
    path.write_bytes(path.read_bytes()[:-cut])
    assert "truncated" in refusal(path, pixels=True)


def test_a_flipped_bit_is_found_by_the_checksum(tmp_path):
    path = tmp_path / "a.nii.gz"
    save(path, np.random.default_rng(0).integers(0, 99, (9, 9, 9)).astype(np.int16))
    content = bytearray(path.read_bytes())
    content[-6] ^= 1
    path.write_bytes(content)
    assert "damaged" in refusal(path, pixels=True)


def test_more_bytes_than_declared_are_refused(tmp_path):
    path = tmp_path / "a.nii"
    save(path)
    path.write_bytes(path.read_bytes() + b"xx")
    assert "more bytes" in refusal(path, pixels=True)


def test_a_bare_header_an_empty_file_and_noise_are_refused(tmp_path):
    path = tmp_path / "a.nii"
    save(path)
    path.write_bytes(path.read_bytes()[:348])
    assert "truncated" in refusal(path)
    path.write_bytes(b"")
    assert "empty" in refusal(path)
    path.write_bytes(b"noise" * 200)
    assert "not a NIfTI file" in refusal(path)


def test_absurd_dimensions_are_refused_before_memory_is_taken(tmp_path):
    for name in ("a.nii", "a.nii.gz"):
        save(tmp_path / name, dim=[3, 32000, 32000, 32000, 1, 1, 1, 1])
        assert "truncated, or its header is wrong" in refusal(tmp_path / name)
    save(tmp_path / "b.nii", dim=[3, -4, 4, 5, 1, 1, 1, 1])
    assert "damaged header" in refusal(tmp_path / "b.nii")


def test_sform_and_qform_that_disagree_need_a_choice(tmp_path):
    path = tmp_path / "a.nii"
    save(path, qoffset_x=13.0)
    text = refusal(path)
    assert "3 mm apart" in text and "choose geometry sform or qform" in text
    assert read_volume(path, geometry="sform").geometry.affine[0, 3] == 10
    assert read_geometry(path, geometry="qform").affine[0, 3] == 13


def test_each_form_alone_is_enough_and_none_is_not(tmp_path):
    path = tmp_path / "a.nii"
    for codes in ({"sform_code": 0}, {"qform_code": 0}):
        save(path, **codes)
        np.testing.assert_allclose(read_geometry(path).affine, AFFINE)
    save(path, qform_code=0, sform_code=0)
    assert "no orientation" in refusal(path)
    assert read_geometry(path, geometry="pixdim").axis_codes == "RAS"
    assert "has no sform" in refusal(path, geometry="sform")


def test_shear_and_units_are_honoured(tmp_path):
    path = tmp_path / "a.nii"
    affine = AFFINE.copy()
    affine[1, 2] = 0.8
    save(path, affine=affine, qform_code=0, xyzt_units=3)
    np.testing.assert_allclose(read_geometry(path).affine[:3], affine[:3] / 1000)


def test_rescale(tmp_path):
    path = tmp_path / "a.nii"
    stored = save(path, scl_slope=2, scl_inter=-100)
    volume = read_volume(path)
    assert volume.array.dtype == np.int16
    np.testing.assert_array_equal(volume.array, stored * 2 - 100)
    save(path, scl_slope=1000, scl_inter=-100)
    np.testing.assert_array_equal(read_volume(path).array, stored.astype(np.int32) * 1000 - 100)
    save(path, scl_slope=0.5, scl_inter=0.25)
    assert read_volume(path).array.dtype == np.float32
    np.testing.assert_array_equal(read_volume(path).array, stored * 0.5 + 0.25)
    save(path, scl_slope=0, scl_inter=7)
    np.testing.assert_array_equal(read_volume(path).array, stored)
    save(path, scl_slope=np.nan)
    assert "slope nan" in refusal(path)


def test_non_finite_voxels_are_counted(tmp_path, caplog):
    array = np.ones((3, 4, 5), dtype=np.float32)
    array[1, 2, 3], array[2, 0, 0] = np.nan, np.inf
    save(tmp_path / "a.nii.gz", array)
    text = refusal(tmp_path / "a.nii.gz", pixels=True)
    assert "2 of 60 voxels" in text and "(1, 2, 3)" in text
    assert read_volume(tmp_path / "a.nii.gz", nonfinite="zero").array.sum() == 58
    assert "2 of 60 voxels" in caplog.text


def test_other_than_three_axes(tmp_path):
    save(tmp_path / "a.nii", np.zeros((3, 4, 5, 1, 1), dtype=np.uint8))
    assert read_volume(tmp_path / "a.nii").geometry.shape == (3, 4, 5)
    save(tmp_path / "b.nii", np.zeros((3, 4, 5, 2), dtype=np.uint8))
    assert "4-D (3x4x5x2)" in refusal(tmp_path / "b.nii")


def test_colour_and_complex_images_are_named_so(tmp_path):
    rgb = np.zeros((3, 4, 5), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    save(tmp_path / "a.nii", rgb)
    assert "colour" in refusal(tmp_path / "a.nii")
    save(tmp_path / "b.nii", np.zeros((3, 4, 5), dtype=np.complex64))
    assert "complex" in refusal(tmp_path / "b.nii")
    save(tmp_path / "c.nii", datatype=999)
    assert "unknown voxel type 999" in refusal(tmp_path / "c.nii")


def test_labels_are_whole_numbers(tmp_path):
    path = tmp_path / "a.nii.gz"
    save(path, np.full((2, 2, 2), 205.0, dtype=np.float64))
    assert read_label(path).array.dtype == np.uint8 and read_label(path).array.max() == 205
    save(path, np.full((2, 2, 2), 1.5, dtype=np.float32))
    with pytest.raises(VolumeError, match=r"8 voxels hold fractions, 1.5 first"):
        read_label(path)
    save(path, np.arange(8, dtype=np.uint8).reshape(2, 2, 2), scl_slope=1 / 3)
    with pytest.raises(VolumeError, match="fractions"):
        read_label(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_pipes_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "a.nii.gz")
    assert "not a regular file" in refusal(tmp_path / "a.nii.gz")


def test_header_pairs_and_analyze_are_refused(tmp_path):
    path = tmp_path / "a.nii"
    for magic, word in ((b"ni1", "pair"), (b"", "Analyze")):
        save(path, magic=magic)
        assert word in refusal(path)


def test_several_gzip_members_are_one_file(tmp_path):
    path = tmp_path / "a.nii.gz"
    array = save(path)
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(content[:400]) + gzip.compress(content[400:]) + bytes(5))
    np.testing.assert_array_equal(read_volume(path).array, array)
    assert struct.unpack("<i", content[:4]) == (348,)

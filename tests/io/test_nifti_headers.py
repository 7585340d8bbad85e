"""NIfTI headers that are legal but rare, and damage that a library passes over."""

import gzip
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import psutil
import pytest

from medseg.errors import Code, EnvironmentProblem, VolumeError
from medseg.io import read_geometry, read_volume, write_volume
from medseg.volume import Geometry, Volume
from support.raw_volumes import AFFINE, nifti, values


def code(path, content: bytes, **options) -> Code:
    path.write_bytes(content)
    with pytest.raises(VolumeError) as caught:
        read_volume(path, **options)
    assert str(caught.value).startswith(path.name) and ";" in str(caught.value)
    return caught.value.code


@pytest.mark.parametrize("order", "<>")
def test_the_byte_made_file_is_read_as_nibabel_reads_it(tmp_path, order):
    (tmp_path / "a.nii").write_bytes(nifti(order=order))
    image = nib.load(tmp_path / "a.nii")
    np.testing.assert_array_equal(image.affine, AFFINE)
    np.testing.assert_array_equal(np.asanyarray(image.dataobj), values())
    volume = read_volume(tmp_path / "a.nii")
    np.testing.assert_array_equal(volume.array, values())
    np.testing.assert_array_equal(volume.geometry.affine, AFFINE)


@pytest.mark.parametrize(("qfac", "k"), [(0, 3), (1, 3), (3, 3), (-1, -3)])
def test_qfac_is_minus_one_or_one(tmp_path, qfac, k):
    (tmp_path / "a.nii").write_bytes(nifti(sform_code=0, pixdim=[qfac, 2, 1.5, 3, 0, 0, 0, 0]))
    np.testing.assert_allclose(read_geometry(tmp_path / "a.nii").affine[:3, 2], (0, 0, k))


@pytest.mark.parametrize("qfac", [-3, np.nan])
def test_other_qfacs_are_refused(tmp_path, qfac):
    content = nifti(sform_code=0, pixdim=[qfac, 2, 1.5, 3, 0, 0, 0, 0])
    assert code(tmp_path / "a.nii", content) == Code.AFFINE


@pytest.mark.parametrize("quatern", [[2, 0, 0], [np.nan, 0, 0]])
def test_a_quaternion_that_is_none_is_refused(tmp_path, quatern):
    assert code(tmp_path / "a.nii", nifti(sform_code=0, quatern=quatern)) == Code.AFFINE


@pytest.mark.parametrize("size", [0, -3, np.nan])
def test_spacing_alone_must_be_positive(tmp_path, size):
    content = nifti(sform_code=0, qform_code=0, pixdim=[1, 2, 1.5, size, 0, 0, 0, 0])
    assert code(tmp_path / "a.nii", content, geometry="pixdim") == Code.AFFINE


def test_another_form_can_be_chosen_when_sizes_disagree(tmp_path):
    path = tmp_path / "a.nii"
    content = nifti(qform_code=0, pixdim=[1, 2, 1.5, 5, 0, 0, 0, 0])
    assert code(path, content) == Code.FORMS_DISAGREE
    with pytest.raises(VolumeError, match=r"voxel sizes \(pixdim\) are 4 mm apart .* choose geometry sform"):
        read_volume(path)
    np.testing.assert_array_equal(read_volume(path, geometry="sform").geometry.affine, AFFINE)
    path.write_bytes(nifti(qform_code=0, pixdim=[1, 2, 1.5, 3.001, 0, 0, 0, 0]))
    np.testing.assert_array_equal(read_volume(path).geometry.affine, AFFINE)


def test_sizes_are_in_the_unit_of_the_file(tmp_path):
    (tmp_path / "a.nii").write_bytes(nifti(qform_code=0, xyzt_units=1, srow=AFFINE[:3] / 1000,
                                           pixdim=[1, 0.002, 0.0015, 0.003, 0, 0, 0, 0]))  # fmt: skip
    np.testing.assert_allclose(read_geometry(tmp_path / "a.nii").affine, AFFINE, atol=1e-4)


def test_voxels_declared_far_behind_the_header(tmp_path):
    assert code(tmp_path / "a.nii", nifti(vox_offset=2.0**25)) == Code.TRUNCATED
    assert code(tmp_path / "a.nii.gz", gzip.compress(nifti(vox_offset=2.0**25))) == Code.TRUNCATED
    assert code(tmp_path / "b.nii", nifti(vox_offset=2.0**30)) == Code.HEADER
    assert code(tmp_path / "b.nii", nifti(vox_offset=np.inf)) == Code.HEADER
    assert code(tmp_path / "b.nii", nifti(vox_offset=352.5)) == Code.HEADER


def test_more_memory_than_there_is_is_not_asked_for(tmp_path, monkeypatch):
    (tmp_path / "a.nii").write_bytes(nifti())
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=100))
    with pytest.raises(EnvironmentProblem, match="GB needed for 5x4x3 voxels of int16") as caught:
        read_volume(tmp_path / "a.nii")
    assert caught.value.code == Code.MEMORY


def test_slopes_that_leave_the_range_of_floats(tmp_path):
    assert code(tmp_path / "a.nii", nifti(scl_slope=3e38, scl_inter=0.5)) == Code.NONFINITE


def test_a_file_damaged_by_a_transfer_as_text(tmp_path):
    nib.save(nib.Nifti2Image(values(), AFFINE), tmp_path / "a.nii")
    content = (tmp_path / "a.nii").read_bytes()
    assert code(tmp_path / "b.nii", content.replace(b"n+2\0\r\n\x1a\n", b"n+2\0\n\n\x1a\n")) == Code.DAMAGED


def test_compressed_bytes_in_their_variants(tmp_path):
    path = tmp_path / "a.nii.gz"
    content = nifti()
    members = [gzip.compress(content[start : start + 100]) for start in range(0, len(content), 100)]
    for stored in (b"".join(members), gzip.compress(content) + bytes(512), gzip.compress(content, 0)):
        path.write_bytes(stored)
        np.testing.assert_array_equal(read_volume(path).array, values())
    assert code(path, gzip.compress(content) + b"garbage") == Code.SURPLUS_BYTES
    assert code(path, gzip.compress(content) + gzip.compress(b"more")) == Code.SURPLUS_BYTES
    assert code(path, gzip.compress(content)[:5]) == Code.TRUNCATED
    assert code(path, b"\x1f\x8b\x08\x04") == Code.TRUNCATED


def test_nifti_2_is_written_where_32_bits_do_not_hold_the_place(tmp_path):
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    affine[:3, 3] = (123456.7851, 0, 0)
    made = Volume(values(), Geometry((5, 4, 3), affine))
    write_volume(made, tmp_path / "a.nii.gz")
    assert isinstance(nib.load(tmp_path / "a.nii.gz"), nib.Nifti2Image)
    assert read_volume(tmp_path / "a.nii.gz").geometry.displacement_mm(made.geometry) < 1e-6


@pytest.mark.parametrize("order", "FC")
@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_the_order_in_memory_does_not_matter(tmp_path, suffix, order):
    array = np.asarray(np.arange(7 * 5 * 3, dtype=np.float32).reshape(7, 5, 3) / 3, order=order)
    write_volume(Volume(array, Geometry(array.shape, np.eye(4))), tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(read_volume(tmp_path / f"a{suffix}").array, array)

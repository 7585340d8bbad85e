import logging
from pathlib import Path

import numpy as np
import pytest

from medseg.errors import VolumeError
from medseg.io import find_series, is_dicom_folder, read_geometry, read_volume

AXIAL = [(-10.0, 5.0, 2.5 * k) for k in range(6)]


def refusal(path: Path, **options: str) -> str:
    with pytest.raises(VolumeError) as caught:
        read_volume(path, **options)
    text = str(caught.value)
    assert "Secret" not in text and "SECRET" not in text
    return text


def test_voxels_and_grid_of_an_axial_series(write_series, tmp_path):
    stored = write_series(tmp_path, AXIAL)
    volume = read_volume(tmp_path)
    assert volume.array.dtype == np.int16
    np.testing.assert_array_equal(volume.array, stored.astype(int)[:, ::-1].transpose(2, 1, 0) - 1024)
    # column 0 of the last row of the first slice: LPS (-10, 5 + 3 * 0.8, 0)
    np.testing.assert_allclose(volume.geometry.affine[:3, 3], (10, -7.4, 0))
    np.testing.assert_allclose(volume.geometry.affine[:3, :3], np.diag([-0.5, 0.8, 2.5]))
    assert read_geometry(tmp_path) == volume.geometry


@pytest.mark.parametrize("orientation", [(0, 1, 0, 0, 0, -1), (1, 0, 0, 0, 0, -1), (0.6, 0.8, 0, 0, 0, -1)])
def test_every_voxel_lies_where_dicom_says(write_series, tmp_path, orientation):
    row, column = np.array(orientation[:3], dtype=float), np.array(orientation[3:], dtype=float)
    normal = np.cross(row, column)
    positions = [np.array([1.0, 2.0, 3.0]) - normal * 3 * k for k in range(5)]  # against the normal
    stored = write_series(tmp_path, positions, orientation=orientation)
    volume = read_volume(tmp_path)
    for k, r, c in [(0, 0, 0), (4, 3, 5), (2, 1, 4)]:
        lps = positions[k] + row * 0.5 * c + column * 0.8 * r  # PS3.3 C.7.6.2.1.1
        index = np.linalg.inv(volume.geometry.affine) @ [-lps[0], -lps[1], lps[2], 1]
        i, j, k_found = np.rint(index[:3]).astype(int)
        np.testing.assert_allclose(index[:3], (i, j, k_found), atol=1e-6)
        assert volume.array[i, j, k_found] == int(stored[k, r, c]) - 1024


def test_gantry_tilt_is_kept_as_shear(write_series, tmp_path):
    write_series(tmp_path, [(0.0, 0.7 * k, 2.4 * k) for k in range(6)])
    affine = read_volume(tmp_path).geometry.affine
    np.testing.assert_allclose(affine[:3, 2], (0, -0.7, 2.4), atol=1e-9)


def test_a_missing_slice_is_named(write_series, tmp_path):
    write_series(tmp_path, AXIAL[:2] + AXIAL[4:])
    text = refusal(tmp_path)
    assert "2 slices missing between" in text and "at 2.50 mm" in text and "at 10.00 mm" in text
    assert text.count("_1.dcm") == 1 and text.count("_2.dcm") == 1


def test_doubled_positions_are_refused(write_series, tmp_path):
    write_series(tmp_path, AXIAL + AXIAL[2:3])
    assert "7 slices at only 6 positions (doubled at 5.00 mm: " in refusal(tmp_path)


def test_slices_beside_the_line_are_refused(write_series, tmp_path):
    moved = [(-10.0 + (3 if k == 3 else 0), 5.0, 2.5 * k) for k in range(6)]
    write_series(tmp_path, moved)
    assert "not on one line" in refusal(tmp_path)


def test_small_jitter_of_positions_is_allowed(write_series, tmp_path):
    write_series(tmp_path, [(0.0, 0.0, 2.5 * k + 0.01 * (k % 2)) for k in range(6)])
    assert read_volume(tmp_path).geometry.shape == (6, 4, 6)


def test_slopes_that_differ_give_floats(write_series, tmp_path):
    stored = write_series(tmp_path, AXIAL, RescaleSlope=[1, 1.5, 2, 1, 1, 0.25], RescaleIntercept=0)
    volume = read_volume(tmp_path)
    assert volume.array.dtype == np.float32
    np.testing.assert_array_equal(volume.array[:, ::-1, 1].T, stored[1] * np.float32(1.5))
    np.testing.assert_array_equal(volume.array[:, ::-1, 5].T, stored[5] * np.float32(0.25))


def test_two_series_are_listed_and_one_can_be_chosen(write_series, tmp_path):
    write_series(tmp_path / "a", AXIAL, uid="1.2.3", SeriesDescription="thin")
    write_series(tmp_path / "b", AXIAL[:5], uid="1.2.4", SeriesNumber=9)
    text = refusal(tmp_path)
    assert (
        "4 (CT, 6 slices of 4x6) uid 1.2.3; 9 (CT, 5 slices of 4x6) uid 1.2.4" in text and "thin" not in text
    )
    assert read_volume(tmp_path, series_uid="1.2.4").geometry.shape == (6, 4, 5)
    assert "no volume with that uid" in refusal(tmp_path, series_uid="9.9")
    assert [len(one.files) for one in find_series(tmp_path)] == [6, 5]


def test_localisers_and_other_files_are_left_out(write_series, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    write_series(tmp_path, [(0, 0, 2.0 * k) for k in range(12)])
    write_series(tmp_path, AXIAL, ImageType=("ORIGINAL", "PRIMARY", "LOCALIZER"), uid="1.5")
    write_series(tmp_path, AXIAL[:2], orientation=(0, 1, 0, 0, 0, -1), uid="1.6")
    (tmp_path / "notes").write_text("not DICOM")
    (tmp_path / "DICOMDIR.txt").write_text("not DICOM")
    assert read_volume(tmp_path).geometry.shape == (6, 4, 12)
    assert "left out as a localiser" in caplog.text


def test_localisers_are_listed_and_marked(write_series, tmp_path):
    write_series(tmp_path, AXIAL, uid="1.4")
    write_series(tmp_path, AXIAL, uid="1.5", ImageType=("ORIGINAL", "PRIMARY", "LOCALIZER"))
    assert [one.localizer for one in find_series(tmp_path)] == [False, True]


def test_one_file_stands_for_its_series(write_series, tmp_path):
    write_series(tmp_path, AXIAL, uid="1.2.3")
    write_series(tmp_path, AXIAL[:4], uid="1.2.4")
    file = next(tmp_path.glob("4_*"))
    assert read_volume(file).geometry.shape == (6, 4, 4)


def test_a_single_slice_is_refused(write_series, tmp_path):
    write_series(tmp_path, AXIAL[:1])
    assert "a single DICOM slice" in refusal(tmp_path)


def test_a_truncated_slice_is_named(write_series, tmp_path):
    write_series(tmp_path, AXIAL)
    file = sorted(tmp_path.iterdir())[3]
    file.write_bytes(file.read_bytes()[:-20])
    assert file.name in refusal(tmp_path)
    file.write_bytes(file.read_bytes()[:200])
    assert file.name in refusal(tmp_path)


def test_different_pixel_spacings_are_refused(write_series, tmp_path):
    write_series(tmp_path, AXIAL, PixelSpacing=[[0.8, 0.5]] * 5 + [[0.9, 0.5]])
    assert "different pixel spacing, 0.8x0.5 mm (5 slices), 0.9x0.5 mm (1 slices)" in refusal(tmp_path)


def test_a_folder_without_dicom(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    assert not is_dicom_folder(tmp_path)
    assert not is_dicom_folder(tmp_path / "nowhere")
    assert "no CT, MR or other volumetric DICOM series" in refusal(tmp_path)


def test_dicom_folder_is_recognised(write_series, tmp_path):
    write_series(tmp_path / "inner", AXIAL)
    assert is_dicom_folder(tmp_path / "inner")
    assert not is_dicom_folder(tmp_path)

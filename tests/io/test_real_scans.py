"""Real files: each is read rightly, or refused in words."""

import numpy as np
import pytest

from medseg.errors import VolumeError
from medseg.io import read_geometry, read_volume


def test_jpeg2000_series_has_the_grid_of_its_converted_mask(shared_data):
    mask = read_geometry(shared_data / "torso_ct" / "example_seg_dicom.nii.gz")
    volume = read_volume(shared_data / "dicom" / "torso_ct_jpeg2000")
    assert volume.geometry.displacement_mm(mask) < 1e-3
    assert volume.array.dtype == np.int16 and volume.array.min() == -1024
    labelled = read_volume(shared_data / "torso_ct" / "example_seg_dicom.nii.gz").array > 0
    assert volume.array[labelled].mean() > volume.array[~labelled].mean() + 200  # organs lie on organs


def test_oblique_mr_series_agrees_with_itk(shared_data):
    import SimpleITK as sitk  # noqa: N813

    folder = shared_data / "dicom" / "prostate_mr" / "4.000000-t2tsetra-00702"
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    volume = read_volume(folder)
    for index in [(0, 0, 0), (383, 0, 18), (100, 200, 7)]:
        world = np.array(image.TransformIndexToPhysicalPoint(index)) * (-1, -1, 1)
        own = np.linalg.inv(volume.geometry.affine) @ [*world, 1]
        i, j, k = np.rint(own[:3]).astype(int)
        np.testing.assert_allclose(own[:3], (i, j, k), atol=1e-3)
        assert volume.array[i, j, k] == image[index]


def test_series_with_a_missing_slice_is_refused_with_its_place(shared_data):
    with pytest.raises(VolumeError, match=r"1 slice missing between 1-07\.dcm at -15\.88 mm and 1-05\.dcm"):
        read_volume(shared_data / "dicom" / "prostate_mr_missing_slice")


def test_three_series_in_one_folder_are_listed(shared_data):
    with pytest.raises(VolumeError, match=r"3 DICOM series, one expected: 3 \(MR, 19 slices of 320x320\)"):
        read_volume(shared_data / "dicom" / "prostate_mr")


def test_multiframe_equals_single_frames(shared_data):
    folder = shared_data / "dicom" / "dcmqi_ct_seg" / "segmentations" / "24x38x3"
    single, multi = read_volume(folder / "image"), read_volume(folder / "multiframe")
    assert single.geometry.displacement_mm(multi.geometry) < 1e-3
    np.testing.assert_array_equal(single.array, multi.array)


def test_every_odd_file_is_read_or_refused_in_words(shared_data):
    folders = [
        "odd_nifti",
        "dicom/dcmqi_ct_seg",
        "dicom/highdicom_seg",
        "dicom/rtutils",
        "dicom/sarcoma_ct_rtstruct/mask",
    ]
    paths = [
        path for folder in folders for path in sorted((shared_data / folder).rglob("*")) if path.is_file()
    ]
    read = 0
    for path in paths:
        try:
            volume = read_volume(path)
        except VolumeError as error:
            assert all(";" in problem and len(problem) < 1500 for problem in error.problems), path
        else:
            assert volume.geometry == read_geometry(path)
            read += 1
    assert read >= 30

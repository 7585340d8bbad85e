"""What each real file is, judged from its bytes and headers before medseg was asked: accepted, or why not.

Paths are relative to the folder of real scans. Where a file has several faults, any of their codes is right.
"""

from medseg.errors import Code

ACCEPT = "accept"
Verdict = str | tuple[Code, ...]

_NIFTI = "odd_nifti/NIFTI-Reader-JS/data"
_NIBABEL = "odd_nifti/nibabel/nibabel/tests/data"
_NICOM = "odd_nifti/nibabel/nibabel/nicom/tests/data"
_NRRD = "odd_nifti/pyradiomics_nrrd/data"
_SEG = "dicom/dcmqi_ct_seg/segmentations"
_HIGH = "dicom/highdicom_seg/test_files"
_MR = "dicom/prostate_mr"


def _all(folder: str, names: str, verdict: Verdict) -> dict[str, Verdict]:
    return {f"{folder}/{name}": verdict for name in names.split()}


FOREIGN = (
    *(".PAR", ".REC", ".HEAD", ".BRIK", ".BRIK.gz", ".mnc", ".mgz", ".v", ".trk", ".tck"),
    *(".hdr", ".img", ".hdr.gz", ".img.gz", ".dcm.gz", ".bin", ".bin.gz"),
    *(".txt", ".rst", ".md", ".jpg", ".jpeg", ".png", "LICENSE", "COPYING"),
)
"""Philips, AFNI, MINC, FreeSurfer, ECAT, tracks, Analyze pairs, gzipped DICOM, fragments, prose, pictures."""

FILES: dict[str, Verdict] = {
    # big-endian; NIfTI-2; qform alone with a flip; a trailing fourth axis of 1; an extension of 384 bytes
    **_all(_NIFTI, "avg152T1_LR_nifti.nii avg152T1_LR_nifti.nii.gz avg152T1_LR_nifti2.nii.gz", ACCEPT),
    **_all(_NIFTI, "big.nii.gz little.nii.gz with_extension.nii.gz", ACCEPT),
    # rescaled bytes, the second with axes turned by 17 degrees; a label without unit and qform
    **_all("odd_nifti/nibabel/doc/source/downloads", "someones_anatomy.nii.gz someones_epi.nii.gz", ACCEPT),
    **_all(_NIBABEL, "anatomical.nii reoriented_anat_moved.nii standard.nii.gz", ACCEPT),
    **_all(_NRRD, "brain1_image.nrrd brain2_image.nrrd breast1_image.nrrd", ACCEPT),
    **_all(_NRRD, "brain1_label.nrrd brain2_label.nrrd breast1_label.nrrd", ACCEPT),
    **_all(_NRRD, "lung1_label.nrrd lung2_label.nrrd", ACCEPT),
    # vectors in a fifth axis, time series, a connectivity matrix (CIFTI)
    **_all(_NIFTI, "5D_small.nii 5D_zeros.nii.gz", (Code.NOT_3D,)),
    **_all(_NIBABEL, "example4d.nii.gz example_nifti2.nii.gz functional.nii", (Code.NOT_3D,)),
    **_all(_NIBABEL, "row_major.dconn.nii", (Code.NOT_3D, Code.UNSUPPORTED)),
    **_all(_NIBABEL, "resampled_anat_moved.nii", (Code.NONFINITE,)),  # 153 NaN
    **_all(_NIFTI, "not-nifti.nii", (Code.NOT_A_VOLUME,)),  # 1024 random bytes
    # Siemens mosaics: 48 slices tiled into each picture, so two files are not two slices
    **_all(_NIBABEL, "0.dcm 1.dcm", (Code.UNSUPPORTED,)),
    **_all(_NICOM, "0.dcm 1.dcm", (Code.UNSUPPORTED,)),
    **_all(_NICOM, "csa_slice_norm.dcm", (Code.UNSUPPORTED, Code.DICOM_HEADER, Code.DICOM_PIXELS)),
    # single slices: the one has no SOP class but in its preamble, the other is a projection
    **_all(_NICOM, "decimal_rescale.dcm", (Code.DICOM_ONE_SLICE, Code.DICOM_HEADER)),
    **_all(_NICOM, "slicethickness_empty_string.dcm", (Code.DICOM_ONE_SLICE, Code.DICOM_NO_SERIES)),
    # DICOM segmentations and what they were made from
    **_all(_SEG, "23x38x3/image 23x38x3/multiframe 24x38x3/image 24x38x3/multiframe ct-3slice", ACCEPT),
    **_all(_SEG, "23x38x3/multiframe/mf.dcm 24x38x3/multiframe/mf.dcm", ACCEPT),
    **_all(_SEG, "23x38x3/nrrd/label.nrrd 24x38x3/nrrd/label.nrrd heart_seg.nrrd liver_seg.nrrd", ACCEPT),
    **_all(_SEG, "liver_spine_gapped_seg.nrrd liver_spine_seg.nrrd spine_seg.nrrd", ACCEPT),
    **_all(_SEG, "spine_seg_label5.nrrd sparse_labelmap_noppv_seg.nrrd", ACCEPT),
    **_all(_SEG, "sparse_labelmap_ppv5_seg.nrrd partial_overlaps-1.nrrd", ACCEPT),
    **_all(_SEG, "partial_overlaps-2.nrrd partial_overlaps-3.nrrd", ACCEPT),
    **_all(
        _SEG, "23x38x3/seg 23x38x3/seg/label.seg 24x38x3/seg 24x38x3/seg/label.seg", (Code.DICOM_NO_SERIES,)
    ),
    **_all(_SEG, "23x38x3/screenshots 24x38x3/screenshots", (Code.DICOM_NO_SERIES,)),
    **_all(_SEG, "liver.dcm partial_overlaps.dcm sparse-labelmap-noppv.dcm", (Code.DICOM_NO_SERIES,)),
    **_all(_SEG, "sparse-labelmap-ppv5.dcm", (Code.DICOM_NO_SERIES,)),
    **_all("dicom/dcmqi_ct_seg", "segmentations", (Code.DICOM_SEVERAL_SERIES,)),
    # one CT slice among microscopy, radiographs, reports and segmentations
    **_all("dicom/highdicom_seg", "test_files", (Code.DICOM_ONE_SLICE,)),
    **_all(_HIGH, "ct_image.dcm", (Code.DICOM_ONE_SLICE,)),
    **_all(_HIGH, "dx_image.dcm sm_annotations.dcm sm_image.dcm", (Code.DICOM_NO_SERIES,)),
    **_all(_HIGH, "sm_image_control.dcm sm_image_dots.dcm sm_image_numbers.dcm", (Code.DICOM_NO_SERIES,)),
    **_all(_HIGH, "sm_image_grayscale.dcm sm_image_grayscale_reversed.dcm", (Code.DICOM_NO_SERIES,)),
    **_all(_HIGH, "sm_image_jpegls.dcm sm_image_jpegls_nobot.dcm", (Code.DICOM_NO_SERIES,)),
    **_all(_HIGH, "sr_document.dcm sr_document_with_multiple_groups.dcm", (Code.DICOM_NO_SERIES,)),
    **_all(_HIGH, "seg_image_cr_binary.dcm seg_image_ct_binary.dcm", (Code.DICOM_NO_SERIES,)),
    **_all(
        _HIGH, "seg_image_ct_binary_fractional.dcm seg_image_ct_binary_overlap.dcm", (Code.DICOM_NO_SERIES,)
    ),
    **_all(_HIGH, "seg_image_ct_binary_single_frame.dcm", (Code.DICOM_NO_SERIES,)),
    **_all(_HIGH, "seg_image_ct_true_fractional.dcm seg_image_sm_control.dcm", (Code.DICOM_NO_SERIES,)),
    **_all(_HIGH, "seg_image_sm_control_labelmap.dcm seg_image_sm_dots.dcm", (Code.DICOM_NO_SERIES,)),
    **_all(_HIGH, "seg_image_sm_control_labelmap_palette_color.dcm", (Code.DICOM_NO_SERIES,)),
    **_all(_HIGH, "seg_image_sm_dots_tiled_full.dcm seg_image_sm_numbers.dcm", (Code.DICOM_NO_SERIES,)),
    # scans as they left the scanner: three oblique ones in one folder, a slice missing, JPEG 2000
    **_all("dicom", "prostate_mr", (Code.DICOM_SEVERAL_SERIES,)),
    **_all(_MR, "3.000000-t2tsesag-87368 4.000000-t2tsetra-00702", ACCEPT),
    **_all(_MR, "7.000000-ep2ddifftraDYNDISTADC-48780", ACCEPT),
    **_all("dicom", "prostate_mr_missing_slice", (Code.DICOM_UNEVEN,)),
    **_all("dicom", "torso_ct_jpeg2000 sarcoma_ct_rtstruct sarcoma_ct_rtstruct/image", ACCEPT),
    **_all("dicom/sarcoma_ct_rtstruct", "mask mask/RS.dcm", (Code.DICOM_NO_SERIES,)),
    # two slices, and three on tilted axes with a slope of 0.001; contours alone
    **_all("dicom/rtutils", "mock_data oriented_data", ACCEPT),
    **_all("dicom/rtutils", "one_slice_data one_slice_data/0.dcm", (Code.DICOM_ONE_SLICE,)),
    **_all("dicom/rtutils/mock_data", "rt.dcm invalid_reference_rt.dcm", (Code.DICOM_NO_SERIES,)),
    **_all("dicom/rtutils/mock_data", "non_existent_reference_rt.dcm", (Code.DICOM_NO_SERIES,)),
}

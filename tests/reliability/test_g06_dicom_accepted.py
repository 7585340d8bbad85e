"""DICOM folders that are to be read: every voxel where DICOM puts it, with its value.

Each builder makes a folder and returns its truth; nothing here was taken from what the reader answers.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import uid as uids

from medseg.inference import Segmenter
from medseg.io import find_series, read_geometry, read_volume, write_volume
from support.dicom_series import (
    ABSENT,
    AXES,
    Truth,
    jpeg_ls_slices,
    line,
    noise,
    write_multiframe,
    write_series,
)
from support.oracle import write_oracle

LOCALIZER = ("ORIGINAL", "PRIMARY", "LOCALIZER")


def hu(stored: np.ndarray) -> np.ndarray:
    return stored.astype(int) - 1024


def _orientation(name: str) -> Callable[[Path], Truth]:
    def build(folder: Path) -> Truth:
        positions = line(5, AXES[name])
        return Truth(hu(write_series(folder, positions, orientation=AXES[name])), positions, AXES[name])

    return build


def _syntax(syntax: str) -> Callable[[Path], Truth]:
    def build(folder: Path) -> Truth:
        stored = jpeg_ls_slices() if syntax == uids.JPEGLSLossless else noise(4, 40, 36)
        write_series(folder, line(4), stored=stored, syntax=syntax)
        return Truth(hu(stored), line(4))

    return build


def _reversed_order(folder: Path) -> Truth:
    positions = line(6)[::-1]
    return Truth(hu(write_series(folder, positions, name=lambda n: f"IM{n:03d}")), positions)


def _numbers_against_positions(folder: Path) -> Truth:
    stored = write_series(folder, line(6), InstanceNumber=[3, 1, 6, 2, 5, 4], name=lambda n: f"{9 - n}")
    return Truth(hu(stored), line(6))


def _gantry_tilt(folder: Path) -> Truth:
    positions = [(0.0, 0.7 * k, 2.4 * k) for k in range(6)]
    return Truth(hu(write_series(folder, positions)), positions)


def _jitter(folder: Path) -> Truth:
    positions = [p + np.array([0, 0, 0.01 * (k % 2)]) for k, p in enumerate(line(6))]
    return Truth(hu(write_series(folder, positions)), positions)


def _over_subfolders(folder: Path) -> Truth:
    stored = write_series(folder, line(6), uid="1.2.3", name=lambda n: f"{'ab'[n % 2]}/{n}.dcm")
    return Truth(hu(stored), line(6))


def _among_other_files(folder: Path) -> Truth:
    deep = folder / "study 1" / "series 2"
    stored = write_series(deep, line(5))
    for name in ("DICOMDIR", "notes.txt", "key.jpg", ".DS_Store", "Thumbs.db", "README", "viewer.exe"):
        (folder / name).write_bytes(b"no image at all " * 20)
        (deep / name).write_bytes(b"MZ\x00\x01" * 64)
    (deep / "DICOMDIR").write_bytes(bytes(128) + b"DICM" + bytes(200))  # an index, as media have it
    return Truth(hu(stored), line(5))


def _end_slice_lost(folder: Path) -> Truth:
    """Nothing in the other slices tells of it: what is there is read."""
    stored = write_series(folder, line(6)[:5])
    return Truth(hu(stored), line(5))


def _signed(folder: Path) -> Truth:
    stored = noise(5).astype(np.int16) - 2000
    write_series(folder, line(5), stored=stored, RescaleIntercept=0)
    return Truth(stored, line(5))


def _eight_bits(folder: Path) -> Truth:
    stored = (noise(5) % 256).astype(np.uint8)
    write_series(folder, line(5), stored=stored, BitsStored=8, HighBit=7)
    return Truth(hu(stored), line(5))


def _overlay_in_unused_bits(folder: Path) -> Truth:
    stored = noise(5)
    write_series(folder, line(5), stored=stored | np.uint16(0x8000))
    return Truth(hu(stored), line(5))


def _slopes_that_vary(folder: Path) -> Truth:
    slopes = [0.5, 1.25, 2.0, 0.75, 3.0]
    stored = write_series(folder, line(5), RescaleSlope=slopes, RescaleIntercept=[0, 1, -2, 0.5, 4])
    factors = np.array(slopes)[:, None, None]
    return Truth(stored * factors + np.array([0, 1, -2, 0.5, 4])[:, None, None], line(5))


def _whole_slopes_that_vary(folder: Path) -> Truth:
    stored = write_series(folder, line(4), RescaleSlope=[1, 20, 300, 1])
    return Truth(stored * np.array([1, 20, 300, 1])[:, None, None] - 1024, line(4))


def _mr_without_rescale(folder: Path) -> Truth:
    told = {"Modality": "MR", "SOPClassUID": uids.MRImageStorage}
    stored = write_series(folder, line(5), RescaleSlope=ABSENT, RescaleIntercept=ABSENT, **told)
    return Truth(stored.astype(int), line(5))


def _enhanced_ct(folder: Path) -> Truth:
    return Truth(hu(write_multiframe(folder / "one.dcm", line(6))), line(6))


def _enhanced_mr(folder: Path) -> Truth:
    positions = [line(6)[k] for k in (3, 0, 5, 1, 4, 2)]
    return Truth(write_multiframe(folder / "one.dcm", positions, mr=True).astype(int), positions)


def _localizer_by_image_type(folder: Path) -> Truth:
    stored = write_series(folder, line(5))
    write_series(folder, line(7), stored=noise(7, 9, 9), uid="1.5", ImageType=LOCALIZER, SeriesNumber=1)
    return Truth(hu(stored), line(5))


def _localizer_across_the_stack(folder: Path) -> Truth:
    stored = write_series(folder, line(12))
    sagittal = AXES["sagittal"]
    write_series(folder, line(2, sagittal), orientation=sagittal, uid="1.6", SeriesNumber=1)
    return Truth(hu(stored), line(12))


def _localizer_in_the_volumes_own_series(folder: Path) -> Truth:
    stored = write_series(folder, line(5), uid="1.7")
    coronal = AXES["coronal"]
    write_series(folder / "a", line(1, coronal), orientation=coronal, uid="1.7", ImageType=LOCALIZER)
    return Truth(hu(stored), line(5))


def _report_and_segmentation_beside(folder: Path) -> Truth:
    stored = write_series(folder, line(5))
    write_series(folder / "seg", line(5), uid="1.8", Modality="SEG", SOPClassUID=uids.SegmentationStorage)
    colour = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}  # a dose report, as a picture
    write_series(folder / "sc", line(1), uid="1.9", SOPClassUID=uids.SecondaryCaptureImageStorage, **colour)
    return Truth(hu(stored), line(5))


BUILDERS: dict[str, Callable[[Path], Truth]] = {
    **{name: _orientation(name) for name in AXES},
    "reversed_order": _reversed_order,
    "numbers_against_positions": _numbers_against_positions,
    "gantry_tilt": _gantry_tilt,
    "jitter": _jitter,
    "over_subfolders": _over_subfolders,
    "among_other_files": _among_other_files,
    "end_slice_lost": _end_slice_lost,
    "implicit_le": _syntax(uids.ImplicitVRLittleEndian),
    "explicit_le": _syntax(uids.ExplicitVRLittleEndian),
    "explicit_be": _syntax(uids.ExplicitVRBigEndian),
    "deflated": _syntax(uids.DeflatedExplicitVRLittleEndian),
    "rle": _syntax(uids.RLELossless),
    "jpeg_lossless": _syntax(uids.JPEGLosslessSV1),
    "jpeg_ls": _syntax(uids.JPEGLSLossless),
    "jpeg_2000": _syntax(uids.JPEG2000Lossless),
    "signed": _signed,
    "eight_bits": _eight_bits,
    "overlay_in_unused_bits": _overlay_in_unused_bits,
    "slopes_that_vary": _slopes_that_vary,
    "whole_slopes_that_vary": _whole_slopes_that_vary,
    "mr_without_rescale": _mr_without_rescale,
    "enhanced_ct": _enhanced_ct,
    "enhanced_mr": _enhanced_mr,
    "localizer_by_image_type": _localizer_by_image_type,
    "localizer_across_the_stack": _localizer_across_the_stack,
    "localizer_in_the_volumes_own_series": _localizer_in_the_volumes_own_series,
    "report_and_segmentation_beside": _report_and_segmentation_beside,
}


@pytest.mark.row("G06")
@pytest.mark.parametrize("name", BUILDERS)
def test_read_exactly(name: str, tmp_path: Path) -> None:
    truth = BUILDERS[name](tmp_path / name)
    volume = read_volume(tmp_path / name)
    truth.require(volume)
    assert read_geometry(tmp_path / name) == volume.geometry


@pytest.mark.row("G06")
def test_one_of_two_series_is_chosen_by_its_uid(tmp_path: Path) -> None:
    stored = write_series(tmp_path / "x", line(5), uid="1.2.3")
    write_series(tmp_path / "x", line(7), uid="1.2.4", SeriesNumber=9)
    Truth(hu(stored), line(5)).require(read_volume(tmp_path / "x", series_uid="1.2.3"))


@pytest.mark.row("G06")
def test_the_mask_of_a_tilted_series_lies_on_its_tilted_slices(tmp_path: Path) -> None:
    codes = (np.indices((16, 12, 14)).sum(axis=0) // 5 % 4 * 100).astype(np.uint16)
    positions = [(3.0, 0.9 * k, 1.8 * k) for k in range(16)]
    write_series(tmp_path / "tilted", positions, stored=codes, RescaleIntercept=0, PixelSpacing=(0.8, 0.5))
    volume = read_volume(tmp_path / "tilted")
    segmenter = Segmenter.load(
        write_oracle(tmp_path / "model.safetensors", spacing_mm=(0.5, 0.8, np.hypot(0.9, 1.8))), device="cpu"
    )
    write_volume(segmenter(volume), tmp_path / "mask.nii.gz")
    Truth(codes // 100, positions).require(read_volume(tmp_path / "mask.nii.gz"))


def test_series_of_a_tree_are_listed(tmp_path: Path) -> None:
    write_series(tmp_path / "p1" / "ct", line(5), uid="1.2.3")
    write_series(tmp_path / "p1" / "scout", line(2), uid="1.2.4", SeriesNumber=1, ImageType=LOCALIZER)
    write_series(tmp_path / "p2" / "deep" / "mr", line(4), uid="1.2.5", Modality="MR", SeriesNumber=9)
    (tmp_path / "p2" / "deep" / "mr" / "broken.dcm").write_bytes(bytes(128) + b"DICM" + b"\xff" * 50)
    listed = [str(one) for one in find_series(tmp_path)]
    assert listed == [
        "1 (CT, localiser, 2 slices of 4x6) uid 1.2.4",
        "4 (CT, 5 slices of 4x6) uid 1.2.3",
        "9 (MR, 4 slices of 4x6) uid 1.2.5",
        "without number (other, 1 unusable files) uid missing",
    ]

"""DICOM folders that are to be refused: with which code, and which slices or files are told.

The verdicts stand in the tables; nothing here was taken from what the reader answers. ``told`` must all be in
the message, where ``{2}`` stands for the name of slice 2's file. Where no header near a file can be read, its
name may be anyone's: it is told by its place.
"""

from pathlib import Path

import numpy as np
import pytest
from pydicom import uid as uids
from pydicom.dataset import Dataset

from medseg.errors import Code, VolumeError
from medseg.io import read_volume
from support.dicom_series import ABSENT, AXES, line, noise, write_multiframe
from support.dicom_verdicts import Verdict, but, changed, everywhere, require, series, several

LOCALIZER = ("ORIGINAL", "PRIMARY", "LOCALIZER")
TILTED = (1, 0, 0, 0, 0.9998, 0.01999)


TEN = line(10)
SAGITTAL = AXES["sagittal"]
SHIFTED = [p + np.array([3.0 * (k == 3), 0, 0]) for k, p in enumerate(line(6))]
UNEVEN = [np.array([0, 0, z]) for z in (0, 2.5, 5, 7.9, 10.4, 12.9)]

VERDICTS = {
    "one_inner_slice_lost": Verdict(
        Code.DICOM_UNEVEN, series([*TEN[:4], *TEN[5:]]), ["1 slice missing", "{3}", "{4}", "5 mm apart"]
    ),
    "slices_lost_in_two_places": Verdict(
        Code.DICOM_UNEVEN,
        series([*TEN[:2], *TEN[4:7], *TEN[8:]]),
        ["2 slices missing", "1 slice missing", "{1}", "{2}", "{4}", "{5}"],
    ),
    "end_lost_and_announced": Verdict(
        Code.DICOM_UNEVEN,
        series(TEN[2:], InstanceNumber=list(range(3, 11)), ImagesInAcquisition=10),
        ["10 slices announced and 8 here", "1-2"],
    ),
    "every_second_slice_lost": Verdict(
        Code.DICOM_UNEVEN,
        series(TEN[::2], InstanceNumber=list(range(1, 11, 2)), SpacingBetweenSlices=2.5),
        ["5 mm apart", "2.5 mm declared"],
    ),
    "uneven_steps": Verdict(
        Code.DICOM_UNEVEN, series(UNEVEN), ["an uneven step", "{2}", "{3}", "2.9 mm apart"]
    ),
    "one_slice_shifted": Verdict(Code.DICOM_UNEVEN, series(SHIFTED), ["not on one line", "{3}", "3 mm off"]),
    "copy_of_a_slice": Verdict(
        Code.DICOM_DOUBLED,
        series([*line(5), line(5)[2]], stored=noise(5)[[0, 1, 2, 3, 4, 2]]),
        ["6 slices at only 5 positions", "{2}", "{5}"],
    ),
    "two_slices_in_one_place": Verdict(
        Code.DICOM_DOUBLED, series([*line(5), line(5)[2]]), ["6 slices at only 5 positions", "{2}", "{5}"]
    ),
    "one_slice_tilted": Verdict(
        Code.DICOM_MIXED, series(line(5), ImageOrientationPatient=but(AXES["axial"], TILTED)), ["{2}"]
    ),
    "two_orientations_in_a_series": Verdict(
        Code.DICOM_MIXED,
        several(series(TEN, uid="1.2.3"), series(line(3, SAGITTAL), uid="1.2.3", orientation=SAGITTAL)),
        ["10 slices", "3 slices", "{0}", "{1}", "{2}"],
    ),
    "one_slice_of_another_size": Verdict(
        Code.DICOM_MIXED,
        several(
            series(line(5), uid="1.2.3"),
            series(line(6)[5:], uid="1.2.3", stored=noise(1, 8, 8)),
        ),
        ["5 slices of 4x6", "1 slices of 8x8", "s1/{0}"],
    ),
    "two_patients": Verdict(
        Code.DICOM_MIXED, series(line(5), PatientID=but("A1", "B2")), ["2 patients", "{2}"]
    ),
    "two_frames_of_reference": Verdict(
        Code.DICOM_MIXED,
        series(line(5), FrameOfReferenceUID=but("1.7", "1.8")),
        ["frames of reference", "{2}"],
    ),
    "two_cts": Verdict(
        Code.DICOM_SEVERAL_SERIES,
        several(series(line(5), uid="1.2.3"), series(line(7), uid="1.2.4", SeriesNumber=9)),
        ["4 (CT, 5 slices of 4x6) uid 1.2.3", "9 (CT, 7 slices of 4x6) uid 1.2.4"],
    ),
    "few_slices_along_the_stack": Verdict(
        Code.DICOM_SEVERAL_SERIES,
        several(series(line(12), uid="1.2.3"), series(line(2), uid="1.2.4")),
        ["12 slices of 4x6) uid 1.2.3", "2 slices of 4x6) uid 1.2.4"],
    ),
    "only_a_localizer": Verdict(
        Code.DICOM_NO_SERIES,
        series(line(5), uid="1.2.3", ImageType=LOCALIZER),
        ["CT, localiser, 5 slices", "1.2.3"],
    ),
    "localizer_asked_for": Verdict(
        Code.DICOM_NO_SERIES, series(line(5), uid="1.2.99", ImageType=LOCALIZER), ["localiser"]
    ),
    "one_slice": Verdict(Code.DICOM_ONE_SLICE, series(line(1)), ["a single DICOM slice"]),
    "frame_lost": Verdict(
        Code.DICOM_UNEVEN,
        lambda folder: write_multiframe(folder / "IM01.dcm", [*line(6)[:2], *line(6)[3:]]),
        ["1 slice missing", "{1}"],
    ),
    "frames_at_two_times": Verdict(
        Code.DICOM_DOUBLED,
        lambda folder: write_multiframe(folder / "IM01.dcm", [*line(3), *line(3)], mr=True),
        ["6 slices at only 3 positions", "{1}"],
    ),
    "frames_without_places": Verdict(
        Code.UNSUPPORTED,
        lambda folder: write_multiframe(
            folder / "IM01.dcm", line(6), PerFrameFunctionalGroupsSequence=ABSENT
        ),
        ["6 frames in one file", "{1}"],
    ),
    "more_frames_than_places": Verdict(
        Code.DICOM_HEADER,
        lambda folder: write_multiframe(folder / "IM01.dcm", line(6), stored=noise(12), NumberOfFrames=12),
        ["12 frames declared", "6", "{1}"],
    ),
    "slope_zero": Verdict(Code.SLOPE, series(line(5), RescaleSlope=but(1, 0)), ["slope 0", "{2}"]),
    "slope_not_a_number": Verdict(
        Code.SLOPE, series(line(5), RescaleSlope=but("1", "NaN")), ["slope nan", "{2}"]
    ),
    "ct_without_slope": Verdict(
        Code.SLOPE,
        series(line(5), RescaleSlope=ABSENT, RescaleIntercept=ABSENT),
        ["(0028,1053)", "{0}", "{4}"],
    ),
    "slope_without_intercept": Verdict(
        Code.SLOPE, series(line(5), RescaleIntercept=but(0, ABSENT)), ["(0028,1052)", "{2}"]
    ),
    "one_mr_slice_without_slope": Verdict(
        Code.SLOPE,
        series(
            line(5),
            SOPClassUID=uids.MRImageStorage,
            RescaleSlope=but(2, ABSENT),
            RescaleIntercept=but(0, ABSENT),
        ),
        ["(0028,1053)", "{2}"],
    ),
    "no_position": Verdict(
        Code.DICOM_GEOMETRY,
        series(line(5), ImagePositionPatient=but((0, 0, 0), ABSENT)),
        ["no ImagePositionPatient (0020,0032)", "{2}"],
    ),
    "no_orientation": Verdict(
        Code.DICOM_GEOMETRY,
        series(line(5), ImageOrientationPatient=but(AXES["axial"], ABSENT)),
        ["no ImageOrientationPatient (0020,0037)", "{2}"],
    ),
    "no_pixel_spacing": Verdict(
        Code.DICOM_GEOMETRY,
        series(line(5), PixelSpacing=but((0.8, 0.5), ABSENT)),
        ["no PixelSpacing (0028,0030)", "{2}"],
    ),
    "no_place_at_all": Verdict(
        Code.DICOM_GEOMETRY,
        series(
            line(5),
            ImagePositionPatient=but((0, 0, 0), ABSENT),
            ImageOrientationPatient=but(AXES["axial"], ABSENT),
            PixelSpacing=but((0.8, 0.5), ABSENT),
        ),
        ["{2}"],
    ),
    "spacing_zero": Verdict(
        Code.DICOM_GEOMETRY, series(line(5), PixelSpacing=but((0.8, 0.5), (0, 0.5))), ["PixelSpacing", "{2}"]
    ),
    "spacing_negative": Verdict(
        Code.DICOM_GEOMETRY,
        series(line(5), PixelSpacing=but((0.8, 0.5), (0.8, -0.5))),
        ["PixelSpacing", "{2}"],
    ),
    "spacing_not_a_number": Verdict(
        Code.DICOM_GEOMETRY,
        series(line(5), PixelSpacing=but((0.8, 0.5), ("NaN", "0.5"))),
        ["PixelSpacing", "{2}"],
    ),
    "position_infinite": Verdict(
        Code.DICOM_GEOMETRY,
        series(line(5), ImagePositionPatient=but((0, 0, 0), ("0", "0", "inf"))),
        ["ImagePositionPatient", "{2}"],
    ),
    "cosines_not_at_a_right_angle": Verdict(
        Code.DICOM_GEOMETRY,
        series(line(5), ImageOrientationPatient=but(AXES["axial"], (1, 0, 0, 0.1, 0.995, 0))),
        ["right angle", "{2}"],
    ),
    "one_slice_of_another_spacing": Verdict(
        Code.DICOM_SPACING,
        series(line(5), PixelSpacing=but((0.8, 0.5), (0.9, 0.5))),
        ["0.9x0.5 mm (1", "{2}"],
    ),
    "colours": Verdict(
        Code.COLOUR,
        series(line(5), SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0),
        ["{0}", "{4}"],
    ),
    "palette": Verdict(Code.COLOUR, series(line(5), PhotometricInterpretation="PALETTE COLOR"), ["{0}"]),
    "lookup_table": Verdict(
        Code.UNSUPPORTED, series(line(5), ModalityLUTSequence=[[Dataset()]] * 5), ["lookup table", "{0}"]
    ),
    "twelve_bits_packed": Verdict(Code.UNSUPPORTED, series(line(5), BitsAllocated=but(16, 12)), ["{2}"]),
    "high_bit_elsewhere": Verdict(Code.UNSUPPORTED, series(line(5), HighBit=but(11, 15)), ["{2}"]),
    "without_the_mark": Verdict(
        Code.DICOM_HEADER,
        everywhere(lambda content: content[132:]),
        ["mark", "<file 1 of 5>", "<file 5 of 5>"],
    ),
    "without_mark_and_meta": Verdict(
        Code.DICOM_HEADER,
        everywhere(lambda content: content[content.index(b"\x08\x00\x16\x00") :]),
        ["mark", "<file 1 of 5>"],
    ),
    "one_damaged_header": Verdict(
        Code.DICOM_HEADER, changed(3, lambda content: content[:160] + b"\xff" * 400), ["damaged", "{3}"]
    ),
    "one_empty_file": Verdict(Code.DICOM_HEADER, changed(4, lambda _content: b""), ["no DICOM", "{4}"]),
    "one_file_of_zeros": Verdict(
        Code.DICOM_HEADER, changed(4, lambda content: bytes(len(content))), ["no DICOM", "{4}"]
    ),
    "header_cut_off": Verdict(
        Code.DICOM_HEADER, changed(3, lambda content: content[:500]), ["damaged", "{3}"]
    ),
    "pixels_cut_off": Verdict(
        Code.DICOM_PIXELS, changed(3, lambda content: content[:-20], stored=noise(5, 32, 32)), ["{3}"]
    ),
    "pixels_gone": Verdict(
        Code.DICOM_PIXELS, changed(3, lambda content: content[: content.index(b"\xe0\x7f\x10\x00")]), ["{3}"]
    ),
    "rle_cut_off": Verdict(
        Code.DICOM_PIXELS,
        changed(3, lambda content: content[:-40], stored=noise(5, 40, 36), syntax=uids.RLELossless),
        ["{3}"],
    ),
    "jpeg_2000_cut_off": Verdict(
        Code.DICOM_PIXELS,
        changed(3, lambda content: content[:-150], stored=noise(5, 40, 36), syntax=uids.JPEG2000Lossless),
        ["{3}"],
    ),
    "deflated_cut_off": Verdict(
        Code.DICOM_PIXELS,
        changed(
            3,
            lambda content: content[:-40],
            stored=noise(5, 40, 36),
            syntax=uids.DeflatedExplicitVRLittleEndian,
        ),
        ["{3}"],
    ),
    "no_folder_content": Verdict(Code.DICOM_NO_SERIES, lambda folder: folder.mkdir(), ["no CT, MR"]),
    "no_dicom_in_it": Verdict(
        Code.DICOM_NO_SERIES,
        lambda folder: folder.mkdir() or (folder / "a").write_text("x" * 500),
        ["no CT, MR"],
    ),
}


@pytest.mark.row("G06")
@pytest.mark.parametrize("name", VERDICTS)
def test_refused(name: str, tmp_path: Path) -> None:
    verdict, folder = VERDICTS[name], tmp_path / "scan"
    verdict.build(folder)
    with pytest.raises(VolumeError) as caught:
        read_volume(folder, series_uid="1.2.99" if name == "localizer_asked_for" else None)
    require(caught.value, verdict)

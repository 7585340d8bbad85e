"""What DICOM headers say of each slice: its place, size and rescale. Headers only, no pixels."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom import uid as uids
from pydicom.dataset import Dataset

from medseg.errors import Code
from medseg.io.dicom_fault import Fault, FaultError
from medseg.io.dicom_file import DICOM_ERRORS
from medseg.io.dicom_rescale import rescale_of

_NATIVE_SYNTAXES = frozenset(
    {uids.ImplicitVRLittleEndian, uids.ExplicitVRLittleEndian, uids.ExplicitVRBigEndian}
)
_LARGEST_SIDE = 16384
_UNCHECKED_BYTES = 16 << 20  # compressed slices of at most this size need no look at their ratio
_LARGEST_RATIO = 1100  # deflate's own limit; what medical codecs reach on real slices is far below
_COSINE_TOLERANCE = 2e-3  # cosines written with three decimals

_GEOMETRY_TAGS = {
    "ImageOrientationPatient": "(0020,0037)",
    "ImagePositionPatient": "(0020,0032)",
    "PixelSpacing": "(0028,0030)",
}


@dataclass(frozen=True)
class Slice:
    """One image plane, in DICOM's own terms: LPS millimetres, ``(row, column)`` order in ``spacing_mm``.

    ``row_cosine`` is the direction along a row (column index grows), ``column_cosine`` that down a column.
    ``rescaled`` tells whether the header has a slope and an intercept, or the stored values hold.
    """

    file: Path = field(repr=False)  # its name may be a patient's
    frame: int
    row_cosine: tuple[float, float, float]
    column_cosine: tuple[float, float, float]
    position_mm: tuple[float, float, float]
    spacing_mm: tuple[float, float]
    rows: int
    columns: int
    rescaled: bool
    slope: float
    intercept: float
    stored_range: tuple[int, int]


def planes_of(path: Path, dataset: Dataset, frames: int) -> Iterator[Slice]:
    """The planes of an image file.

    Raises:
        FaultError: for what the header lacks or cannot mean; what is in ``DICOM_ERRORS`` for damaged values.
    """
    _require_readable_pixels(path, dataset, frames)
    if dataset.get("PerFrameFunctionalGroupsSequence"):
        yield from _frames(path, dataset, frames)
    elif frames == 1:
        yield _slice(path, 0, dataset, (dataset, dataset, dataset, dataset))
    else:
        raise FaultError(
            Fault(
                Code.UNSUPPORTED,
                f"{frames} frames in one file without the place of each",
                "export it as enhanced or single-frame DICOM",
            )
        )


def frames_of(dataset: Dataset) -> int:
    told = dataset.get("NumberOfFrames")
    return 1 if told in (None, "") else int(told)


def pixel_bytes(dataset: Dataset, frames: int) -> int:
    """What the header declares, uncompressed."""
    return int(dataset.Rows) * int(dataset.Columns) * int(dataset.get("BitsAllocated") or 16) // 8 * frames


def _require_readable_pixels(path: Path, dataset: Dataset, frames: int) -> None:
    rows, columns, bits = int(dataset.Rows), int(dataset.Columns), int(dataset.get("BitsAllocated") or 16)
    stored = int(dataset.get("BitsStored") or bits)
    if not (0 < rows <= _LARGEST_SIDE and 0 < columns <= _LARGEST_SIDE) or frames < 1:
        raise FaultError(Fault(Code.DICOM_HEADER, f"{frames} frames of {rows}x{columns} pixels declared"))
    if bits not in {8, 16, 32} or stored > bits or int(dataset.get("HighBit") or stored - 1) != stored - 1:
        raise FaultError(
            Fault(Code.UNSUPPORTED, f"pixels of {stored} bits in {bits}", "convert the series to .nii.gz")
        )
    declared, held = pixel_bytes(dataset, frames), path.stat().st_size
    native = dataset.file_meta.TransferSyntaxUID in _NATIVE_SYNTAXES
    if held < declared if native else declared > max(_UNCHECKED_BYTES * frames, _LARGEST_RATIO * held):
        raise FaultError(
            Fault(
                Code.DICOM_PIXELS,
                f"{declared} bytes of pixels declared and {held} in the file, cut off or damaged",
            )
        )


def _frames(path: Path, dataset: Dataset, frames: int) -> Iterator[Slice]:
    """The planes of an enhanced (multi-frame) file, whose values are shared or stand with each frame."""
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    groups = dataset.PerFrameFunctionalGroupsSequence
    if len(groups) != frames:
        raise FaultError(
            Fault(Code.DICOM_HEADER, f"{frames} frames declared and the places of {len(groups)} given")
        )
    for number, own in enumerate(groups):
        parts = tuple(
            (own.get(name) or shared.get(name) or [Dataset()])[0]
            for name in (
                "PlaneOrientationSequence",
                "PlanePositionSequence",
                "PixelMeasuresSequence",
                "PixelValueTransformationSequence",
            )
        )
        yield _slice(path, number, dataset, (parts[0], parts[1], parts[2], parts[3]))


def _slice(
    path: Path, frame: int, dataset: Dataset, parts: tuple[Dataset, Dataset, Dataset, Dataset]
) -> Slice:
    orientation, position, measures, values = parts
    cosines = _numbers(orientation, "ImageOrientationPatient", 6)
    x, y, z = _numbers(position, "ImagePositionPatient", 3)
    between_rows, between_columns = _numbers(measures, "PixelSpacing", 2)
    if not (between_rows > 0 and between_columns > 0):
        raise _unusable("PixelSpacing")
    row, column = (cosines[0], cosines[1], cosines[2]), (cosines[3], cosines[4], cosines[5])
    _require_right_angle(row, column)
    rescaled, slope, intercept = rescale_of(dataset, values)
    bits = int(dataset.get("BitsStored") or dataset.get("BitsAllocated") or 16)
    signed = bool(dataset.get("PixelRepresentation"))
    return Slice(
        file=path,
        frame=frame,
        row_cosine=row,
        column_cosine=column,
        position_mm=(x, y, z),
        spacing_mm=(between_rows, between_columns),
        rows=int(dataset.Rows),
        columns=int(dataset.Columns),
        rescaled=rescaled,
        slope=slope,
        intercept=intercept,
        stored_range=(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1),
    )


def _numbers(dataset: Dataset, name: str, count: int) -> list[float]:
    try:
        value: Any = dataset.get(name)
        if value in (None, ""):
            raise FaultError(Fault(Code.DICOM_GEOMETRY, f"no {name} {_GEOMETRY_TAGS[name]}"))
        numbers = [float(one) for one in value]
    except DICOM_ERRORS:
        raise _unusable(name) from None
    if len(numbers) != count or not all(math.isfinite(one) for one in numbers):
        raise _unusable(name)
    return numbers


def _unusable(name: str) -> FaultError:
    return FaultError(Fault(Code.DICOM_GEOMETRY, f"a {name} {_GEOMETRY_TAGS[name]} that is none"))


def _require_right_angle(row: tuple[float, float, float], column: tuple[float, float, float]) -> None:
    along = sum(r * c for r, c in zip(row, column, strict=True))
    if max(abs(math.hypot(*row) - 1), abs(math.hypot(*column) - 1), abs(along)) > _COSINE_TOLERANCE:
        raise FaultError(
            Fault(
                Code.DICOM_GEOMETRY,
                "an ImageOrientationPatient (0020,0037) that is not two unit vectors at a right angle",
            )
        )

"""What DICOM headers say of each slice: its place, size and rescale. Headers only, no pixels."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

DICOM_ERRORS = (
    InvalidDicomError,
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    MemoryError,
    NotImplementedError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)  # what pydicom and its decoders raise on damaged or foreign files

_TAGS = [
    "SOPClassUID", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription", "Modality", "ImageType",
    "ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing", "Rows", "Columns", "NumberOfFrames",
    "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "SamplesPerPixel", "BitsStored",
    "PixelRepresentation", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
]  # fmt: skip
_NOT_SCANS = frozenset({"SEG", "SM", "SR", "PR", "KO", "DX", "CR", "MG", "US", "XC", "OT", "REG", "RTIMAGE"})

_SCAN_CLASSES = frozenset(
    {
        pydicom.uid.CTImageStorage,
        pydicom.uid.EnhancedCTImageStorage,
        pydicom.uid.LegacyConvertedEnhancedCTImageStorage,
        pydicom.uid.MRImageStorage,
        pydicom.uid.EnhancedMRImageStorage,
        pydicom.uid.LegacyConvertedEnhancedMRImageStorage,
        pydicom.uid.PositronEmissionTomographyImageStorage,
        pydicom.uid.EnhancedPETImageStorage,
    }
)


@dataclass(frozen=True)
class Slice:
    """One image plane, in DICOM's own terms: LPS millimetres, ``(row, column)`` order in ``spacing_mm``.

    ``row_cosine`` is the direction along a row (column index grows), ``column_cosine`` that down a column.
    """

    file: Path
    frame: int
    row_cosine: tuple[float, float, float]
    column_cosine: tuple[float, float, float]
    position_mm: tuple[float, float, float]
    spacing_mm: tuple[float, float]
    rows: int
    columns: int
    slope: float
    intercept: float
    stored_range: tuple[int, int]


@dataclass(frozen=True)
class Header:
    """One DICOM file of a scan: its series, and its slices."""

    uid: str
    number: int | None
    description: str
    modality: str
    localizer: bool
    slices: tuple[Slice, ...]


def looks_like_dicom(path: Path) -> bool:
    """Whether ``path`` has the DICM mark of DICOM part 10 files at byte 128."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def read_header(path: Path) -> Header | None:
    """The header of a scan's file; None for other objects (SEG, RTSTRUCT, reports, slides, projections)."""
    dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_TAGS))
    modality = str(dataset.get("Modality") or "")
    sop_class = str(dataset.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID") or "")
    if not sop_class or (sop_class in _SCAN_CLASSES and not dataset.get("Rows")):
        raise EOFError("header cut off")  # pydicom reads to the end of a truncated header without a word
    if modality in _NOT_SCANS or not dataset.get("Rows") or int(dataset.get("SamplesPerPixel") or 1) != 1:
        return None
    slices = tuple(
        _frames(path, dataset) if dataset.get("PerFrameFunctionalGroupsSequence") else _single(path, dataset)
    )
    if not slices:
        return None
    number = dataset.get("SeriesNumber")
    return Header(
        uid=str(dataset.get("SeriesInstanceUID") or ""),
        number=None if number is None else int(number),
        description=str(dataset.get("SeriesDescription") or ""),
        modality=modality,
        localizer="LOCALIZER" in [str(word).upper() for word in _words(dataset.get("ImageType"))],
        slices=slices,
    )


def _single(path: Path, dataset: Dataset) -> Iterator[Slice]:
    if int(dataset.get("NumberOfFrames") or 1) == 1 and all(
        dataset.get(tag) for tag in ("ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing")
    ):
        yield _slice(path, 0, dataset, (dataset, dataset, dataset, dataset))


def _frames(path: Path, dataset: Dataset) -> Iterator[Slice]:
    """The planes of an enhanced (multi-frame) file, whose values are shared or stand with each frame."""
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    for number, own in enumerate(dataset.PerFrameFunctionalGroupsSequence):
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
    if values.get("ModalityLUTSequence"):
        raise NotImplementedError("a modality lookup table")
    cosines = [float(c) for c in orientation.ImageOrientationPatient]
    x, y, z = (float(p) for p in position.ImagePositionPatient)
    between_rows, between_columns = (float(s) for s in measures.PixelSpacing)
    bits, signed = int(dataset.get("BitsStored") or 16), bool(dataset.get("PixelRepresentation"))
    return Slice(
        file=path,
        frame=frame,
        row_cosine=(cosines[0], cosines[1], cosines[2]),
        column_cosine=(cosines[3], cosines[4], cosines[5]),
        position_mm=(x, y, z),
        spacing_mm=(between_rows, between_columns),
        rows=int(dataset.Rows),
        columns=int(dataset.Columns),
        slope=_number(values.get("RescaleSlope"), 1.0),
        intercept=_number(values.get("RescaleIntercept"), 0.0),
        stored_range=(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1),
    )


def _number(value: Any, default: float) -> float:
    return default if value is None or value == "" else float(value)


def _words(value: Any) -> list[Any]:
    return [] if value is None else [value] if isinstance(value, str) else list(value)

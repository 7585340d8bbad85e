"""One DICOM file's header: to which series it belongs, its slices, and why it cannot be used."""

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom import uid as uids
from pydicom.dataset import Dataset

from medseg.errors import Code
from medseg.io.dicom_fault import Fault, FaultError
from medseg.io.dicom_file import DICOM_ERRORS, dicom_mark, quiet_pydicom, read_header_dataset
from medseg.io.dicom_slices import Slice, frames_of, pixel_bytes, planes_of

_TAGS = [
    "SOPClassUID", "SeriesInstanceUID", "SeriesNumber", "Modality", "ImageType", "InstanceNumber",
    "PatientID", "PatientName", "PatientBirthDate", "FrameOfReferenceUID",
    "ImagesInAcquisition", "NumberOfSeriesRelatedInstances", "NumberOfSlices", "SpacingBetweenSlices",
    "ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing", "Rows", "Columns", "NumberOfFrames",
    "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "SamplesPerPixel", "PhotometricInterpretation",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
]  # fmt: skip
_NOT_SCANS = frozenset({"SEG", "SM", "SR", "PR", "KO", "DX", "CR", "MG", "US", "XC", "OT", "REG", "RTIMAGE"})
_SCANS = frozenset({"CT", "MR", "PT", "NM"})
_SCAN_CLASSES = frozenset(
    {
        uids.CTImageStorage,
        uids.EnhancedCTImageStorage,
        uids.LegacyConvertedEnhancedCTImageStorage,
        uids.MRImageStorage,
        uids.EnhancedMRImageStorage,
        uids.LegacyConvertedEnhancedMRImageStorage,
        uids.PositronEmissionTomographyImageStorage,
        uids.EnhancedPETImageStorage,
    }
)
_PLACE = ("ImageOrientationPatient", "ImagePositionPatient", "PerFrameFunctionalGroupsSequence")
_UID = re.compile(r"[0-9.]{1,64}")
_SALT = secrets.token_bytes(16)
_DAMAGED = Fault(Code.DICOM_HEADER, "a damaged DICOM header")
_BARE = Fault(
    Code.DICOM_HEADER,
    "DICOM without the DICM mark, whose encoding would be a guess",
    "rewrite it as DICOM part 10 (dcmconv), or export the series anew",
)
_LOST = Fault(Code.DICOM_HEADER, "no DICOM, though named as an image of the series")
_CLOSED = Fault(Code.CANNOT_OPEN, "no permission to read, or a broken disk", "check the permissions")


@dataclass(frozen=True)
class Header:
    """What one file of a scan says, or the ``fault`` for which it cannot be used.

    ``patient`` is a salted hash that tells patients apart within this process, and nothing else.
    ``instance`` and ``announced`` are its number in the series and how many the series says to have;
    ``between_mm`` is the distance of slices that it declares.
    """

    file: Path = field(repr=False)
    uid: str = ""
    number: int | None = None
    modality: str = "other"
    localizer: bool = False
    patient: bytes = field(default=b"", repr=False)
    frame_of_reference: str = ""
    instance: int | None = None
    announced: int | None = None
    between_mm: float | None = None
    slices: tuple[Slice, ...] = ()
    pixel_bytes: int = 0
    fault: Fault | None = None


def read_header(path: Path) -> Header | None:
    """The header of a scan's file; None for other files and objects (SEG, RTSTRUCT, reports, projections)."""
    try:
        mark = dicom_mark(path)
    except OSError:
        return Header(path, fault=_CLOSED)
    if mark != "part 10":
        return Header(path, fault=_BARE if mark == "bare" else _LOST) if mark else None
    with quiet_pydicom():
        try:
            dataset = read_header_dataset(path, _TAGS).dataset
        except DICOM_ERRORS:
            return Header(path, fault=_DAMAGED)
        try:
            return _described(path, dataset)
        except DICOM_ERRORS:
            return Header(path, uid=_uid(dataset, "SeriesInstanceUID"), fault=_DAMAGED)


def _described(path: Path, dataset: Dataset) -> Header | None:
    meta = dataset.file_meta
    sop_class = str(dataset.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID") or "")
    if sop_class == uids.MediaStorageDirectoryStorage:
        return None
    is_scan = sop_class in _SCAN_CLASSES
    modality = str(dataset.get("Modality") or "")
    if not sop_class or (is_scan and not dataset.get("Rows")):
        raise EOFError  # pydicom reads to the end of a header cut off without a word
    placed = any(dataset.get(name) for name in _PLACE)
    if modality in _NOT_SCANS or not dataset.get("Rows") or not (is_scan or placed):
        return None
    colour = int(dataset.get("SamplesPerPixel") or 1) != 1 or not str(
        dataset.get("PhotometricInterpretation") or "MONOCHROME2"
    ).startswith("MONOCHROME")
    if colour and not is_scan:
        return None
    frames = frames_of(dataset)
    slices, fault = _slices(path, dataset, frames, colour)
    return Header(
        file=path,
        uid=_uid(dataset, "SeriesInstanceUID"),
        number=_whole(dataset, "SeriesNumber"),
        modality=modality if modality in _SCANS else "other",
        localizer="LOCALIZER" in _image_type(dataset),
        patient=_patient(dataset),
        frame_of_reference=_uid(dataset, "FrameOfReferenceUID"),
        instance=_whole(dataset, "InstanceNumber"),
        announced=_announced(dataset) if frames == 1 else None,
        between_mm=_decimal(dataset, "SpacingBetweenSlices"),
        slices=slices,
        pixel_bytes=pixel_bytes(dataset, frames),
        fault=fault,
    )


def _slices(
    path: Path, dataset: Dataset, frames: int, colour: bool
) -> tuple[tuple[Slice, ...], Fault | None]:
    if colour:
        return (), Fault(Code.COLOUR, "colours, no intensities", "give the series of grey values")
    if "MOSAIC" in _image_type(dataset):
        return (), Fault(
            Code.UNSUPPORTED, "a mosaic of many slices in one picture", "convert the series with dcm2niix"
        )
    try:
        return tuple(planes_of(path, dataset, frames)), None
    except FaultError as error:
        return (), error.fault
    except DICOM_ERRORS:
        return (), _DAMAGED


def _patient(dataset: Dataset) -> bytes:
    told = [str(dataset.get(name) or "") for name in ("PatientID", "PatientName", "PatientBirthDate")]
    plain = "\0".join("".join(c for c in text.casefold() if c.isalnum()) for text in told)
    return hashlib.blake2b(plain.encode(errors="replace"), key=_SALT, digest_size=16).digest()


def _announced(dataset: Dataset) -> int | None:
    for name in ("NumberOfSeriesRelatedInstances", "NumberOfSlices", "ImagesInAcquisition"):
        number = _whole(dataset, name)
        if number is not None:
            return number
    return None


def _uid(dataset: Dataset, name: str) -> str:
    """A uid, or ``""`` for what is none: other text is not to be told on."""
    try:
        text = str(dataset.get(name) or "")
    except DICOM_ERRORS:
        return ""
    return text if _UID.fullmatch(text) else ""


def _whole(dataset: Dataset, name: str) -> int | None:
    try:
        return int(dataset.get(name))
    except DICOM_ERRORS:  # optional: nobody needs a series number to be one
        return None


def _decimal(dataset: Dataset, name: str) -> float | None:
    try:
        return float(dataset.get(name))
    except DICOM_ERRORS:
        return None


def _image_type(dataset: Dataset) -> list[str]:
    value: Any = dataset.get("ImageType") or []
    return [str(word).upper() for word in ([value] if isinstance(value, str) else value)]

"""One DICOM file as a dataset: recognised by its marks, inflated no further than its header asks for."""

import logging
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Literal

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_dataset, read_file_meta_info, read_partial
from pydicom.tag import BaseTag, Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian

DICOM_ERRORS = (
    InvalidDicomError,
    BytesLengthException,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)  # what pydicom and its decoders raise on damaged or foreign files

Mark = Literal["part 10", "bare", "lost", ""]

_IMAGE_SUFFIXES = (".dcm", ".ima")
_PIXELS = (Tag(0x7FE0, 0x0008), Tag(0x7FE0, 0x0009), Tag(0x7FE0, 0x0010))  # float, double, whole
_LARGEST_HEADER = 16 << 20
_BARE_ELEMENTS = frozenset({0x00, 0x01, 0x05, 0x08, 0x12, 0x13, 0x14, 0x16, 0x18})
_BARE_VALUE_REPRESENTATIONS = frozenset({b"UL", b"OB", b"CS", b"DA", b"TM", b"UI", b"SH", b"LO"})

_reading: ContextVar[bool] = ContextVar("reading_dicom", default=False)


def _passes(_record: logging.LogRecord) -> bool:
    return not _reading.get()


for _name in ("pydicom", "pydicom.pixels.decoders.base", "pydicom.pixels.utils"):
    logging.getLogger(_name).addFilter(_passes)


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """pydicom warns and logs of odd values by quoting them: not while medseg reads, they name patients."""
    token = _reading.set(True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        _reading.reset(token)


def dicom_mark(path: Path) -> Mark:
    """``"part 10"``: DICM at byte 128; ``"bare"`` for a dataset that starts without it, as of old archives.

    ``"lost"`` for a file that by its name is an image, and is empty, zeros or something else. Raises OSError.
    """
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        start = file.read(132)
    if start[128:] == b"DICM":
        return "part 10"
    if len(start) >= 12:
        group, element, length = struct.unpack("<HHL", start[:8])
        plausible = start[4:6] in _BARE_VALUE_REPRESENTATIONS or length <= 64
        if group in {0x0002, 0x0008} and element in _BARE_ELEMENTS and plausible:
            return "bare"
    numbered = not path.suffix and any(c.isdecimal() for c in path.name)
    named = path.suffix.lower() in _IMAGE_SUFFIXES or (numbered and not any(start))
    return "lost" if named else ""


def looks_like_dicom(path: Path) -> bool:
    """Whether ``path`` has a mark of DICOM; not, when nobody may look."""
    try:
        return bool(dicom_mark(path))
    except OSError:
        return False


@dataclass(frozen=True)
class HeaderDataset:
    """A file's elements before its pixels; ``whole`` when reading came as far as these."""

    dataset: Dataset = field(repr=False)
    whole: bool


class _UntilPixels:
    """Where pydicom is to stop reading."""

    def __init__(self) -> None:
        self.reached = False

    def __call__(self, tag: BaseTag, _vr: str | None, _length: int) -> bool:
        self.reached = self.reached or tag in _PIXELS
        return int(tag) >= int(_PIXELS[0])


def read_header_dataset(path: Path, tags: Sequence[str] | None = None) -> HeaderDataset:
    """All (or only ``tags``) before the pixels. Raises what is in ``DICOM_ERRORS``."""
    stop = _UntilPixels()
    wanted: list[BaseTag | int] | None = None
    if tags is not None:
        wanted = [Tag(name) for name in ("SpecificCharacterSet", *tags)]
    if read_file_meta_info(path)["TransferSyntaxUID"].value == DeflatedExplicitVRLittleEndian:
        return HeaderDataset(_inflated(path, _LARGEST_HEADER, stop, wanted), stop.reached)
    with path.open("rb") as file:
        return HeaderDataset(read_partial(file, stop, specific_tags=wanted), stop.reached)


def read_pixel_dataset(path: Path, pixel_bytes: int) -> Dataset:
    """The whole file. ``pixel_bytes`` is what its header declares, which bounds what is inflated."""
    if read_file_meta_info(path)["TransferSyntaxUID"].value == DeflatedExplicitVRLittleEndian:
        return _inflated(path, _LARGEST_HEADER + pixel_bytes, None, None)
    return pydicom.dcmread(path)


def _inflated(
    path: Path, most: int, stop: _UntilPixels | None, wanted: list[BaseTag | int] | None
) -> Dataset:
    """A file whose dataset is deflated. A megabyte of zeros deflates to a kilobyte: ``most`` are made."""
    meta = read_file_meta_info(path)
    start = 128 + 4 + 12 + int(meta["FileMetaInformationGroupLength"].value)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    with path.open("rb") as file:
        file.seek(start)
        content = inflater.decompress(file.read(), most)
    if stop is None and not inflater.eof:
        raise EOFError("deflated data is cut off, or larger than declared")
    dataset = read_dataset(
        BytesIO(content), is_implicit_VR=False, is_little_endian=True, stop_when=stop, specific_tags=wanted
    )
    dataset.file_meta = meta
    dataset.set_original_encoding(is_implicit_vr=False, is_little_endian=True)
    return dataset

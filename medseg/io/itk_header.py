"""Where the voxels of NRRD and MetaImage files lie: just enough of both headers to check their size.

ITK reads such files without comparing the bytes there are with the bytes declared; medseg does.
Sources: https://teem.sourceforge.net/nrrd/format.html, https://itk.org/Wiki/ITK/MetaIO/Documentation
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medseg.errors import Code, VolumeError
from medseg.io.payload import GZIP, PLAIN, ZLIB, open_binary

_HEADER_LIMIT = 1 << 20

_NRRD_TYPES = {
    **dict.fromkeys(("signed char", "int8", "int8_t"), "i1"),
    **dict.fromkeys(("uchar", "unsigned char", "uint8", "uint8_t"), "u1"),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), "i2"),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), "u2"),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t"), "i4"),
    **dict.fromkeys(("uint", "unsigned int", "uint32", "uint32_t"), "u4"),
    **dict.fromkeys(("longlong", "long long", "long long int", "signed long long", "int64", "int64_t"), "i8"),
    **dict.fromkeys(
        ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"), "u8"
    ),
    "float": "f4",
    "double": "f8",
}
_META_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}


@dataclass(frozen=True)
class Layout:
    """The voxels' declared ``sizes`` and ``dtype``, and the file, ``offset`` and ``coding`` of them."""

    sizes: tuple[int, ...]
    dtype: np.dtype
    file: Path
    offset: int
    coding: int


def read_layout(path: Path, suffix: str) -> Layout:
    """The layout of a .nrrd, .nhdr, .mha or .mhd file.

    Raises:
        VolumeError: when the header is damaged, or says what cannot be trusted or read.
    """
    with open_binary(path) as file:
        head = file.read(_HEADER_LIMIT)
    return _nrrd_layout(path, head) if suffix in (".nrrd", ".nhdr") else _meta_layout(path, head)


def _nrrd_layout(path: Path, head: bytes) -> Layout:
    if not head.startswith(b"NRRD000"):
        raise VolumeError(Code.NOT_A_VOLUME, f"{path.name}: not a NRRD file; convert it, or correct its name")
    blank_line = re.search(rb"\r?\n\r?\n", head)
    offset = blank_line.end() if blank_line else len(head)
    fields = _fields(head[:offset], ":")
    if "space" not in fields or "space directions" not in fields:
        raise VolumeError(
            Code.NO_ORIENTATION,
            f"{path.name}: no orientation (space, space directions); export it as .nii.gz or with both",
        )
    if any(
        fields.get(key, "0") not in ("0", "") for key in ("byte skip", "byteskip", "line skip", "lineskip")
    ):
        raise VolumeError(
            Code.UNSUPPORTED,
            f"{path.name}: skipped bytes before its voxels are not supported; convert it to .nii.gz",
        )
    encoding = fields.get("encoding", "").lower()
    if encoding not in ("raw", "gzip", "gz"):
        raise VolumeError(
            Code.UNSUPPORTED,
            f"{path.name}: encoding {encoding!r}, raw or gzip expected; convert it to .nii.gz",
        )
    dtype = _dtype(
        path, _NRRD_TYPES, fields.get("type", "").lower(), fields.get("endian", "little").lower() == "big"
    )
    detached = fields.get("data file", fields.get("datafile"))
    where = path if detached is None else _detached(path, detached)
    coding = PLAIN if encoding == "raw" else GZIP
    return Layout(
        _sizes(path, fields.get("sizes", "")), dtype, where, offset if detached is None else 0, coding
    )


def _meta_layout(path: Path, head: bytes) -> Layout:
    end = head.find(b"ElementDataFile")
    line_end = head.find(b"\n", end)
    if end < 0 or not head.lstrip()[:40].startswith((b"ObjectType", b"NDims", b"Comment", b"ObjectSubType")):
        raise VolumeError(
            Code.NOT_A_VOLUME, f"{path.name}: not a MetaImage file; convert it, or correct its name"
        )
    line_end = len(head) - 1 if line_end < 0 else line_end
    fields = _fields(head[: line_end + 1], "=")
    if not {"transformmatrix", "rotation", "orientation"} & fields.keys():
        raise VolumeError(
            Code.NO_ORIENTATION,
            f"{path.name}: no orientation (TransformMatrix); export it as .nii.gz or with one",
        )
    if (
        float(fields.get("elementtointensityfunctionslope", "1") or 1) != 1
        or fields.get("headersize", "0") != "0"
    ):
        raise VolumeError(
            Code.UNSUPPORTED,
            f"{path.name}: rescaled or skipped bytes are not supported; convert it to .nii.gz",
        )
    if fields.get("binarydata", "true").lower() != "true":
        raise VolumeError(
            Code.UNSUPPORTED, f"{path.name}: voxels written as text are not supported; convert it to .nii.gz"
        )
    order = fields.get("binarydatabyteordermsb", fields.get("elementbyteordermsb", "false")).lower()
    dtype = _dtype(path, _META_TYPES, fields.get("elementtype", "").upper(), order == "true")
    local = fields["elementdatafile"].upper() == "LOCAL"
    where = path if local else _detached(path, fields["elementdatafile"])
    coding = ZLIB if fields.get("compresseddata", "false").lower() == "true" else PLAIN
    return Layout(_sizes(path, fields.get("dimsize", "")), dtype, where, line_end + 1 if local else 0, coding)


def _fields(text: bytes, separator: str) -> dict[str, str]:
    lines = (
        line.partition(separator) for line in text.decode("latin-1").splitlines() if not line.startswith("#")
    )
    return {key.strip().lower(): value.strip() for key, found, value in lines if found}


def _sizes(path: Path, text: str) -> tuple[int, ...]:
    words = text.split()
    if not words or not all(word.isdecimal() and 0 < int(word) < 2**31 for word in words):
        raise VolumeError(Code.HEADER, f"{path.name}: damaged header, sizes {text!r}; export the file anew")
    return tuple(int(word) for word in words)


def _dtype(path: Path, types: dict[str, str], name: str, big: bool) -> np.dtype:
    if name not in types:
        raise VolumeError(
            Code.VOXEL_TYPE,
            f"{path.name}: voxels of type {name!r} cannot be read; export as int16 or float32",
        )
    return np.dtype(f"{'>' if big else '<'}{types[name]}")


def _detached(path: Path, name: str) -> Path:
    if not name or name.upper().startswith("LIST") or "%" in name:
        raise VolumeError(
            Code.UNSUPPORTED, f"{path.name}: voxels spread over several files; convert it to .nii.gz"
        )
    return path.parent / name

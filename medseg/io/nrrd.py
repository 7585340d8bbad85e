"""Headers of NRRD files. Source: https://teem.sourceforge.net/nrrd/format.html"""

import re
from pathlib import Path

import numpy as np

from medseg.errors import Code, VolumeError
from medseg.io.itk_header import (
    LPS_TO_RAS,
    Layout,
    broken,
    colour,
    detached,
    geometry_of,
    no_orientation,
    not_supported,
    numbers,
    one_volume,
    stored_type,
    whole_sizes,
)
from medseg.io.payload import GZIP, PLAIN
from medseg.volume import Geometry, Volume

_TYPES = {
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
_TO_LPS = {  # the first two axes of each space, as signs towards Left and Posterior
    **dict.fromkeys(("left-posterior-superior", "lps"), (1.0, 1.0)),
    **dict.fromkeys(("right-anterior-superior", "ras"), (-1.0, -1.0)),
    **dict.fromkeys(("left-anterior-superior", "las"), (1.0, -1.0)),
}
_FIELD = re.compile(r"([^:]+):(?!=)\s*(.*)")
_AXIS = re.compile(r"none|\(([^()]*)\)")


def nrrd_layout(path: Path, head: bytes) -> Layout:
    """The layout of a .nrrd or .nhdr file, of which ``head`` is the beginning.

    Raises:
        VolumeError: when the header is damaged, or says what cannot be trusted or read.
    """
    if not head.startswith(b"NRRD000"):
        raise VolumeError(Code.NOT_A_VOLUME, f"{path.name}: not a NRRD file; convert it, or correct its name")
    blank_line = re.search(rb"\r?\n\r?\n", head)
    fields = _fields(path, head[: blank_line.start()] if blank_line else head)
    if blank_line is None and "datafile" not in fields:
        raise VolumeError(Code.TRUNCATED, f"{path.name}: truncated within its header; copy the file anew")
    if any(fields.get(key, "0") not in ("0", "") for key in ("byteskip", "lineskip")):
        raise not_supported(path, "skipped bytes before its voxels")
    encoding = fields.get("encoding", "").lower()
    if encoding not in ("raw", "gzip", "gz"):
        raise not_supported(path, f"voxels of encoding {encoding[:30]!r} (raw and gzip are)")
    geometry = _geometry(path, fields)
    dtype = _dtype(path, fields)
    coding = PLAIN if encoding == "raw" else GZIP
    if blank_line is None or "datafile" in fields:
        return Layout(geometry, dtype, detached(path, fields["datafile"]), 0, coding)
    return Layout(geometry, dtype, path, blank_line.end(), coding)


def _fields(path: Path, text: bytes) -> dict[str, str]:
    """The fields; comments and ``key:=value`` lines say nothing about the voxels."""
    fields: dict[str, str] = {}
    for raw in text.decode("utf-8", "surrogateescape").split("\n")[1:]:
        line = raw.rstrip("\r")
        if not line or line.startswith("#") or re.match(r"[^:]+:=", line):
            continue
        found = _FIELD.fullmatch(line)
        if found is None:
            if fields.get("datafile", "").upper().startswith("LIST"):
                break  # names of files follow; they are refused by the caller
            raise broken(path, "a line of it is neither field nor comment")
        key = found[1].strip().lower().replace(" ", "")
        if key in fields:
            raise broken(path, "a field of it is there twice")
        fields[key] = found[2].strip()
    return fields


def _geometry(path: Path, fields: dict[str, str]) -> Geometry:
    told = whole_sizes(path, fields.get("sizes", ""))
    if fields.get("dimension", "").strip() != str(len(told)):
        raise broken(path, f"{len(told)} sizes of {fields.get('dimension', 'no')[:9]} dimensions")
    missing = [
        word
        for word in ("space", "space directions", "space origin")
        if not fields.get(word.replace(" ", ""))
    ]
    if missing:
        raise no_orientation(path, f"no {', no '.join(missing)}")
    signs = _TO_LPS.get(fields["space"].lower())
    if signs is None:
        raise no_orientation(path, f"its space {fields['space'][:40]!r} is not the patient's")
    units = set(re.findall(r'"([^"]*)"', fields.get("spaceunits", ""))) - {"mm", ""}
    if units:
        raise VolumeError(
            Code.UNIT, f"{path.name}: lengths in {sorted(units)[0][:20]!r}; write millimetres into the header"
        )
    axes = list(_AXIS.finditer(fields["spacedirections"]))
    if len(axes) != len(told) or _AXIS.sub("", fields["spacedirections"]).strip():
        raise broken(path, f"space directions of {len(axes)} axes, {len(told)} expected")
    grid = [(size, axis[1]) for size, axis in zip(told, axes, strict=True) if axis[1] is not None or size > 1]
    if len(grid) > 3 and axes[0][1] is None and told[0] > 1:
        raise colour(path, told[0])
    shape = one_volume(path, [size for size, _ in grid], told)
    lps = np.eye(4)
    vectors = (*(vector or "" for _, vector in grid), fields["spaceorigin"].strip().strip("()"))
    for column, vector in enumerate(vectors):
        lps[:3, column] = numbers(path, vector.replace(",", " "), 3, "space vector") * (*signs, 1.0)
    return geometry_of(path, shape, lps)


def _dtype(path: Path, fields: dict[str, str]) -> np.dtype:
    order = fields.get("endian", "").lower()
    dtype = stored_type(path, _TYPES, fields.get("type", "").lower(), order == "big")
    if dtype.itemsize > 1 and order not in ("little", "big"):
        raise broken(path, "its byte order is neither little nor big")
    return dtype


def nrrd_header(volume: Volume) -> bytes:
    """The header of ``volume`` with gzip-compressed little-endian voxels behind it."""
    lps = LPS_TO_RAS @ volume.geometry.affine + 0.0  # no -0
    origin, *axes = (f"({','.join(repr(float(x)) for x in lps[:3, column])})" for column in (3, 0, 1, 2))
    kind = {"float32": "float", "float64": "double"}.get(volume.array.dtype.name, volume.array.dtype.name)
    lines = (
        "NRRD0004",
        f"type: {kind}",
        "dimension: 3",
        "space: left-posterior-superior",
        f"sizes: {' '.join(str(n) for n in volume.array.shape)}",
        f"space directions: {' '.join(axes)}",
        "kinds: domain domain domain",
        "endian: little",
        "encoding: gzip",
        f"space origin: {origin}",
    )
    return ("\n".join(lines) + "\n\n").encode()

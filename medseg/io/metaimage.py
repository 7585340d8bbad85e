"""Headers of MetaImage files. Source: https://itk.org/Wiki/ITK/MetaIO/Documentation"""

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
from medseg.io.payload import PLAIN, ZLIB
from medseg.volume import Geometry, Volume

_TYPES = {
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
_TYPE_NAMES = {code: name for name, code in reversed(_TYPES.items())}
_FIRST_FIELDS = (b"ObjectType", b"NDims", b"Comment", b"ObjectSubType")
_ORIENTATION = ("transformmatrix", "rotation", "orientation")
_ORIGIN = ("offset", "position", "origin")
_SPACING = ("elementspacing", "elementsize")


def metaimage_layout(path: Path, head: bytes) -> Layout:
    """The layout of a .mha or .mhd file, of which ``head`` is the beginning.

    Raises:
        VolumeError: when the header is damaged, or says what cannot be trusted or read.
    """
    if not head.lstrip()[:40].startswith(_FIRST_FIELDS):
        raise VolumeError(
            Code.NOT_A_VOLUME, f"{path.name}: not a MetaImage file; convert it, or correct its name"
        )
    fields, offset = _fields(path, head)
    _require_plain(path, fields)
    geometry = _geometry(path, fields)
    order = fields.get("binarydatabyteordermsb", fields.get("elementbyteordermsb", "false")).lower()
    if order not in ("true", "false"):
        raise broken(path, "its byte order is neither True nor False")
    dtype = stored_type(path, _TYPES, fields.get("elementtype", "").upper(), order == "true")
    coding = ZLIB if fields.get("compresseddata", "false").lower() == "true" else PLAIN
    name = fields["elementdatafile"]
    if name.upper() == "LOCAL":
        return Layout(geometry, dtype, path, offset, coding)
    return Layout(geometry, dtype, detached(path, name), 0, coding)


def _fields(path: Path, head: bytes) -> tuple[dict[str, str], int]:
    """The fields up to ``ElementDataFile``, which ends the header, and the byte behind it."""
    fields: dict[str, str] = {}
    offset = 0
    for line in head.splitlines(keepends=True):
        offset += len(line)
        key, found, value = line.decode("utf-8", "surrogateescape").partition("=")
        key = key.strip().lower()
        if found and key in fields:
            raise broken(path, "a field of it is there twice")
        if found:
            fields[key] = value.strip()
        if found and key == "elementdatafile":
            return fields, offset
    raise VolumeError(
        Code.TRUNCATED, f"{path.name}: truncated within its header (no ElementDataFile); copy the file anew"
    )


def _require_plain(path: Path, fields: dict[str, str]) -> None:
    """Refuse voxels that are not the values themselves, one after the other."""
    if fields.get("binarydata", "true").lower() != "true":
        raise not_supported(path, "voxels written as text")
    if fields.get("headersize", "0") not in ("0", ""):
        raise not_supported(path, "skipped bytes before its voxels")
    for key, plain in (("elementtointensityfunctionslope", 1), ("elementtointensityfunctionoffset", 0)):
        if fields.get(key) and numbers(path, fields[key], 1, key)[0] != plain:
            raise not_supported(path, "rescaled voxels")
    channels = fields.get("elementnumberofchannels", "1")
    if channels != "1":
        raise colour(path, whole_sizes(path, channels)[0])


def _geometry(path: Path, fields: dict[str, str]) -> Geometry:
    told = whole_sizes(path, fields.get("dimsize", ""))
    axes = len(told)
    if fields.get("ndims") != str(axes):
        raise broken(path, f"{axes} sizes of {fields.get('ndims', 'no')[:9]} dimensions")
    sizes = list(told)
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes.pop()
    shape = one_volume(path, sizes, told)
    matrix, origin, spacing = (_first(fields, keys) for keys in (_ORIENTATION, _ORIGIN, _SPACING))
    if matrix is None or origin is None or spacing is None:
        raise no_orientation(path, "TransformMatrix, Offset and ElementSpacing are needed")
    cosines = numbers(path, matrix, axes * axes, "TransformMatrix").reshape(axes, axes).T[:3, :3]
    sides = numbers(path, spacing, axes, "ElementSpacing")[:3]
    if sides.min() <= 0:
        raise broken(path, "a voxel size that is not above 0")
    lps = np.eye(4)
    lps[:3, :3] = cosines * sides
    lps[:3, 3] = numbers(path, origin, axes, "Offset")[:3]
    return geometry_of(path, shape, lps)


def _first(fields: dict[str, str], keys: tuple[str, ...]) -> str | None:
    return next((fields[key] for key in keys if key in fields), None)


def metaimage_header(volume: Volume, stored: int = 0) -> bytes:
    """The header of ``volume`` with ``stored`` bytes of zlib-compressed little-endian voxels behind it.

    Its length does not depend on ``stored``, which is known only after the voxels are written.
    """
    spacing = volume.geometry.spacing_mm
    lps = LPS_TO_RAS @ volume.geometry.affine
    cosines = lps[:3, :3] / spacing + 0.0  # no -0
    lines = (
        "ObjectType = Image",
        "NDims = 3",
        "BinaryData = True",
        "BinaryDataByteOrderMSB = False",
        "CompressedData = True",
        f"CompressedDataSize = {stored:>20}",
        f"TransformMatrix = {_words(cosines.T.ravel())}",
        f"Offset = {_words(lps[:3, 3] + 0.0)}",
        "CenterOfRotation = 0 0 0",
        f"ElementSpacing = {_words(np.array(spacing))}",
        f"DimSize = {' '.join(str(n) for n in volume.array.shape)}",
        f"ElementType = {_TYPE_NAMES[volume.array.dtype.str[1:]]}",
        "ElementDataFile = LOCAL",
    )
    return ("\n".join(lines) + "\n").encode()


def _words(values: np.ndarray) -> str:
    return " ".join(repr(float(value)) for value in values)

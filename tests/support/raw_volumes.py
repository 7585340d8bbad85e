"""NIfTI, NRRD and MetaImage files byte by byte, without any library that medseg reads or writes them with."""

import struct
from typing import Any

import numpy as np

AFFINE = np.array([[-2.0, 0, 0, 20], [0, -1.5, 0, 15], [0, 0, 3.0, -100], [0, 0, 0, 1]])
"""RAS+ millimetres of voxel (i, j, k); exact in 32-bit floats. i runs to the Left, j to Posterior."""

SHAPE = (5, 4, 3)

NIFTI1_FIELDS = {  # name: (byte, format) of https://nifti.nimh.nih.gov/pub/dist/src/niftilib/nifti1.h
    "sizeof_hdr": (0, "i"),
    "dim": (40, "8h"),
    "datatype": (70, "h"),
    "bitpix": (72, "h"),
    "pixdim": (76, "8f"),
    "vox_offset": (108, "f"),
    "scl_slope": (112, "f"),
    "scl_inter": (116, "f"),
    "xyzt_units": (123, "B"),
    "qform_code": (252, "h"),
    "sform_code": (254, "h"),
    "quatern": (256, "3f"),
    "qoffset": (268, "3f"),
    "srow": (280, "12f"),
    "magic": (344, "4s"),
}
DATATYPES = {"u1": 2, "i2": 4, "i4": 8, "f4": 16, "c8": 32, "f8": 64, "V3": 128, "u2": 512, "u8": 1280}


def values(dtype: str = "i2") -> np.ndarray:
    """Numbers without a pattern: whatever is lost, shifted or exchanged shows."""
    return np.random.default_rng(11).integers(-999, 999, SHAPE).astype(dtype)


def nifti(array: np.ndarray | None = None, order: str = "<", **fields: Any) -> bytes:
    """A .nii file: ``array`` at ``AFFINE`` by sform and qform, except what ``fields`` say."""
    array = values() if array is None else array
    dims = [array.ndim, *array.shape, *[1] * (7 - array.ndim)]
    header = {
        "sizeof_hdr": 348,
        "dim": dims,
        "datatype": DATATYPES[array.dtype.str[1:]],
        "bitpix": array.dtype.itemsize * 8,
        "pixdim": [1.0, 2.0, 1.5, 3.0, 0.0, 0.0, 0.0, 0.0],
        "vox_offset": 352.0,
        "scl_slope": 1.0,
        "scl_inter": 0.0,
        "xyzt_units": 2,
        "qform_code": 1,
        "sform_code": 1,
        "quatern": [0.0, 0.0, 1.0],  # half a turn about z: i to the Left, j to Posterior
        "qoffset": AFFINE[:3, 3],
        "srow": AFFINE[:3],
        "magic": b"n+1\0",
        **fields,
    }
    block = bytearray(352)
    for name, value in header.items():
        byte, form = NIFTI1_FIELDS[name]
        many = list(np.ravel(value)) if form[0].isdigit() and form[-1] != "s" else [value]
        struct.pack_into(order + form, block, byte, *many)
    return bytes(block) + array.astype(array.dtype.newbyteorder(order), copy=False).tobytes(order="F")


def _lps(affine: np.ndarray) -> np.ndarray:
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def _vector(column: np.ndarray) -> str:
    return f"({','.join(repr(float(x)) for x in column)})"


def nrrd(
    array: np.ndarray | None = None, affine: np.ndarray = AFFINE, data: bytes | None = None, **fields: str
) -> bytes:
    """A .nrrd file; ``data`` are the stored bytes where they are compressed. ``None`` drops a field."""
    array = values() if array is None else array
    lps = _lps(affine)
    header = {
        "type": {"i2": "short", "u1": "uchar", "i4": "int", "f4": "float"}[array.dtype.str[1:]],
        "dimension": str(array.ndim),
        "space": "left-posterior-superior",
        "sizes": " ".join(str(n) for n in array.shape),
        "space directions": " ".join(_vector(lps[:3, column]) for column in range(3)),
        "endian": "big" if array.dtype.str[0] == ">" else "little",
        "encoding": "raw" if data is None else "gzip",
        "space origin": _vector(lps[:3, 3]),
        **{name.replace("_", " "): value for name, value in fields.items()},
    }
    lines = ["NRRD0004", *(f"{name}: {value}" for name, value in header.items() if value is not None)]
    return ("\n".join(lines) + "\n\n").encode() + (array.tobytes(order="F") if data is None else data)


def metaimage(
    array: np.ndarray | None = None, affine: np.ndarray = AFFINE, data: bytes | None = None, **fields: str
) -> bytes:
    """A .mha file; ``data`` as in ``nrrd``."""
    array = values() if array is None else array
    lps = _lps(affine)
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    header = {
        "ObjectType": "Image",
        "NDims": str(array.ndim),
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False" if data is None else "True",
        "TransformMatrix": " ".join(repr(float(x)) for x in (lps[:3, :3] / spacing).T.ravel()),
        "Offset": " ".join(repr(float(x)) for x in lps[:3, 3]),
        "ElementSpacing": " ".join(repr(float(x)) for x in spacing),
        "DimSize": " ".join(str(n) for n in array.shape),
        "ElementType": {"i2": "MET_SHORT", "u1": "MET_UCHAR", "f4": "MET_FLOAT"}[array.dtype.str[1:]],
        **fields,
        "ElementDataFile": "LOCAL",
    }
    lines = [f"{name} = {value}" for name, value in header.items() if value is not None]
    return ("\n".join(lines) + "\n").encode() + (array.tobytes(order="F") if data is None else data)

"""72 files that break readers, each with its verdict, written down before any reader saw it.

The verdict is a code to refuse with, or the truth: the affine and the values that a right reading gives,
taken from the numbers that the file was made of.
"""

import gzip
import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from medseg.errors import Code
from support.raw_volumes import AFFINE, SHAPE, metaimage, nifti, nrrd, values

VALUES = values()


@dataclass(frozen=True)
class Truth:
    """What the file holds: values (I, J, K) at ``affine``."""

    array: np.ndarray = field(default_factory=values)
    affine: np.ndarray = field(default_factory=lambda: AFFINE)


@dataclass(frozen=True)
class Hostile:
    """A file of ``name`` and ``content``, read as a scan or as a ``label``, and what must come of it."""

    what: str
    name: str
    content: bytes
    verdict: Code | Truth
    label: bool = False


def _gz(content: bytes, level: int = 6) -> bytes:
    return gzip.compress(content, level, mtime=0)


def _flipped(content: bytes, byte: int) -> bytes:
    changed = bytearray(content)
    changed[byte] ^= 4
    return bytes(changed)


def _offset(x: float) -> np.ndarray:
    return AFFINE[:3, 3] + (x, 0, 0)


def _affine(columns: Any, origin: Any = (20, 15, -100)) -> np.ndarray:
    made = np.eye(4)
    made[:3, :3], made[:3, 3] = columns, origin
    return made


def _put(array: np.ndarray, **at: float) -> np.ndarray:
    """``array`` with values at ``i_j_k``."""
    for place, value in at.items():
        array[tuple(int(n) for n in place.strip("v").split("_"))] = value
    return array


STORED = _gz(nifti(), 0)  # blocks stored as they are: a flipped voxel bit inflates without complaint

DAMAGED = [
    Hostile("cut in the middle", "a.nii", nifti()[:400], Code.TRUNCATED),
    Hostile("compressed, cut in the middle", "a.nii.gz", _gz(nifti())[:200], Code.TRUNCATED),
    Hostile("a bare header", "a.nii", nifti()[:352], Code.TRUNCATED),
    Hostile("without the checksum at the end", "a.nii.gz", _gz(nifti())[:-8], Code.TRUNCATED),
    Hostile("one bit of a voxel flipped", "a.nii.gz", _flipped(STORED, -20), Code.DAMAGED),
    Hostile("wrong checksum", "a.nii.gz", _flipped(_gz(nifti()), -6), Code.DAMAGED),
    Hostile("wrong length at the end", "a.nii.gz", _flipped(_gz(nifti()), -2), Code.DAMAGED),
    Hostile("surplus bytes", "a.nii", nifti() + b"more", Code.SURPLUS_BYTES),
    Hostile("empty", "a.nii.gz", b"", Code.EMPTY_FILE),
    Hostile("text", "a.nii.gz", b"404 page not found\n" * 40, Code.NOT_A_VOLUME),
    Hostile("compressed twice", "a.nii.gz", _gz(_gz(nifti())), Code.NOT_A_VOLUME),
    Hostile("NRRD, compressed, cut", "a.nrrd", nrrd(data=_gz(VALUES.tobytes("F"))[:60]), Code.TRUNCATED),
    Hostile("NRRD, raw, cut by one byte", "a.nrrd", nrrd()[:-1], Code.TRUNCATED),
    Hostile("MetaImage, one bit of a voxel flipped", "a.mha",
            metaimage(data=_flipped(zlib.compress(VALUES.tobytes("F"), 0), -20)), Code.DAMAGED),
]  # fmt: skip

DIMENSIONS = [
    Hostile("two volumes in time", "a.nii.gz", _gz(nifti(np.stack([VALUES] * 2, 3))), Code.NOT_3D),
    Hostile("one volume in time", "a.nii", nifti(VALUES[..., None]), Truth()),
    Hostile("a field of vectors", "a.nii.gz", _gz(nifti(np.stack([VALUES] * 3, 3)[..., None, :])),
            Code.NOT_3D),
    Hostile("RGB", "a.nii", nifti(np.zeros(SHAPE, dtype="V3")), Code.COLOUR),
    Hostile("complex", "a.nii", nifti(VALUES.astype(np.complex64)), Code.COMPLEX),
    Hostile("two axes", "a.nii", nifti(VALUES[:, :, 0]), Code.NOT_3D),
    Hostile("terabytes declared", "a.nii", nifti(dim=[3, 32767, 32767, 32767, 1, 1, 1, 1]), Code.TRUNCATED),
    Hostile("terabytes declared, compressed", "a.nii.gz",
            _gz(nifti(dim=[3, 32767, 32767, 32767, 1, 1, 1, 1])), Code.TRUNCATED),
    Hostile("an axis of 0", "a.nii", nifti(dim=[3, 5, 0, 3, 1, 1, 1, 1]), Code.HEADER),
    Hostile("an axis of -4", "a.nii", nifti(dim=[3, 5, -4, 3, 1, 1, 1, 1]), Code.HEADER),
    Hostile("NRRD of vectors", "a.nrrd",
            nrrd(np.stack([VALUES] * 3), space_directions="none (2,0,0) (0,1.5,0) (0,0,3)"), Code.COLOUR),
    Hostile("MetaImage in time", "a.mha",
            metaimage(np.stack([VALUES] * 2, 3), Offset="0 0 0 0", ElementSpacing="2 1.5 3 1",
                      TransformMatrix="1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1"), Code.NOT_3D),
]  # fmt: skip

SHEARED = _affine([[-2, 0, 0], [0, -1.5, 1.0], [0, 0, 3]])
MIRRORED = _affine([[2, 0, 0], [0, -1.5, 0], [0, 0, 3]])
FLAT = _affine([[-2, -2, 0], [0, 0, 0], [0, 0, 3]])
NAN = _affine([[np.nan, 0, 0], [0, -1.5, 0], [0, 0, 3]])
FAR = _affine([[-2, 0, 0], [0, -1.5, 0], [0, 0, 3]], (100000.25, -99999.5, 123456.75))
HALF_TURN = _affine([[0, 1.5, 0], [2, 0, 0], [0, 0, -3]])  # about the axis (1, 1, 0)
ROOT = 0.5**0.5

AFFINES = [
    Hostile("qform 0.01 mm off", "a.nii", nifti(qoffset=_offset(0.01)), Truth()),
    Hostile("qform 0.1 mm off", "a.nii", nifti(qoffset=_offset(0.1)), Truth()),
    Hostile("qform 1 mm off", "a.nii", nifti(qoffset=_offset(1)), Code.FORMS_DISAGREE),
    Hostile("qform 50 mm off", "a.nii", nifti(qoffset=_offset(50)), Code.FORMS_DISAGREE),
    Hostile("sform left for right", "a.nii", nifti(srow=MIRRORED[:3]), Code.FORMS_DISAGREE),
    Hostile("both codes 0", "a.nii", nifti(sform_code=0, qform_code=0), Code.NO_ORIENTATION),
    Hostile("sheared", "a.nii",
            nifti(srow=SHEARED[:3], qform_code=0, pixdim=[1, 2, 1.5, 10**0.5, 0, 0, 0, 0]),
            Truth(affine=SHEARED)),
    Hostile("NaN in the sform", "a.nii", nifti(srow=NAN[:3]), Code.AFFINE),
    Hostile("NRRD with two axes the same way", "a.nrrd", nrrd(affine=FLAT), Code.AFFINE),
    Hostile("pixdim of another slice distance", "a.nii",
            nifti(qform_code=0, pixdim=[1, 2, 1.5, 5, 0, 0, 0, 0]), Code.FORMS_DISAGREE),
    Hostile("pixdim 0 beside a lone sform", "a.nii", nifti(qform_code=0, pixdim=[0] * 8), Truth()),
    Hostile("qfac -1", "a.nii", nifti(sform_code=0, pixdim=[-1, 2, 1.5, 3, 0, 0, 0, 0]),
            Truth(affine=_affine([[-2, 0, 0], [0, -1.5, 0], [0, 0, -3]]))),
    Hostile("MetaImage far away", "a.mha", metaimage(affine=FAR), Truth(affine=FAR)),
    Hostile("half a turn about an oblique axis", "a.nii", nifti(sform_code=0, quatern=[ROOT, ROOT, 0]),
            Truth(affine=HALF_TURN)),
]  # fmt: skip

TENTH = float(np.float32(0.1))

SLOPES = [
    Hostile("slope 0", "a.nii", nifti(scl_slope=0, scl_inter=7), Truth()),
    Hostile("slope NaN", "a.nii", nifti(scl_slope=np.nan), Code.SLOPE),
    Hostile("slope infinite", "a.nii.gz", _gz(nifti(scl_slope=np.inf)), Code.SLOPE),
    Hostile("intercept NaN", "a.nii", nifti(scl_inter=np.nan), Code.SLOPE),
    Hostile("slope 2, intercept -1024", "a.nii.gz", _gz(nifti(scl_slope=2, scl_inter=-1024)),
            Truth(VALUES.astype(int) * 2 - 1024)),
    Hostile("slope -1", "a.nii", nifti(scl_slope=-1), Truth(-VALUES)),
    Hostile("slope 0.1, intercept -3", "a.nii", nifti(scl_slope=0.1, scl_inter=-3),
            Truth((VALUES * TENTH - 3).astype(np.float32))),
    Hostile("MetaImage with an intercept", "a.mha", metaimage(ElementToIntensityFunctionOffset="-1024"),
            Code.UNSUPPORTED),
]  # fmt: skip

EXTREMES = _put(values(), v0_0_0=-32768, v4_3_2=32767)
EXTREMES_32 = _put(values(">i4"), v0_0_0=-(2**31), v4_3_2=2**31 - 1)

NUMBERS = [
    Hostile("NaN", "a.nii.gz", _gz(nifti(_put(values("f4"), v1_2_1=np.nan))), Code.NONFINITE),
    Hostile("infinite", "a.nii", nifti(_put(values("f4"), v1_2_1=np.inf)), Code.NONFINITE),
    Hostile("MetaImage, minus infinite", "a.mha", metaimage(_put(values("f4"), v1_2_1=-np.inf)),
            Code.NONFINITE),
    Hostile("beyond 32-bit floats", "a.nii", nifti(_put(values("f8"), v1_2_1=1e300)), Code.NONFINITE),
    Hostile("constant", "a.nii", nifti(np.full(SHAPE, -1000, "i2")), Truth(np.full(SHAPE, -1000))),
    Hostile("all zero", "a.nii.gz", _gz(nifti(np.zeros(SHAPE, "i2"))), Truth(np.zeros(SHAPE))),
    Hostile("both ends of int16, big-endian", "a.nii", nifti(EXTREMES, ">"), Truth(EXTREMES)),
    Hostile("NRRD, both ends of int32, big-endian", "a.nrrd", nrrd(EXTREMES_32), Truth(EXTREMES_32)),
]  # fmt: skip

MASK = (values() % 26).astype("u1")
SCALED = np.rint(MASK * (255 / 25)).astype("u1")  # what nibabel makes of floats 0 to 25 under a uint8 header

LABELS = [
    Hostile("whole floats", "a.nii.gz", _gz(nifti(MASK.astype("f4"))), Truth(MASK), label=True),
    Hostile("halves", "a.nii", nifti(MASK.astype("f4") / 2), Code.NOT_LABELS, label=True),
    Hostile("negative", "a.nii", nifti(MASK.astype("i2") - 1), Truth(MASK.astype(int) - 1), label=True),
    Hostile("0.999", "a.nii", nifti(MASK.astype("f4") * np.float32(0.999)), Code.NOT_LABELS, label=True),
    Hostile("nothing drawn", "a.nrrd", nrrd(np.zeros(SHAPE, "u1")), Truth(np.zeros(SHAPE)), label=True),
    Hostile("large numbers", "a.nii", nifti(MASK.astype("i4") * 70000), Truth(MASK.astype(int) * 70000),
            label=True),
    Hostile("floats squeezed into uint8", "a.nii", nifti(SCALED, scl_slope=25 / 255), Code.NOT_LABELS,
            label=True),
    Hostile("floats of a billion", "a.nii", nifti(MASK.astype("f4") * 1e9), Code.NOT_LABELS, label=True),
]  # fmt: skip


@dataclass(frozen=True)
class Mismatch:
    """Files of one patient (channels, or a scan and its reference), and what must come of loading them."""

    what: str
    images: tuple[tuple[str, bytes], ...]
    label: tuple[str, bytes] | None
    verdict: Code | None


def _sform(affine: np.ndarray, array: np.ndarray = VALUES) -> bytes:
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    return nifti(array, qform_code=0, srow=affine[:3], pixdim=[1, *sizes, 0, 0, 0, 0])


SCAN = ("t2.nii", nifti())
SHIFTED, NUDGED = (_affine(AFFINE[:3, :3], (x, 15, -100)) for x in (25, 20.01))
THICK = _affine([[-2, 0, 0], [0, -1.5, 0], [0, 0, 5]])
TURNED = AFFINE[:, [1, 0, 2, 3]]

MISMATCHES = [
    Mismatch("channels of two shapes", (SCAN, ("adc.nii", nifti(VALUES[:4]))), None, Code.GRID_MISMATCH),
    Mismatch("channels 5 mm apart", (SCAN, ("adc.nii", _sform(SHIFTED))),
             None, Code.GRID_MISMATCH),
    Mismatch("channels 0.01 mm apart", (SCAN, ("adc.nii", _sform(NUDGED))),
             None, None),
    Mismatch("axes exchanged in one channel",
             (SCAN, ("adc.nii", _sform(TURNED, VALUES.transpose(1, 0, 2)))), None, Code.GRID_MISMATCH),
    Mismatch("a channel in time", (SCAN, ("dwi.nii", nifti(np.stack([VALUES] * 2, 3)))), None, Code.NOT_3D),
    Mismatch("reference left for right", (SCAN,), ("label.nii", _sform(MIRRORED, MASK)), Code.GRID_MISMATCH),
    Mismatch("reference of thicker slices", (SCAN,), ("label.nrrd", nrrd(MASK, THICK)), Code.GRID_MISMATCH),
    Mismatch("reference on the same grid in another format", (SCAN,), ("label.mha", metaimage(MASK)), None),
]  # fmt: skip

FILES = DAMAGED + DIMENSIONS + AFFINES + SLOPES + NUMBERS + LABELS

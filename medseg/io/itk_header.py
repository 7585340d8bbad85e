"""What the headers of NRRD and MetaImage files have in common: words, numbers, types, places.

Both are decoded here, not by ITK: it takes a number it cannot read for 0, compares no sizes, and refuses
sheared axes. Their world is LPS+ millimetres, ours RAS+.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from medseg.errors import Code, VolumeError
from medseg.volume import Geometry, Shape

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])

_LARGEST = 1e9  # a thousand kilometres
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)


@dataclass(frozen=True)
class Layout:
    """The grid, the voxels' stored ``dtype``, and the file, ``offset`` and ``coding`` of them."""

    geometry: Geometry
    dtype: np.dtype
    file: Path
    offset: int
    coding: int


def broken(path: Path, what: str) -> VolumeError:
    """A header that says what no header may say."""
    return VolumeError(Code.HEADER, f"{path.name}: damaged header, {what}; export the file anew")


def no_orientation(path: Path, missing: str) -> VolumeError:
    return VolumeError(
        Code.NO_ORIENTATION, f"{path.name}: no orientation ({missing}); export it as .nii.gz or with one"
    )


def not_supported(path: Path, what: str) -> VolumeError:
    return VolumeError(Code.UNSUPPORTED, f"{path.name}: {what} are not supported; convert it to .nii.gz")


def numbers(path: Path, text: str, count: int, what: str) -> Float64[np.ndarray, "n"]:
    """``count`` numbers between blanks."""
    words = text.split()
    if len(words) != count or not all(len(word) < 40 and _NUMBER.fullmatch(word) for word in words):
        raise broken(path, f"{what} of {len(words)} words, {count} numbers expected")
    found = np.array([float(word) for word in words], dtype=np.float64)
    if np.abs(found).max() > _LARGEST:
        raise broken(path, f"{what} too large for millimetres")
    return found


def whole_sizes(path: Path, text: str) -> tuple[int, ...]:
    """Numbers of voxels along the axes."""
    words = text.split()
    if not words or not all(word.isdecimal() and len(word) < 11 and 0 < int(word) < 2**31 for word in words):
        raise broken(path, "its sizes are not whole numbers above 0")
    return tuple(int(word) for word in words)


def one_volume(path: Path, sizes: Sequence[int], told: Sequence[int]) -> Shape:
    """``sizes`` when they are three; ``told`` are those of the header."""
    if len(sizes) != 3:
        size = "x".join(str(n) for n in told)
        raise VolumeError(
            Code.NOT_3D,
            f"{path.name}: {len(sizes)}-D ({size}), one 3-D volume expected; extract one volume of it",
        )
    return sizes[0], sizes[1], sizes[2]


def colour(path: Path, values: int) -> VolumeError:
    return VolumeError(
        Code.COLOUR,
        f"{path.name}: a vector or colour image ({values} values a voxel), one expected; give one channel",
    )


def geometry_of(path: Path, shape: Shape, lps: Float64[np.ndarray, "4 4"]) -> Geometry:
    try:
        return Geometry(shape, np.asarray(LPS_TO_RAS @ lps, dtype=np.float64))
    except VolumeError as error:
        raise error.about(path.name) from None


def stored_type(path: Path, types: dict[str, str], name: str, big: bool) -> np.dtype:
    if name not in types:
        raise VolumeError(
            Code.VOXEL_TYPE,
            f"{path.name}: voxels of type {name[:30]!r} cannot be read; export as int16 or float32",
        )
    return np.dtype(f"{'>' if big else '<'}{types[name]}")


def detached(path: Path, name: str) -> Path:
    """The file of the voxels, which lies in the header's folder or below."""
    if not name or name.upper().startswith("LIST") or "%" in name or "\0" in name:
        raise not_supported(path, "voxels spread over several files")
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise not_supported(path, "voxels in another folder than the header's")
    return path.parent / name

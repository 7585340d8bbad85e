"""Voxel values: rescaling, whole numbers, non-finite values, and the smallest integer type."""

import logging
from typing import Literal

import numpy as np
from jaxtyping import Bool, Shaped

from medseg.errors import Code, VolumeError

log = logging.getLogger(__name__)

NonFinite = Literal["refuse", "zero"]
Voxels = Shaped[np.ndarray, "I J K"]

_UNSIGNED = (np.uint8, np.uint16, np.uint32, np.uint64)
_SIGNED = (np.int16, np.int32, np.int64)
_REPRESENTATION_ERROR = (
    1e-4  # a whole number that went through float32 slope and intercept may be this far off
)


def smallest_integer(lowest: int, highest: int) -> np.dtype:
    """The smallest integer type for ``lowest`` to ``highest``; unsigned where nothing is negative."""
    for kind in _SIGNED if lowest < 0 else _UNSIGNED:
        if np.iinfo(kind).min <= lowest and highest <= np.iinfo(kind).max:
            return np.dtype(kind)
    raise VolumeError(
        Code.CANNOT_STORE, f"whole numbers from {lowest} to {highest} fit no integer type; give smaller ones"
    )


def narrowed(array: Voxels) -> Voxels:
    """The same whole numbers in the smallest integer type that holds them."""
    if array.dtype == bool:
        return array.astype(np.uint8)
    return array.astype(smallest_integer(int(array.min()), int(array.max())), copy=False)


def narrowed_signed(array: Voxels) -> Voxels:
    """int32 as int16 where the values allow it; all else as it is."""
    small = np.iinfo(np.int16)
    if array.dtype == np.int32 and small.min <= array.min() and array.max() <= small.max:
        return array.astype(np.int16, order="K")
    return array


def rescaled(array: Voxels, slope: float, intercept: float) -> Voxels:
    """``array * slope + intercept``; whole numbers stay integers, all else is float32."""
    if slope == 1 and intercept == 0:
        return array
    if array.dtype.kind in "iu" and slope.is_integer() and intercept.is_integer():
        ends = sorted(int(end) * int(slope) + int(intercept) for end in (array.min(), array.max()))
        lowest, highest = min(ends[0], 0), max(ends[1], 0)  # zero too: a product must fit before the sum does
        if max(-lowest, highest) + abs(int(intercept)) < 2**31:
            kind = np.int16 if max(-lowest, highest) + abs(int(intercept)) < 2**15 else np.int32
            whole: Voxels = np.multiply(array, int(slope), dtype=kind, casting="unsafe")
            whole += whole.dtype.type(intercept)
            return whole
    result = np.empty(array.shape, dtype=np.float32, order="F")
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is found as infinite afterwards
        for k in range(array.shape[2]):  # by slice: float64 inside, without a float64 volume
            result[:, :, k] = array[:, :, k].astype(np.float64) * slope + intercept
    return result


def as_supported(array: Voxels) -> Voxels:
    """Floats of any width become float32; integers stay as they are, bool becomes uint8."""
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):  # what overflows is found as infinite afterwards
            return array.astype(np.float32, copy=False)
    return array.astype(np.uint8) if array.dtype == bool else array


def require_finite(array: Voxels, nonfinite: NonFinite, name: str) -> Voxels:
    """Refuse NaN and infinite voxels, or replace them by zero when that is asked for.

    Raises:
        VolumeError: with their number and the first one's index.
    """
    if array.dtype.kind != "f" or _all_finite(array):
        return array
    bad: Bool[np.ndarray, "I J K"] = ~np.isfinite(array)
    count = int(np.count_nonzero(bad))
    if nonfinite == "zero":
        log.warning("%s: %d of %d voxels are NaN or infinite; replaced by 0", name, count, array.size)
        return np.where(bad, array.dtype.type(0), array)
    first = tuple(int(n) for n in np.argwhere(bad)[0])
    raise VolumeError(
        Code.NONFINITE,
        f"{name}: {count} of {array.size} voxels are NaN or infinite, the first at {first}; "
        "export it anew, or allow nonfinite zero",
    )


def _all_finite(array: Voxels) -> bool:
    with np.errstate(invalid="ignore"):
        return bool(np.isfinite(array.sum(dtype=np.float64)))  # float64 cannot overflow; NaN and inf stay


def whole_numbers(array: Voxels, name: str) -> Voxels:
    """Labels as integers: integers as they are, whole floats in the smallest integer type.

    Raises:
        VolumeError: when some voxels hold fractions.
    """
    if array.dtype.kind in "iu":
        return array
    whole: Voxels = np.rint(array)
    off = np.abs(array - whole) > _REPRESENTATION_ERROR
    if off.any():
        first = tuple(int(n) for n in np.argwhere(off)[0])
        raise VolumeError(
            Code.NOT_LABELS,
            f"{name}: not a label map: {int(np.count_nonzero(off))} voxels hold fractions, "
            f"{float(array[first]):.4g} first at {first}; "
            "give masks of whole numbers (resampled with nearest neighbour)",
        )
    if np.abs(whole).max() >= 2**24:
        raise VolumeError(
            Code.NOT_LABELS,
            f"{name}: not a label map: values up to {float(np.abs(whole).max()):.3g}; give the mask",
        )
    return whole.astype(smallest_integer(int(whole.min()), int(whole.max())))

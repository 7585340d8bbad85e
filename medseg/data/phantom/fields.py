"""Smooth random fields: coarse grids of random numbers, spread over voxels by cubic B-splines.

Plain elementwise sums in a fixed order, no matrix product: the bits do not depend on the number of threads.
"""

import numpy as np
from jaxtyping import Float32, Float64, Int64

from medseg.data.phantom.shapes import Field
from medseg.volume import Shape as GridShape

Taps = tuple[Int64[np.ndarray, "4 n"], Float32[np.ndarray, "4 n"]]

Coarse = Float32[np.ndarray, "a b c"]
Coarse2 = Float32[np.ndarray, "d e f"]
Ramp = tuple[float, float, float, float]


def _taps(n: int, step: float) -> Taps:
    """Rows of the coarse axis and B-spline weights for ``n`` voxels, ``step`` voxels a coarse cell."""
    at = np.arange(n) / step
    cell = np.floor(at).astype(np.int64)
    t = at - cell
    weights = [
        (1 - t) ** 3 / 6,
        (3 * t**3 - 6 * t**2 + 4) / 6,
        (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6,
        t**3 / 6,
    ]
    return np.stack([cell, cell + 1, cell + 2, cell + 3]), np.stack(weights).astype(np.float32)


def _spread(coarse: Coarse, axis: int, taps: Taps) -> Coarse2:
    rows, weights = taps
    shape = [1, 1, 1]
    shape[axis] = -1
    total = np.take(coarse, rows[0], axis=axis) * weights[0].reshape(shape)
    for row, weight in zip(rows[1:], weights[1:], strict=True):
        part = np.take(coarse, row, axis=axis)
        part *= weight.reshape(shape)
        total += part
    return np.asarray(total, dtype=np.float32)


def _spread_first(coarse: Coarse, taps: Taps, ramp: Ramp) -> Field:
    """``_spread`` along axis 0, one plane at a time: the costly step, kept in the processor's cache."""
    rows, weights = taps
    _, j, k = shape = (rows.shape[1], *coarse.shape[1:])
    base = ramp[1] * np.arange(j)[:, None] + (ramp[2] * np.arange(k) + ramp[3])
    base = base.astype(np.float32)
    full, part = np.empty(shape, dtype=np.float32), np.empty((j, k), dtype=np.float32)
    for i in range(len(full)):
        plane = full[i]
        np.add(base, np.float32(ramp[0] * i), out=plane)
        for tap in range(4):
            np.multiply(coarse[rows[tap, i]], weights[tap, i], out=part)
            plane += part
    return full


def _variance(n: int, step: float) -> float:
    """Mean of the summed squared weights: what the B-spline leaves of unit variance along one axis."""
    weights = _taps(n, step)[1].astype(np.float64)
    return float((weights**2).sum(axis=0).mean())


def smooth_noise(
    rng: np.random.Generator,
    shape: GridShape,
    step_voxels: Float64[np.ndarray, "3"],
    sd: float = 1.0,
    ramp: Ramp = (0.0, 0.0, 0.0, 0.0),
) -> Field:
    """Smooth noise on ``shape``, around 0 or around a linear ramp.

    Args:
        step_voxels: size of the cells of the coarse grid, at least 1.
        sd: standard deviation.
        ramp: (a, b, c, d) adds ``a*i + b*j + c*k + d``.
    """
    steps = [max(float(s), 1.0) for s in step_voxels]
    i, j, k = (int(np.ceil(n / s)) + 4 for n, s in zip(shape, steps, strict=True))
    field = rng.standard_normal((i, j, k), dtype=np.float32)
    variance = 1.0
    for axis in range(3):
        variance *= _variance(shape[axis], steps[axis])
    field *= np.float32(sd * variance**-0.5)
    for axis in (2, 1):
        field = _spread(field, axis, _taps(shape[axis], steps[axis]))
    return _spread_first(field, _taps(shape[0], steps[0]), ramp)

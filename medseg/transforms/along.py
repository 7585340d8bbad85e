"""Linear maps along one axis of a volume: resampling, blurring and thick slices are each a small matrix.

A map from ``n`` to ``m`` voxels is a matrix (m, n) whose rows sum to one. Applying it is one matrix product,
so that a 512 x 512 x 100 scan is resampled in well under a second on one core.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float32, Float64
from torch import Tensor

ROWS = 64
"""Rows of a matrix applied at once: away from its diagonal band a resampling matrix is zero."""


def along_axis(
    image: Float32[Tensor, "*lead n rest"], matrix: Float32[Tensor, "m n"]
) -> Float32[Tensor, "*lead m rest"]:
    """``matrix`` applied along the last axis but one, row block by row block where it is not zero."""
    *lead, _, rest = image.shape
    result = image.new_empty((*lead, len(matrix), rest))
    for start in range(0, len(matrix), ROWS):
        rows = slice(start, start + ROWS)
        used = torch.nonzero(matrix[rows].any(dim=0))[:, 0]
        columns = slice(int(used[0]), int(used[-1]) + 1)
        torch.matmul(matrix[rows, columns], image[..., columns, :], out=result[..., rows, :])
    return result


def along_each(
    image: Float32[Tensor, "C I J K"], matrices: Sequence[Float64[np.ndarray, "_ _"] | None]
) -> Float32[Tensor, "C i j k"]:
    """One matrix for each axis (None leaves it as it is), the one that shrinks most first."""
    for axis in sorted(range(3), key=lambda a: _growth(matrices[a])):
        matrix = matrices[axis]
        if matrix is None or (
            matrix.shape[0] == matrix.shape[1] and np.array_equal(matrix, np.eye(len(matrix)))
        ):
            continue
        channels, *shape = image.shape
        weights = torch.from_numpy(matrix.astype(np.float32))
        if axis == 2:  # a column of its own: the product is taken from the right
            image = along_axis(image.reshape(-1, shape[2]).T, weights).T.reshape(
                channels, *shape[:2], len(matrix)
            )
            continue
        lead, rest = [channels, *shape[:axis]], shape[axis + 1 :]
        flat = image.reshape(*lead, shape[axis], math.prod(rest))
        image = along_axis(flat, weights).reshape(*lead, len(matrix), *rest)
    return image


def product_along(
    image: Float32[Tensor, "C I J K"], matrix: Float64[np.ndarray, "n m"], axis: int
) -> Float32[Tensor, "C i j k"]:
    """``matrix`` along one axis of a patch, in one product and without copies."""
    weights = torch.from_numpy(matrix.astype(np.float32))
    channels, *shape = image.shape
    if axis == 2:
        return image @ weights.T
    if axis == 1:
        return torch.matmul(weights, image)
    product = torch.matmul(weights, image.reshape(channels, shape[0], -1))
    return product.reshape(channels, len(matrix), *shape[1:])


def _growth(matrix: Float64[np.ndarray, "m n"] | None) -> float:
    return 1.0 if matrix is None else matrix.shape[0] / matrix.shape[1]


def resampling_matrix(
    old: int, new: int, step: float, start: float, *, averaged: bool = True
) -> Float64[np.ndarray, "new old"]:
    """From ``old`` voxels to ``new`` ones whose centres lie at ``start + step * index`` (old voxel indices).

    Linear interpolation; when the new voxels are larger, the interpolant is averaged over a box of width
    sqrt(step² - 1), so that the variance of a voxel's box goes from the old one's to the new one's (point
    spread function matching, Cardoso 2015) and noise is not aliased. Linear ramps are kept exactly; beyond
    the ends the outermost voxel goes on. Not ``averaged``: the interpolant at the centres alone.
    """
    centres = start + step * np.arange(new)
    width = math.sqrt(max(step * step - 1, 0.0)) if averaged else 0.0
    first = np.floor(centres - width / 2).astype(np.int64)
    taps = math.ceil(width) + 2
    matrix = np.zeros((new, old))
    for tap in range(taps):
        index = first + tap
        away = centres - index
        if width > 1e-6:
            weight = (_hat_integral(away + width / 2) - _hat_integral(away - width / 2)) / width
        else:
            weight = np.maximum(0, 1 - np.abs(away))
        np.add.at(matrix, (np.arange(new), np.clip(index, 0, old - 1)), weight)
    matrix /= matrix.sum(axis=1, keepdims=True)
    return matrix


def _hat_integral(x: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """The integral of max(0, 1 - |u|) from -inf to ``x``."""
    x = np.clip(x, -1, 1)
    return np.where(x < 0, (1 + x) ** 2 / 2, 1 - (1 - x) ** 2 / 2)


def planes_matrix(factors: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, "n n"]:
    """What multiplying planes of k-space along an axis does to the real image.

    ``factors`` run from the lowest frequency to the highest. Fourier transform, product, and the real part of
    the transform back are one circulant matrix.
    """
    column = np.fft.ifft(np.fft.ifftshift(factors)).real
    index = np.arange(len(factors))
    return np.asarray(column[(index[:, None] - index) % len(factors)], dtype=np.float64)


def gaussian_matrix(size: int, std: float) -> Float64[np.ndarray, "n n"]:
    """Gaussian blur over ``size`` voxels with standard deviation ``std`` (voxels); the ends go on."""
    if std < 1e-3:
        return np.eye(size)
    radius = math.ceil(4 * std)
    taps = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (taps / std) ** 2)
    weights /= weights.sum()
    matrix = np.zeros((size, size))
    rows = np.arange(size)
    for tap, weight in zip(taps, weights, strict=True):
        np.add.at(matrix, (rows, np.clip(rows + tap, 0, size - 1)), weight)
    return matrix

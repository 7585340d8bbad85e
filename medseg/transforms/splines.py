"""Resampling by cubic splines, nearest across thick slices: as nnU-Net resamples (Isensee 2021).

The new grid covers the same extent in a whole number of voxels, so that its spacing is the wanted one but for
the rounding; voxels are not averaged when they grow.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64
from scipy import ndimage
from torch import Tensor

from medseg.transforms.along import along_each
from medseg.transforms.grid import Spacing

THICK = 3.0
"""Where the largest spacing is more times the smallest, slices are too far apart to interpolate between."""

_NEGLIGIBLE = 1e-6
"""Weights below are left out: a spline's reach has no end, but falls to a quarter with every voxel."""


def thick_axis(old_mm: Spacing, new_mm: Spacing) -> int | None:
    """The axis of thick slices, of the old grid or else of the new one, across which nothing is interpolated.

    None where no spacing is ``THICK`` times another, or where two axes are alike in that.
    """
    for spacing in (old_mm, new_mm):
        largest = max(spacing)
        if largest / min(spacing) > THICK:
            axes = [axis for axis in range(3) if np.isclose(spacing[axis], largest, rtol=1e-6, atol=0)]
            return axes[0] if len(axes) == 1 else None
    return None


def spline_resample(
    image: Float32[Tensor, "C I J K"], shape: Sequence[int], thick: int | None
) -> Float32[Tensor, "C i j k"]:
    """``image`` in ``shape`` voxels over the same extent.

    Splines overshoot: values are kept within those of the channel, or of each slice where slices are thick.
    """
    sizes = image.shape[1:]
    matrices = [
        None if axis == thick or old == new else spline_matrix(old, new)
        for axis, (old, new) in enumerate(zip(sizes, shape, strict=True))
    ]
    inside = [axis + 1 for axis in range(3) if axis != thick]
    if any(matrix is not None for matrix in matrices):
        low, high = image.amin(inside, keepdim=True), image.amax(inside, keepdim=True)
        image = along_each(image, matrices).clamp_(low, high)
    if thick is not None and sizes[thick] != shape[thick]:
        image = image.index_select(thick + 1, torch.from_numpy(nearest(sizes[thick], shape[thick])))
    return image


@lru_cache(maxsize=16)
def spline_matrix(old: int, new: int) -> Float64[np.ndarray, "new old"]:
    """Cubic B-spline interpolation from ``old`` voxels to ``new`` ones over the same extent; the ends go on.

    What ``scipy.ndimage.zoom`` (order 3, ``nearest``, ``grid_mode``) makes of unit vectors.
    """
    matrix = np.asarray(ndimage.zoom(np.eye(old), (new / old, 1), order=3, mode="nearest", grid_mode=True))
    matrix[np.abs(matrix) < _NEGLIGIBLE] = 0
    matrix /= matrix.sum(axis=1, keepdims=True)
    return matrix


def nearest(old: int, new: int) -> Int64[np.ndarray, " new"]:
    """Of each of ``new`` voxels over the same extent, the nearest of the ``old`` ones."""
    centres = (np.arange(new) + 0.5) * (old / new) - 0.5
    index: Int64[np.ndarray, " new"] = np.floor(centres + 0.5).astype(np.int64).clip(0, old - 1)
    return index

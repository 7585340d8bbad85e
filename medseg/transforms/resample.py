"""Resampling along the scan's own axes; labels by majority, without invented values."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import torch
from jaxtyping import Float32, Float64, UInt8
from scipy import ndimage
from torch import Tensor

from medseg.transforms.along import along_each, resampling_matrix
from medseg.transforms.grid import Spacing, divided, keeping, respaced, respaced_from_first
from medseg.transforms.splines import spline_resample, thick_axis
from medseg.volume import Geometry

Matrix = Float64[np.ndarray, "_ _"]
Matrices = tuple[Matrix, Matrix, Matrix]

Box = tuple[slice, slice, slice]

Resampling = Literal["linear", "cubic", "points"]


@dataclass(frozen=True)
class Respace:
    """Images and labels onto ``spacing_mm`` along their own axes, about the same centre; ``keep`` names axes
    (0 to 2) that stay as they are.

    Unlike ``tio.Resample`` the new axes stay parallel to the old ones also when those are sheared, the extent
    is kept to half a voxel, and images are averaged when voxels grow. ``cubic``: images by splines, onto
    voxels that divide the extent (:mod:`medseg.transforms.splines`). ``points``: from the first voxel on, and
    not averaged.
    """

    spacing_mm: Spacing
    keep: Sequence[int] = ()
    resampling: Resampling = "linear"

    def geometry(self, old: Geometry) -> Geometry:
        """The new grid."""
        wanted_mm = keeping(old.spacing_mm, self.spacing_mm, self.keep)
        if self.resampling == "points":
            return respaced_from_first(old, wanted_mm)
        new = respaced(old, wanted_mm)
        return divided(old, new.shape) if self.resampling == "cubic" else new

    def matrices(self, old: Geometry) -> "Matrices":
        """One an axis, from ``old`` to the new grid."""
        return resampling_matrices(old, self.geometry(old), points=self.resampling == "points")

    def image(self, image: Float32[Tensor, "C I J K"], old: Geometry) -> Float32[Tensor, "C i j k"]:
        if self.resampling != "cubic":
            return along_each(image, self.matrices(old))
        wanted_mm = keeping(old.spacing_mm, self.spacing_mm, self.keep)
        return spline_resample(image, self.geometry(old).shape, thick_axis(old.spacing_mm, wanted_mm))

    def label(self, label: UInt8[Tensor, "I J K"], old: Geometry) -> UInt8[Tensor, "i j k"]:
        return resample_label(label, self.matrices(old))


def resampling_matrices(old: Geometry, new: Geometry, *, points: bool = False) -> Matrices:
    """One matrix an axis from ``old`` to ``new``, where ``new`` is ``old`` respaced about its centre, or
    (``points``) from its first voxel on."""
    steps = np.array(new.spacing_mm) / np.array(old.spacing_mm)
    starts = [
        0.0 if points else (n - 1) / 2 - (m - 1) / 2 * step
        for n, m, step in zip(old.shape, new.shape, steps, strict=True)
    ]
    i, j, k = (
        resampling_matrix(n, m, float(step), float(start), averaged=not points)
        for n, m, step, start in zip(old.shape, new.shape, steps, starts, strict=True)
    )
    return i, j, k


def resample_label(label: UInt8[Tensor, "I J K"], matrices: Matrices) -> UInt8[Tensor, "i j k"]:
    """Each voxel takes the class with the largest share of it; a structure wins a draw with the background.

    Shares are what :func:`along_each` makes of each class's own mask, computed in the box around it.
    """
    shape = tuple(len(matrix) for matrix in matrices)
    if all(np.array_equal(matrix, np.eye(*matrix.shape)) for matrix in matrices):
        return label
    result = torch.zeros(shape, dtype=torch.uint8)
    best, total = torch.zeros(shape), torch.zeros(shape)
    boxes = cast(list[Box | None], ndimage.find_objects(label.numpy()))
    for index, box in enumerate(boxes, start=1):
        if box is None:
            continue
        new, parts = _reached(box, matrices)
        share = along_each((label[box] == index).float()[None], parts)[0]
        total[new] += share
        wins = share > best[new]
        best[new] = torch.where(wins, share, best[new])
        result[new] = torch.where(wins, index, result[new])
    result[1 - total > best + 1e-5] = 0
    return result


def _reached(box: Box, matrices: Matrices) -> tuple[Box, Matrices]:
    """The new voxels that the old ones in ``box`` reach, and the parts of ``matrices`` between the two."""
    targets, parts = [], []
    for source, matrix in zip(box, matrices, strict=True):
        reached = np.flatnonzero(matrix[:, source].any(axis=1))
        target = slice(int(reached[0]), int(reached[-1]) + 1) if reached.size else slice(0, 0)
        targets.append(target)
        parts.append(matrix[target, source])
    return (targets[0], targets[1], targets[2]), (parts[0], parts[1], parts[2])

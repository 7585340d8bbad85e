"""Grids: the one a network sees, and where each of its axes lies on the scan's own grid.

Network axes are the scan's axes permuted, flipped and rescaled, never turned: what a network says can be
brought back to the scan along one axis after the other, also when the scan is oblique or sheared.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from medseg.errors import Code, GridMismatchError
from medseg.volume import Geometry, Shape

Spacing = tuple[float, float, float]


class AxisMap(NamedTuple):
    """One native axis: ``index on network_axis = scale * native index + offset`` (voxel centres)."""

    network_axis: int
    scale: float
    offset: float


def axis_maps(
    native: Geometry, network: Geometry, tolerance_voxels: float = 1e-3
) -> tuple[AxisMap, AxisMap, AxisMap]:
    """Where each axis of ``native`` lies on ``network``, in native order (i, j, k).

    Raises:
        GridMismatchError: when the axes of the grids are not parallel: over the whole scan, an axis strays
            more than ``tolerance_voxels`` network voxels to the side.
    """
    matrix = np.linalg.inv(network.affine) @ native.affine
    linear, offset = matrix[:3, :3], matrix[:3, 3]
    chosen = [int(np.argmax(np.abs(linear[:, axis]))) for axis in range(3)]
    aside = np.abs(linear)
    aside[chosen, range(3)] = 0
    strays = float((aside * (np.array(native.shape) - 1)).max())
    if len(set(chosen)) < 3 or strays > tolerance_voxels:
        raise GridMismatchError(
            Code.NOT_PARALLEL,
            f"grids {native} and {network} are not parallel (an axis strays {strays:.3g} voxels to the side, "
            f"{tolerance_voxels:g} allowed): resample one onto the other",
        )
    i, j, k = (AxisMap(r, float(linear[r, axis]), float(offset[r])) for axis, r in enumerate(chosen))
    return i, j, k


def canonical_spacing_mm(geometry: Geometry) -> Spacing:
    """Spacing along the axes closest to right, anterior, superior."""
    towards = {"R": 0, "L": 0, "A": 1, "P": 1, "S": 2, "I": 2}
    spacing = [0.0, 0.0, 0.0]
    for code, size in zip(geometry.axis_codes, geometry.spacing_mm, strict=True):
        spacing[towards[code]] = size
    right, anterior, superior = spacing
    return right, anterior, superior


def respaced(geometry: Geometry, spacing_mm: Spacing) -> Geometry:
    """The grid of exactly ``spacing_mm`` along the same axes, with the same centre and (rounded) extent."""
    old = np.array(geometry.shape, dtype=np.float64)
    factor = np.array(spacing_mm) / np.array(geometry.spacing_mm)
    i, j, k = (int(n) for n in np.maximum(1, np.round(old / factor)))
    affine = geometry.affine.copy()
    affine[:3, :3] *= factor
    centre = geometry.to_world((old[None] - 1) / 2)[0]
    affine[:3, 3] = centre - affine[:3, :3] @ ((np.array((i, j, k)) - 1) / 2)
    return Geometry((i, j, k), affine)


def respaced_from_first(geometry: Geometry, spacing_mm: Spacing) -> Geometry:
    """The grid of exactly ``spacing_mm`` along the same axes whose first voxel is the old one's, and whose
    last lies within half a voxel of the old last (MONAI's ``Spacing``)."""
    factor = np.array(spacing_mm) / np.array(geometry.spacing_mm)
    i, j, k = (int(n) for n in np.round((np.array(geometry.shape) - 1) / factor) + 1)
    affine = geometry.affine.copy()
    affine[:3, :3] *= factor
    return Geometry((i, j, k), affine)


def keeping(own_mm: Spacing, wanted_mm: Spacing, keep: Sequence[int]) -> Spacing:
    """``wanted_mm``, but along the axes ``keep`` (0 to 2) the scan's own."""
    i, j, k = (
        own if axis in keep else wanted
        for axis, (own, wanted) in enumerate(zip(own_mm, wanted_mm, strict=True))
    )
    return i, j, k


def divided(geometry: Geometry, shape: Shape) -> Geometry:
    """The same extent in ``shape`` voxels."""
    old = np.array(geometry.spacing_mm)
    right, anterior, superior = (float(s) for s in old * np.array(geometry.shape) / np.array(shape))
    found = respaced(geometry, (right, anterior, superior))
    return Geometry(shape, found.affine)

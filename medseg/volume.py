"""Geometry and Volume: where voxels are, and what they hold. Numpy only, immutable.

World coordinates are RAS+ millimetres (x to the patient's Right, y Anterior, z Superior), voxel axes are
(i, j, k). ``affine`` maps the homogeneous voxel index (i, j, k, 1) of a voxel's *centre* to the world.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
from jaxtyping import Float64, Shaped

from medseg.errors import Code, GridMismatchError, VolumeError

Affine = Float64[np.ndarray, "4 4"]
Shape = tuple[int, int, int]

_SAME_GRID_VOXELS = 0.1
_FAR_MM = 1e9  # no patient is so large; nor NaN, which is not less than anything


@dataclass(frozen=True, eq=False)
class Geometry:
    """A voxel grid in the patient: ``shape`` (I, J, K) and ``affine`` (4x4, voxel to RAS+ mm)."""

    shape: Shape
    affine: Affine

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape)
        if len(shape) != 3 or min(shape) < 1:
            raise VolumeError(
                Code.AFFINE, f"shape {tuple(self.shape)}: three axes of at least one voxel are needed"
            )
        affine = np.array(self.affine, dtype=np.float64)
        if affine.shape != (4, 4) or (affine[3] != (0, 0, 0, 1)).any() or not np.abs(affine).max() < _FAR_MM:
            raise VolumeError(Code.AFFINE, "affine: not a finite 4x4 matrix with last row 0 0 0 1; repair it")
        with np.errstate(all="ignore"):  # an elimination may divide by zero on its way to zero
            volume = abs(np.linalg.det(affine[:3, :3]))
        if not volume >= 1e-9:
            raise VolumeError(
                Code.AFFINE,
                "affine: two axes point the same way or a spacing is zero: there is no grid; repair it",
            )
        affine.setflags(write=False)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "affine", affine)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Geometry):
            return NotImplemented
        return self.shape == other.shape and np.array_equal(self.affine, other.affine)

    def __hash__(self) -> int:
        return hash((self.shape, self.affine.tobytes()))

    @cached_property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxel centres along i, j, k."""
        i, j, k = (float(s) for s in np.linalg.norm(self.affine[:3, :3], axis=0))
        return i, j, k

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000.0

    @cached_property
    def axis_codes(self) -> str:
        """The patient direction each voxel axis runs to, as in ``"LPS"`` (closest axis when oblique)."""
        codes = ""
        for axis, sign in self._closest_axes():
            codes += "LPI"[axis] if sign < 0 else "RAS"[axis]
        return codes

    def _closest_axes(self) -> list[tuple[int, int]]:
        """For each voxel axis: (world axis, sign), every world axis used once."""
        cosines = self.affine[:3, :3] / np.linalg.norm(self.affine[:3, :3], axis=0)
        left = np.abs(cosines)
        chosen: dict[int, tuple[int, int]] = {}
        for _ in range(3):  # the clearest axis first, so that an oblique grid still uses each axis once
            world, voxel = np.unravel_index(int(np.argmax(left)), (3, 3))
            chosen[int(voxel)] = (int(world), 1 if cosines[world, voxel] > 0 else -1)
            left[world, :] = -1
            left[:, voxel] = -1
        return [chosen[v] for v in range(3)]

    def to_world(self, indices: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3"]:
        """World coordinates (mm) of voxel indices (fractions allowed)."""
        return np.asarray(indices @ self.affine[:3, :3].T + self.affine[:3, 3], dtype=np.float64)

    @cached_property
    def corners_mm(self) -> Float64[np.ndarray, "8 3"]:
        """World coordinates of the centres of the eight corner voxels."""
        ends = [(0.0, n - 1.0) for n in self.shape]
        return self.to_world(np.array(list(product(*ends)), dtype=np.float64))

    def displacement_mm(self, other: "Geometry") -> float:
        """The largest distance between the same corner of both grids; infinite when shapes differ."""
        return self.corner_distance_mm(other) if self.shape == other.shape else float("inf")

    def corner_distance_mm(self, other: "Geometry") -> float:
        """The same, also for grids of different shapes: how far apart what they cover is."""
        return float(np.linalg.norm(self.corners_mm - other.corners_mm, axis=1).max())

    def cropped(self, start: Sequence[int], shape: Sequence[int]) -> "Geometry":
        """The grid of ``array[start:start + shape]``; ``start`` may be negative (padding)."""
        affine = self.affine.copy()
        affine[:3, 3] = self.to_world(np.array([start], dtype=np.float64))[0]
        i, j, k = (int(n) for n in shape)
        return Geometry((i, j, k), affine)

    def __str__(self) -> str:
        size = "x".join(str(n) for n in self.shape)
        spacing = "x".join(f"{s:.3g}" for s in self.spacing_mm)
        return f"{size} voxels of {spacing} mm, {self.axis_codes}"


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels with their place: ``array`` (I, J, K), any real dtype, and its ``geometry``."""

    array: Shaped[np.ndarray, "I J K"]
    geometry: Geometry

    def __post_init__(self) -> None:
        if self.array.shape != self.geometry.shape:
            raise VolumeError(
                Code.CALL,
                f"array of shape {self.array.shape} on a grid of shape {self.geometry.shape}; give its own",
            )

    def with_array(self, array: Shaped[np.ndarray, "I J K"]) -> "Volume":
        """Other voxels on the same grid."""
        return Volume(array, self.geometry)

    def astype(self, dtype: Any) -> "Volume":
        return self.with_array(self.array.astype(dtype, copy=False))


def allowed_mm(a: Geometry, b: Geometry) -> float:
    """How far apart two grids may be and still count as one: a tenth of the smallest voxel."""
    return _SAME_GRID_VOXELS * min(*a.spacing_mm, *b.spacing_mm)


def require_same_grid(
    a: Geometry, b: Geometry, subject: str, fix: str = "resample one onto the other, or correct the path"
) -> None:
    """Refuse two grids of different shapes, or further apart than a tenth of the smallest voxel.

    Args:
        subject: what is compared, as in ``"case 017: label and image"``.
        fix: what to do about it.

    Raises:
        GridMismatchError: naming both grids, and the displacement of their corners in millimetres.
    """
    if a.displacement_mm(b) <= allowed_mm(a, b):
        return
    distance = a.corner_distance_mm(b)
    if a.shape != b.shape:
        found = f"are not on the same grid ({a} and {b}, corners up to {distance:.4g} mm apart)"
    else:
        found = f"are {distance:.4g} mm apart ({allowed_mm(a, b):.2g} mm allowed; {a} and {b})"
    raise GridMismatchError(Code.GRID_MISMATCH, f"{subject} {found}: {fix}")

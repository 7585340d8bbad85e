"""A scan in canonical axes (right, anterior, superior), as a view."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Shaped

from medseg.transforms.upright import Turned
from medseg.volume import Geometry


@dataclass(frozen=True, eq=False)
class Canonical:
    """``spacing_mm`` and ``origin_mm`` (of the first voxel's centre) along the view's own axes, so that they
    are comparable between scans that are turned the same way."""

    turned: Turned
    spacing_mm: Float64[np.ndarray, "3"]
    origin_mm: Float64[np.ndarray, "3"]

    @classmethod
    def of(cls, geometry: Geometry) -> "Canonical":
        turned = Turned(geometry, "RAS")
        affine = turned.geometry.affine
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        return cls(turned, spacing, (affine[:3, :3] / spacing).T @ affine[:3, 3])

    def view(self, array: Shaped[np.ndarray, "I J K"]) -> Shaped[np.ndarray, "R A S"]:
        return self.turned.view(array)

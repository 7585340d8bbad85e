"""How far two surfaces are apart: measured once for a pair of masks, then read out as HD95, ASSD and NSD.

A surface is the set of a mask's *boundary voxels*: those with at least one of their six face neighbours
outside the mask (what lies beyond the volume is outside). Each counts once, whatever the spacing. Distances
run between voxel centres in the patient's millimetres, so that anisotropic, oblique and sheared grids are all
right.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy.ndimage import distance_transform_edt
from scipy.spatial import KDTree

from medseg.errors import Code, UsageError
from medseg.volume import Geometry

_DENSE = 1 / 12  # share of boundary voxels in the box above which a distance map is quicker than a tree

Distances = Float64[np.ndarray, " n"]


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """From each boundary voxel of one mask to the nearest boundary voxel of the other, in mm, in no order."""

    from_prediction_mm: Float64[np.ndarray, " p"]
    from_reference_mm: Float64[np.ndarray, " r"]


def find_boundary(
    mask: Bool[np.ndarray, "I J K"], axes: tuple[int, ...] = (0, 1, 2)
) -> Bool[np.ndarray, "I J K"]:
    """The boundary voxels of a mask; neighbours are looked at along ``axes`` (none: every voxel is one)."""
    if not axes:
        return mask.copy()
    inside = mask.copy()
    for axis in axes:
        mask_along, inside_along = np.moveaxis(mask, axis, 0), np.moveaxis(inside, axis, 0)
        inside_along[1:] &= mask_along[:-1]
        inside_along[:-1] &= mask_along[1:]
        inside_along[[0, -1]] = False
    return np.asarray(mask & ~inside)


def measure_surfaces(
    prediction: Bool[np.ndarray, "I J K"], reference: Bool[np.ndarray, "I J K"], geometry: Geometry
) -> SurfaceDistances:
    """Distances between the surfaces of two masks that are not empty.

    Args:
        prediction: a mask, or a box cut from it that holds both structures wholly.
        reference: the same voxels of the reference.
        geometry: the grid that the masks are (or were cut) from. Along an axis of one voxel nothing is a
            surface: a single slice has outlines.

    Raises:
        UsageError: a mask is empty, and has no surface.
    """
    axes = tuple(axis for axis, size in enumerate(geometry.shape) if size > 1)
    of_prediction, of_reference = find_boundary(prediction, axes), find_boundary(reference, axes)
    if not (of_prediction.any() and of_reference.any()):
        raise UsageError(
            Code.CALL, "surface distances: a mask is empty and has no surface; test for that before"
        )
    ways = ((of_prediction, of_reference), (of_reference, of_prediction))
    count = int(np.count_nonzero(of_prediction)) + int(np.count_nonzero(of_reference))
    if count > _DENSE * prediction.size and _has_right_angles(geometry):
        return SurfaceDistances(*(_mapped_mm(source, target, geometry) for source, target in ways))
    return SurfaceDistances(
        *(_nearest_mm(source, target, geometry.affine[:3, :3]) for source, target in ways)
    )


def _has_right_angles(geometry: Geometry) -> bool:
    axes = geometry.affine[:3, :3] / np.array(geometry.spacing_mm)
    return bool(np.abs(axes.T @ axes - np.eye(3)).max() < 1e-6)


def _mapped_mm(
    sources: Bool[np.ndarray, "I J K"], targets: Bool[np.ndarray, "I J K"], geometry: Geometry
) -> Distances:
    """By a distance map of the whole box: its time does not grow with the surface, as noise makes it grow."""
    return np.asarray(
        distance_transform_edt(~targets, sampling=geometry.spacing_mm)[sources], dtype=np.float64
    )


def _nearest_mm(
    sources: Bool[np.ndarray, "I J K"],
    targets: Bool[np.ndarray, "I J K"],
    mm_per_voxel: Float64[np.ndarray, "3 3"],
) -> Distances:
    """By a tree of boundary voxels: an organ has few, and the tree is quicker than a map of the box."""
    distances = np.zeros(int(np.count_nonzero(sources)))
    apart: Int64[np.ndarray, "n 3"] = np.argwhere(sources & ~targets)  # the shared ones are at distance zero
    if len(apart):
        goals = np.argwhere(targets)
        tree = KDTree(goals @ mm_per_voxel.T, balanced_tree=False, compact_nodes=False)
        _, nearest = tree.query(apart @ mm_per_voxel.T)
        # From whole index steps, so that 2 voxels of 1 mm are 2 mm and not a rounding away from it.
        distances[: len(apart)] = np.linalg.norm((apart - goals[nearest]) @ mm_per_voxel.T, axis=1)
    return distances


def hd95(surfaces: SurfaceDistances) -> float:
    """Larger of the two directed 95th percentiles, in mm: MONAI's and Metrics Reloaded's HD95.

    Percentiles are interpolated linearly. Maier-Hein 2024, doi:10.1038/s41592-023-02151-z.
    """
    return max(
        float(np.percentile(surfaces.from_prediction_mm, 95)),
        float(np.percentile(surfaces.from_reference_mm, 95)),
    )


def hd95_pooled(surfaces: SurfaceDistances) -> float:
    """95th percentile of both directions' distances thrown together, in mm: the HD95 of MedPy."""
    return float(np.percentile(_pooled(surfaces), 95))


def assd(surfaces: SurfaceDistances) -> float:
    """Average symmetric surface distance in mm: the mean of both directions' distances thrown together.

    As in MedPy and MONAI.
    """
    return float(np.mean(_pooled(surfaces)))


def nsd(surfaces: SurfaceDistances, tolerance_mm: float) -> float:
    """Normalised surface Dice: share of boundary voxels within ``tolerance_mm`` of the other surface.

    Nikolov 2018, arXiv:1809.04430, equation 3, with boundary voxels as surface elements.
    """
    allowed = tolerance_mm * (1 + 1e-6)  # a distance equal to the tolerance agrees, whatever the rounding
    return float(np.mean(_pooled(surfaces) <= allowed))


def _pooled(surfaces: SurfaceDistances) -> Distances:
    return np.concatenate([surfaces.from_prediction_mm, surfaces.from_reference_mm])


def diagonal_mm(geometry: Geometry) -> float:
    """The longest space diagonal of the whole grid: no two of its voxels are further apart."""
    edges = geometry.affine[:3, :3] * np.array(geometry.shape, dtype=np.float64)
    signs = np.array([(1, 1, 1), (1, 1, -1), (1, -1, 1), (-1, 1, 1)], dtype=np.float64)
    return float(np.linalg.norm(signs @ edges.T, axis=1).max())

"""Surface metrics against known geometry, and against an oracle that compares every pair of voxels."""

import numpy as np
import pytest

from medseg.errors import UsageError
from medseg.evaluation import surfaces
from medseg.evaluation.surfaces import (
    SurfaceDistances,
    assd,
    diagonal_mm,
    find_boundary,
    hd95,
    hd95_pooled,
    nsd,
)
from medseg.volume import Geometry


def grid(shape, spacing=(1.0, 1.0, 1.0)) -> Geometry:
    return Geometry(shape, np.diag([*spacing, 1.0]).astype(np.float64))


def box(shape, start, stop) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))] = True
    return mask


def oracle(prediction, reference, affine) -> tuple[np.ndarray, np.ndarray]:
    """Voxel by voxel: boundary by looking at six neighbours, distances between all pairs."""

    def boundary(mask):
        found = []
        for at in np.argwhere(mask):
            for step in (*np.eye(3, dtype=int), *-np.eye(3, dtype=int)):
                near = at + step
                if (near < 0).any() or (near >= mask.shape).any() or not mask[tuple(near)]:
                    found.append(affine[:3, :3] @ at)
                    break
        return np.array(found)

    p, r = boundary(prediction), boundary(reference)
    pairs = np.linalg.norm(p[:, None] - r[None], axis=2)
    return np.sort(pairs.min(axis=1)), np.sort(pairs.min(axis=0))


SHEARED = np.array([[1.2, 0.4, 0.0, 5], [0.0, 0.9, 0.3, -7], [0.2, 0.0, 2.5, 80], [0, 0, 0, 1]])


@pytest.mark.parametrize("affine", [np.diag([1.0, 1, 1, 1]), np.diag([-0.7, 0.9, 3.0, 1]), SHEARED])
@pytest.mark.parametrize("density", [0.02, 0.6])
def test_distances_equal_those_of_all_pairs(affine: np.ndarray, density: float) -> None:
    random = np.random.default_rng(3)
    shape = (9, 8, 6)
    prediction, reference = random.random(shape) < density, random.random(shape) < density
    measured = surfaces.measure_surfaces(prediction, reference, Geometry(shape, affine))
    expected = oracle(prediction, reference, affine)
    np.testing.assert_allclose(np.sort(measured.from_prediction_mm), expected[0], atol=1e-9)
    np.testing.assert_allclose(np.sort(measured.from_reference_mm), expected[1], atol=1e-9)


def test_map_and_tree_agree() -> None:
    random = np.random.default_rng(5)
    sources, targets = random.random((12, 11, 10)) < 0.3, random.random((12, 11, 10)) < 0.05
    geometry = grid(sources.shape, (0.8, 1.1, 2.7))
    tree = surfaces._nearest_mm(sources, targets, geometry.affine[:3, :3])
    np.testing.assert_allclose(np.sort(tree), np.sort(surfaces._mapped_mm(sources, targets, geometry)))


def test_boundary_of_a_cube_is_its_shell_also_at_the_edge_of_the_volume() -> None:
    inner = find_boundary(box((7, 7, 7), (1, 1, 1), (6, 6, 6)))
    assert inner.sum() == 5**3 - 3**3
    assert find_boundary(np.ones((5, 5, 5), dtype=bool)).sum() == 5**3 - 3**3


def test_a_volume_of_one_voxel_has_a_surface() -> None:
    one = np.ones((1, 1, 1), dtype=bool)
    measured = surfaces.measure_surfaces(one, one, grid((1, 1, 1)))
    assert hd95(measured) == assd(measured) == 0.0
    assert nsd(measured, 1.0) == 1.0


def test_a_single_slice_has_outlines() -> None:
    shape = (20, 20, 1)
    geometry = grid(shape, (1.0, 1.0, 5.0))
    outer, inner = box(shape, (2, 2, 0), (12, 12, 1)), box(shape, (3, 3, 0), (11, 11, 1))
    measured = surfaces.measure_surfaces(inner, outer, geometry)
    assert len(measured.from_reference_mm) == 36
    assert measured.from_prediction_mm.max() == pytest.approx(1.0)
    assert hd95(measured) == pytest.approx(np.sqrt(2)), "4 of the 36 outline voxels are corners"


def test_shifted_plates_are_as_far_apart_as_they_were_shifted() -> None:
    shape = (10, 10, 12)
    geometry = grid(shape, (0.8, 0.8, 2.5))
    reference, prediction = box(shape, (0, 0, 2), (10, 10, 3)), box(shape, (0, 0, 6), (10, 10, 7))
    measured = surfaces.measure_surfaces(prediction, reference, geometry)
    assert hd95(measured) == pytest.approx(10.0)
    assert assd(measured) == pytest.approx(10.0)
    assert nsd(measured, 9.99) == 0.0
    assert nsd(measured, 10.0) == 1.0, "a distance equal to the tolerance agrees"


@pytest.mark.parametrize("spacing", [0.1, 0.7, 1 / 3, 0.9765625, 1.2000000476837158])
def test_tolerance_is_reached_exactly_whatever_the_rounding(spacing: float) -> None:
    shape = (4, 4, 12)
    turn = np.deg2rad(17.0)
    affine = np.eye(4)
    affine[:3, :3] = spacing * np.array(
        [[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]]
    )
    affine[:3, 3] = (-250.3, 171.9, -1021.7)
    reference, prediction = box(shape, (0, 0, 1), (4, 4, 2)), box(shape, (0, 0, 8), (4, 4, 9))
    measured = surfaces.measure_surfaces(prediction, reference, Geometry(shape, affine))
    assert nsd(measured, 7 * spacing) == 1.0


def test_readouts_of_known_distances() -> None:
    measured = SurfaceDistances(np.arange(101.0), np.zeros(300))
    assert hd95(measured) == pytest.approx(95.0)  # the larger direction
    assert hd95_pooled(measured) == pytest.approx(np.percentile([*np.arange(101.0), *np.zeros(300)], 95))
    assert hd95_pooled(measured) < hd95(measured)
    assert assd(measured) == pytest.approx(5050 / 401)
    assert nsd(measured, 10.0) == pytest.approx(311 / 401)


def test_empty_mask_is_refused() -> None:
    full, empty = np.ones((3, 3, 3), dtype=bool), np.zeros((3, 3, 3), dtype=bool)
    with pytest.raises(UsageError, match="empty"):
        surfaces.measure_surfaces(full, empty, grid((3, 3, 3)))


def test_diagonal_is_beyond_all_voxels_of_a_sheared_grid() -> None:
    geometry = Geometry((5, 6, 7), SHEARED)
    corners = geometry.corners_mm
    farthest = np.linalg.norm(corners[:, None] - corners[None], axis=2).max()
    assert diagonal_mm(geometry) > farthest
    assert diagonal_mm(grid((3, 4, 12), (1.0, 1.0, 1.0))) == pytest.approx(13.0)
    assert diagonal_mm(grid((1, 1, 1))) > 0

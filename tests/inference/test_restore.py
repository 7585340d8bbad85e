"""Slab by slab back to the scan's grid, against an independent interpolation in world coordinates."""

from itertools import permutations, product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from medseg.errors import GridMismatchError
from medseg.inference.restore import LabelRestorer
from medseg.volume import Geometry
from support.score_planes import planes_of

ORIENTATIONS = [(order, signs) for order in permutations(range(3)) for signs in product((1, -1), repeat=3)]


def oriented(geometry: Geometry, order: tuple[int, ...], signs: tuple[int, ...], stretch: float) -> Geometry:
    """A scan around the same place whose axes are ``geometry``'s, permuted, flipped and rescaled."""
    shape = tuple(max(2, round(geometry.shape[axis] * stretch)) for axis in order)
    affine = np.eye(4)
    for native, (axis, sign) in enumerate(zip(order, signs, strict=True)):
        affine[:3, native] = geometry.affine[:3, axis] * sign / stretch
    centre = geometry.to_world((np.array([geometry.shape], dtype=float) - 1) / 2)[0]
    affine[:3, 3] = centre - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Geometry(shape, affine)


def by_world_coordinates(
    probabilities: np.ndarray, native: Geometry, network: Geometry
) -> tuple[np.ndarray, np.ndarray]:
    """Labels by interpolating at every native voxel's world position, and how clear each decision is."""
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in native.shape], indexing="ij"), -1).reshape(-1, 3)
    world = native.to_world(grid.astype(float))
    inverse = np.linalg.inv(network.affine)
    at = world @ inverse[:3, :3].T + inverse[:3, 3]
    size = np.array(network.shape)
    inside = ((at > -0.5 - 1e-6) & (at < size - 0.5 + 1e-6)).all(1)
    at = at.clip(0, size - 1)
    values = np.stack([ndimage.map_coordinates(p, at.T, order=1) for p in probabilities])
    ranked = np.sort(values, axis=0)
    labels = np.where(inside, values.argmax(0), 0).reshape(native.shape)
    return labels, np.where(inside, ranked[-1] - ranked[-2], 1).reshape(native.shape)


@pytest.mark.parametrize("stream_axis", [0, 1, 2])
@given(
    orientation=st.sampled_from(ORIENTATIONS),
    stretch=st.sampled_from([0.6, 1.0, 1.7]),
    shear=st.floats(-0.3, 0.3),
)
def test_restoring_equals_interpolation_in_the_world(
    stream_axis: int, orientation: tuple, stretch: float, shear: float
) -> None:
    rng = np.random.default_rng(0)
    affine = np.array([[2.0, 0.1, shear, 5], [-0.1, 2.2, 0, -7], [0, 0.05, 3.0, 11], [0, 0, 0, 1]])
    network = Geometry((7, 6, 9), affine)
    native = oriented(network, *orientation, stretch)
    smooth = ndimage.gaussian_filter(rng.normal(size=(3, *network.shape)), (0, 1, 1, 1))
    probabilities = torch.softmax(torch.from_numpy(smooth).float() * 20, 0)
    restorer = LabelRestorer(native, network, stream_axis)
    for plane in planes_of(probabilities, stream_axis):
        restorer.add(plane)
    labels = restorer.finish()
    expected, clear = by_world_coordinates(probabilities.numpy(), native, network)
    assert labels.shape == native.shape
    assert ((labels == expected) | (clear < 1e-4)).all()


def test_same_grid_gives_plain_argmax() -> None:
    geometry = Geometry((5, 6, 7), np.diag([1.0, 1.0, 2.0, 1.0]))
    probabilities = torch.rand(4, 5, 6, 7, generator=torch.Generator().manual_seed(2))
    restorer = LabelRestorer(geometry, geometry)
    for plane in planes_of(probabilities):
        restorer.add(plane)
    np.testing.assert_array_equal(restorer.finish(), probabilities.argmax(0).numpy())


def test_outside_a_cropped_network_grid_is_background() -> None:
    native = Geometry((10, 10, 10), np.eye(4))
    network = native.cropped((3, 4, 5), (4, 4, 4))
    restorer = LabelRestorer(native, network)
    ones = torch.zeros(2, 4, 4, 4)
    ones[1] = 1
    for plane in planes_of(ones):
        restorer.add(plane)
    labels = restorer.finish()
    assert labels.sum() == 64
    assert labels[3:7, 4:8, 5:9].all()


def test_gaps_in_the_stream_are_refused() -> None:
    geometry = Geometry((4, 4, 4), np.eye(4))
    restorer = LabelRestorer(geometry, geometry)
    with pytest.raises(GridMismatchError, match="plane 2 is given, 0 was expected"):
        restorer.add(list(planes_of(torch.zeros(2, 4, 4, 4)))[2])
    with pytest.raises(GridMismatchError, match="0 of 4 planes"):
        restorer.finish()

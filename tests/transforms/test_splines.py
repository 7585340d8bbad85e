"""Cubic resampling against SciPy's own zoom, and the rule of thick slices."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from medseg.config.preprocessing import PreprocessingConfig
from medseg.transforms import Fitted, Preprocessing
from medseg.transforms.splines import nearest, spline_matrix, spline_resample, thick_axis
from medseg.volume import Geometry, Volume

sizes = st.integers(1, 40)


@settings(max_examples=40)
@given(shape=st.tuples(sizes, sizes, sizes), new=st.tuples(sizes, sizes, sizes), seed=st.integers(0, 99))
def test_as_zoom_does_it(shape: tuple[int, int, int], new: tuple[int, int, int], seed: int) -> None:
    image = np.random.default_rng(seed).normal(size=(1, *shape)).astype(np.float32)
    found = spline_resample(torch.from_numpy(image), new, None)[0].numpy()
    assert found.shape == new
    np.testing.assert_allclose(found, zoomed(image[0], new), atol=1e-4)


def zoomed(image: np.ndarray, new: tuple[int, ...]) -> np.ndarray:
    """``skimage.transform.resize`` of order 3, mode edge, without anti-aliasing."""
    factors = [m / n for m, n in zip(new, image.shape, strict=True)]
    found = ndimage.zoom(image.astype(float), factors, order=3, mode="nearest", grid_mode=True)
    return np.asarray(found.clip(image.min(), image.max()))


@pytest.mark.parametrize("thick", [0, 1, 2])
@pytest.mark.parametrize("count", [4, 7, 12])
def test_thick_slices_are_resampled_one_by_one(thick: int, count: int) -> None:
    image = np.random.default_rng(1).normal(size=(9, 8, 7)).astype(np.float32)
    new = [13, 6, 11]
    new[thick] = count
    found = np.moveaxis(spline_resample(torch.from_numpy(image)[None], new, thick)[0].numpy(), thick, 0)
    slices = np.moveaxis(image, thick, 0)
    place = (np.arange(count) + 0.5) * len(slices) / count - 0.5
    near = ndimage.map_coordinates(np.arange(len(slices)), [place], order=0, mode="nearest")
    across = tuple(n for axis, n in enumerate(new) if axis != thick)
    wanted = np.stack([zoomed(slices[index], across) for index in near])
    np.testing.assert_allclose(found, wanted, atol=1e-4)


@given(old=st.integers(1, 300), new=st.integers(1, 300))
def test_rows_sum_to_one_and_reach_a_few_voxels(old: int, new: int) -> None:
    matrix = spline_matrix(old, new)
    np.testing.assert_allclose(matrix.sum(1), 1)
    assert (matrix != 0).sum(1).max() <= 30
    assert set(nearest(old, new)) <= set(range(old))


RULE = [
    # old spacing, new spacing, the axis across which nothing is interpolated
    ((1.0, 1.0, 3.0), (1.0, 1.0, 1.0), None),  # three times is not more than three times
    ((1.0, 1.0, 3.1), (1.0, 1.0, 1.0), 2),
    ((5.0, 0.5, 0.5), (1.0, 1.0, 1.0), 0),
    ((1.0, 1.0, 1.0), (0.5, 5.0, 0.5), 1),
    ((5.0, 1.0, 1.0), (1.0, 1.0, 5.0), 0),  # the old grid's slices go first
    ((0.24, 1.25, 1.25), (1.0, 1.0, 5.0), None),  # two thick axes: none
    ((5.0, 5.0, 5.0), (1.0, 1.0, 1.0), None),
]


@pytest.mark.parametrize(("old", "new", "axis"), RULE)
def test_thick_axis(
    old: tuple[float, float, float], new: tuple[float, float, float], axis: int | None
) -> None:
    assert thick_axis(old, new) == axis


def test_preprocessing_keeps_the_extent_and_the_label() -> None:
    """The new voxels divide the same extent, for the image and the label alike."""
    random = np.random.default_rng(0)
    shape = (20, 18, 11)
    geometry = Geometry(shape, np.diag([-1.0, -1.1, 2.0, 1.0]))
    smooth = ndimage.gaussian_filter(random.normal(size=shape), 2).astype(np.float32)
    label = (smooth > 0).astype(np.uint8)
    config = PreprocessingConfig.model_validate(
        {"orientation": "LPS", "resampling": "cubic", "intensity": {"kind": "linear"}}
    )
    prepared = Preprocessing(config, Fitted((1.3, 1.3, 1.7)))(
        [Volume(smooth, geometry)], Volume(label, geometry)
    )
    assert prepared.geometry.shape == (15, 15, 13)
    extents = np.array(prepared.geometry.shape) * prepared.geometry.spacing_mm
    np.testing.assert_allclose(extents, np.array(shape) * geometry.spacing_mm)
    corners = [np.array([[-0.5, -0.5, -0.5]]), np.array([[-0.5, -0.5, -0.5]])]
    np.testing.assert_allclose(prepared.geometry.to_world(corners[0]), geometry.to_world(corners[1]))
    np.testing.assert_allclose(prepared.image[0], zoomed(smooth, (15, 15, 13)), atol=1e-5)
    assert prepared.label is not None
    assert ((prepared.image[0] > 0) == (prepared.label > 0)).float().mean() > 0.93

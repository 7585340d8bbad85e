import numpy as np
import pytest
import torch
import torchio as tio
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.interpolate import BSpline

from medseg.config.augmentation import Elastic, SpatialAugmentation
from medseg.transforms.patch import patch_subject
from medseg.transforms.randomness import seeded
from medseg.transforms.spatial import FusedSpatial, _content_matrix, draw_warp, spatial_margin
from medseg.transforms.warp import Warp, sample_image, sample_label, spline_matrix, warp_coordinates


def index_image(shape: tuple[int, int, int]) -> torch.Tensor:
    """(3, I, J, K): each voxel holds its own index."""
    return torch.stack(torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in shape), indexing="ij"))


def expected_coordinates(warp: Warp, source: tuple, result: tuple) -> np.ndarray:
    """The definition, voxel by voxel, without the tricks; no bending."""
    points = np.indices(result).reshape(3, -1).T - (np.array(result) - 1) / 2
    found = points @ warp.matrix.T + warp.offset + (np.array(source) - 1) / 2
    return found.T.reshape(3, *result)


SIZES = st.tuples(*[st.integers(1, 9)] * 3)


@settings(max_examples=40, deadline=None)
@given(source=SIZES, result=SIZES, seed=st.integers(0, 1000), channels=st.integers(1, 3))
def test_voxels_come_from_where_the_definition_says(source, result, seed, channels):
    rng = np.random.default_rng(seed)
    warp = Warp(np.eye(3) + rng.uniform(-0.4, 0.4, (3, 3)), rng.uniform(-2, 2, 3))
    coordinates = warp_coordinates(warp, source, result)
    expected = expected_coordinates(warp, source, result)
    assert np.allclose(coordinates.numpy(), expected, atol=1e-4)
    image = index_image(source)[:channels]
    inside = np.clip(expected, 0, np.array(source).reshape(3, 1, 1, 1) - 1)
    assert np.allclose(sample_image(image, coordinates).numpy(), inside[:channels], atol=5e-3)


def test_interpolation_equals_scipy():
    rng = np.random.default_rng(3)
    image = rng.normal(size=(2, 14, 11, 17)).astype(np.float32)
    coordinates = (rng.uniform(-2, 19, (3, 10, 9, 8))).astype(np.float32)
    ours = sample_image(torch.from_numpy(image), torch.from_numpy(coordinates)).numpy()
    for channel, picture in zip(ours, image, strict=True):
        oracle = ndimage.map_coordinates(picture, coordinates, order=1, mode="nearest")
        assert np.allclose(channel, oracle, atol=5e-3)
    label = rng.integers(0, 7, (14, 11, 17)).astype(np.uint8)
    nearest = sample_label(torch.from_numpy(label), torch.from_numpy(coordinates)).numpy()
    clipped = np.clip(np.round(coordinates), 0, np.array(label.shape).reshape(3, 1, 1, 1) - 1).astype(int)
    assert np.array_equal(nearest, label[tuple(clipped)])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_rotation_equals_torchio_in_millimetres(axis):
    """A smooth image on an anisotropic grid, turned by TorchIO (SimpleITK) and by us."""
    spacing, size, angle = (1.0, 1.5, 2.5), (30, 24, 18), 17.0
    i, j, k = index_image(size)
    image = (torch.sin(i / 5) + torch.cos(j / 4) + torch.sin(k / 3))[None]
    label = torch.zeros(size, dtype=torch.uint8)
    subject = patch_subject(image, label, spacing)
    angles = [0.0, 0.0, 0.0]
    angles[axis] = angle
    stock = tio.Affine(scales=(1, 1, 1), degrees=angles, translation=(0, 0, 0), default_pad_value=0)
    expected = stock(subject)["image"].data
    back = np.linalg.inv(_content_matrix(angles, (0, 0, 0), (1, 1, 1), np.array([True] * 3)))
    warp = Warp(back * np.array(spacing) / np.array(spacing)[:, None], np.zeros(3))
    ours = sample_image(image, warp_coordinates(warp, size, size))
    inner = (slice(None), slice(9, -9), slice(7, -7), slice(6, -6))
    assert torch.allclose(ours[inner], expected[inner], atol=0.01)
    assert not torch.allclose(ours[inner], image[inner], atol=0.1)


def test_bending_is_the_cubic_b_spline():
    points, size = 6, 41
    weights = spline_matrix(size, points).numpy()
    control = np.random.default_rng(0).normal(size=points)
    padded = np.concatenate([[control[0]], control, [control[-1]]])
    spline = BSpline(np.arange(-3, points + 3) - 0.0, padded, 3)
    where = np.arange(size) * (points - 1) / (size - 1)
    assert np.allclose(weights.sum(axis=1), 1, atol=1e-6)
    assert np.allclose((weights @ control)[:-1], spline(where)[:-1], atol=1e-5)


def test_bending_never_folds():
    config = SpatialAugmentation(
        kind="spatial", rotation_deg=0, scale=0, elastic=Elastic(points=8, max_mm=1000)
    )
    for seed in range(5):
        with seeded(seed):
            warp = draw_warp(config, (40, 32, 24), (1, 1.5, 3))
        field = warp_coordinates(warp, (40, 32, 24), (40, 32, 24)).double().numpy()
        jacobian = np.stack([np.stack(np.gradient(part), axis=-1) for part in field], axis=-2)
        assert np.linalg.det(jacobian).min() > 0


def test_an_elastic_patch_keeps_image_and_label_together():
    """Each voxel of the image holds its index, so the label must be that of the index that arrives."""
    config = SpatialAugmentation(
        kind="spatial", p=1, rotation_deg=25, scale=0.2, shear=0.1, elastic=Elastic()
    )
    source, size = (48, 44, 40), (36, 32, 28)
    label = torch.randint(0, 9, source, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    subject = patch_subject(index_image(source), label, (1.0, 1.2, 2.0))
    with seeded(5):
        moved = FusedSpatial(config, size)(subject)
    index, classes = moved["image"].data, moved["label"].data[0]
    clear = ((index - index.floor() - 0.5).abs() > 0.02).all(dim=0)
    i, j, k = index.round().long()
    assert moved.spatial_shape == size and clear.float().mean() > 0.7
    assert torch.equal(label[i, j, k][clear], classes[clear])
    assert not torch.equal(classes, label[6:-6, 6:-6, 6:-6])


@pytest.mark.parametrize("flat", [0, 1, 2])
def test_a_slice_is_never_mixed_with_its_neighbours(flat):
    size = [16, 16, 16]
    size[flat] = 1
    size = (size[0], size[1], size[2])
    config = SpatialAugmentation(
        kind="spatial",
        rotation_deg=40,
        scale=0.2,
        shear=0.2,
        shift_mm=5,
        elastic=Elastic(),
        anisotropic_scale=True,
    )
    for seed in range(10):
        with seeded(seed):
            warp = draw_warp(config, size, (1, 2, 3))
        field = warp_coordinates(warp, size, size)
        assert torch.all(field[flat] == 0)
        assert field.std() > 0
    assert spatial_margin(config, size, (1, 2, 3))[flat] == 0


def test_content_shifts_and_zooms_as_told():
    back = Warp(np.eye(3), np.array([-2.0, 0.0, 1.0]))  # what is drawn for a shift of (2, 0, -1) voxels
    image = torch.zeros((1, 12, 12, 12))
    image[0, 5, 5, 5] = 1
    moved = sample_image(image, warp_coordinates(back, (12, 12, 12), (12, 12, 12)))
    assert torch.nonzero(moved[0] > 0.9).tolist() == [[7, 5, 4]]


def test_margin_holds_every_draw_unless_capped():
    size, spacing = (40, 40, 40), (1.0, 1.0, 2.0)
    config = SpatialAugmentation(
        kind="spatial", p=1, rotation_deg=5, scale=0.05, shift_mm=1, elastic=Elastic(points=5, max_mm=1)
    )
    margin = np.array(spatial_margin(config, size, spacing))
    assert (margin < 10).all() and (margin > 0).all()
    source = tuple(int(n) for n in np.array(size) + 2 * margin)
    for seed in range(30):
        with seeded(seed):
            field = warp_coordinates(draw_warp(config, size, spacing), source, size)
        ends = torch.tensor(source).reshape(3, 1, 1, 1) - 1
        assert torch.all(field >= -0.5) and torch.all(field <= ends + 0.5)
    wild = SpatialAugmentation(kind="spatial", rotation_deg=90, scale=0.5)
    assert spatial_margin(wild, size, spacing) == (10, 10, 10)

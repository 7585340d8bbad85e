import itertools
import logging

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from medseg.config.preprocessing import CropConfig, PreprocessingConfig
from medseg.errors import GridMismatchError, ModelFileError, VolumeError
from medseg.transforms import Fitted, IntensityStatistics, Preprocessing, axis_maps
from medseg.transforms.along import along_each, resampling_matrix
from medseg.transforms.grid import canonical_spacing_mm, respaced
from medseg.transforms.resample import resample_label, resampling_matrices
from medseg.volume import Geometry, Volume

ORIENTATIONS = [
    (order, signs)
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]
WIDE = {"kind": "window", "center": 0, "width": 4000}


def config(intensity: object = None, crop: CropConfig | None = None) -> PreprocessingConfig:
    return PreprocessingConfig.model_validate({"intensity": intensity or WIDE, "crop": crop})


def grid(order: tuple, signs: tuple, seed: int, shape: tuple[int, int, int] = (17, 20, 14)) -> Geometry:
    """A grid in one of the 48 orientations, turned, sheared, with an odd spacing and origin."""
    rng = np.random.default_rng(seed)
    axes = np.zeros((3, 3))
    axes[list(order), range(3)] = signs
    turn = Rotation.from_euler("xyz", rng.uniform(-20, 20, 3), degrees=True).as_matrix()
    shear = np.eye(3)
    shear[1, 2] = rng.uniform(-0.3, 0.3)
    affine = np.eye(4)
    affine[:3, :3] = turn @ shear @ axes * rng.uniform(0.6, 3, 3)
    affine[:3, 3] = rng.uniform(-200, 200, 3)
    return Geometry(shape, affine)


def world(geometry: Geometry) -> np.ndarray:
    """(3, I, J, K): each voxel's place in millimetres."""
    indices = np.indices(geometry.shape).reshape(3, -1).T.astype(np.float64)
    return geometry.to_world(indices).T.reshape(3, *geometry.shape)


@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS)
def test_every_voxel_keeps_its_place_in_the_patient(order, signs):
    seed = ORIENTATIONS.index((order, signs))
    native = grid(order, signs, seed)
    spacing = tuple(float(s) for s in np.random.default_rng(seed).uniform(0.5, 4, 3))
    channels = [Volume(part.astype(np.float32), native) for part in world(native)]
    prepared = Preprocessing(config(), Fitted(spacing))(channels)
    assert np.allclose(prepared.geometry.spacing_mm, spacing)
    inner = []
    steps = np.array(spacing) / canonical_spacing_mm(native)
    for n, step in zip(prepared.geometry.shape, steps, strict=True):
        rim = int(np.ceil(1 / step)) + 1  # where the average reaches beyond the scan, its edge goes on
        inner.append(slice(rim, n - rim))
    away = prepared.image.numpy() * 2000 - world(prepared.geometry)
    assert np.abs(away[(slice(None), *inner)]).max(initial=0) < 1e-3
    assert prepared.image.dtype == torch.float32 and prepared.image.is_contiguous()


@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS)
def test_axis_maps_bring_indices_to_the_network_grid(order, signs):
    native = grid(order, signs, ORIENTATIONS.index((order, signs)))
    prepared = Preprocessing(config(), Fitted((1.1, 0.9, 2.3)))([Volume(np.ones(native.shape), native)])
    maps = axis_maps(native, prepared.geometry)
    rng = np.random.default_rng(1)
    for index in rng.uniform(0, native.shape, (5, 3)):
        found = np.zeros(3)
        for axis, (network_axis, scale, offset) in enumerate(maps):
            found[network_axis] = scale * index[axis] + offset
        ours, theirs = prepared.geometry.to_world(found[None]), native.to_world(index[None])
        assert np.allclose(ours, theirs, atol=1e-6)


def test_grids_that_are_not_parallel_have_no_axis_maps():
    a = Geometry((20, 20, 20), np.eye(4))
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("z", 1, degrees=True).as_matrix()
    with pytest.raises(GridMismatchError, match="not parallel"):
        axis_maps(a, Geometry((20, 20, 20), affine))


SHAPE = st.tuples(*[st.integers(1, 12)] * 3)
SPACING = st.tuples(*[st.floats(0.3, 8)] * 3)


@settings(max_examples=60)
@given(shape=SHAPE, spacing=SPACING, seed=st.integers(0, 99), number=st.integers(0, 47))
def test_any_grid_is_prepared_and_labels_are_never_invented(shape, spacing, seed, number):
    native = grid(*ORIENTATIONS[number], seed, shape)
    rng = np.random.default_rng(seed)
    label = rng.choice(np.array([0, 0, 3, 7], dtype=np.int16), shape)
    image = rng.normal(size=shape).astype(np.float32)
    before = image.copy(), label.copy()
    prepared = Preprocessing(config(), Fitted(spacing))([Volume(image, native)], Volume(label, native))
    assert prepared.image.shape[1:] == prepared.geometry.shape == prepared.label.shape
    assert set(np.unique(prepared.label.numpy())) <= set(np.unique(label))
    middles = [g.to_world((np.array([g.shape]) - 1) / 2.0) for g in (native, prepared.geometry)]
    assert np.allclose(*middles, atol=1e-6)
    extents = np.array(prepared.geometry.shape) * spacing
    kept = sorted(np.array(native.shape) * native.spacing_mm)
    assert np.all(np.abs(np.sort(extents) - kept) <= max(spacing) + 1e-9)
    assert np.array_equal(before[0], image) and np.array_equal(before[1], label)


def test_label_takes_the_largest_share():
    label = torch.zeros((8, 8, 8), dtype=torch.uint8)
    label[2:6, 2:6, 2:6] = 4
    old = Geometry((8, 8, 8), np.eye(4))
    coarse = resample_label(label, resampling_matrices(old, respaced(old, (2, 2, 2))))
    assert torch.equal(coarse, label[::2, ::2, ::2])
    fine = resample_label(label, resampling_matrices(old, respaced(old, (0.5, 0.5, 0.5))))
    assert abs(int((fine == 4).sum()) / 8 - 64) < 6 and fine[8, 8, 8] == 4
    same = resample_label(label, resampling_matrices(old, old))
    assert torch.equal(same, label)


def test_shares_are_those_of_the_whole_volume():
    """Per-structure boxes against the plain definition: one-hot, resample everything, argmax."""
    old = Geometry((15, 13, 11), np.eye(4))
    label = torch.zeros(old.shape, dtype=torch.uint8)
    label[:5, 3:9, 2:10], label[4:12, 1:7, 5:], label[9:, 8:, :4] = 1, 2, 5
    matrices = resampling_matrices(old, respaced(old, (0.7, 1.6, 2.1)))
    one_hot = torch.stack([(label == c).float() for c in (1, 2, 5, 0)])
    shares = along_each(one_hot, matrices)
    expected = torch.tensor([1, 2, 5, 0], dtype=torch.uint8)[shares.argmax(dim=0)]
    clear = shares.topk(2, dim=0).values.diff(dim=0)[0].abs() > 1e-3
    assert torch.equal(resample_label(label, matrices)[clear], expected[clear])
    assert clear.float().mean() > 0.9


def test_growing_voxels_average_noise_and_keep_means():
    noise = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 60, 60, 60)).astype(np.float32))
    old = Geometry((60, 60, 60), np.eye(4))
    coarse = along_each(noise + 5, resampling_matrices(old, respaced(old, (3, 3, 3))))
    assert abs(float(coarse.mean()) - 5) < 0.02
    assert float(coarse.std()) < 0.25  # an average of 27 voxels would have 0.19; a pick of one has 1
    for step in (0.4, 1.0, 1.3, 2.7, 9.0):
        matrix = resampling_matrix(50, max(1, round(50 / step)), step, 3.3)
        assert np.allclose(matrix.sum(axis=1), 1) and matrix.min() >= 0


def test_crop_finds_the_body_and_not_the_table(caplog):
    array = np.full((60, 50, 40), -1000, np.int16)
    array[10:40, 12:36, 5:30] = 40
    array[45:48, 2:48, :] = 60  # the table
    geometry = Geometry(array.shape, np.diag([2.0, 2.0, 3.0, 1.0]))
    label = np.zeros(array.shape, np.uint8)
    label[20:24, 20:24, 10:14] = 1
    label[46, 5, 5] = 1
    prepare = Preprocessing(config(crop=CropConfig(above=-300, margin_mm=4)), Fitted((2.0, 2.0, 3.0)))
    with caplog.at_level(logging.WARNING):
        prepared = prepare([Volume(array, geometry)], Volume(label, geometry))
    assert "1 labelled voxels lie outside" in caplog.text
    maps = axis_maps(geometry, prepared.geometry)
    for (_, _, offset), first, last, n in zip(
        maps, (10, 12, 5), (39, 35, 29), prepared.image.shape[1:], strict=True
    ):
        assert 1 <= first + offset <= 4 and 1 <= n - 1 - (last + offset) <= 4
    assert int(prepared.label.sum()) == 64
    with pytest.raises(VolumeError, match="above"):
        prepare([Volume(array - 2000, geometry)])


def values(intensity: dict, array: np.ndarray, fitted: tuple | None = None) -> np.ndarray:
    geometry = Geometry(array.shape, np.eye(4))
    prepare = Preprocessing(config(intensity), Fitted((1, 1, 1), fitted))
    return prepare([Volume(array, geometry)]).image[0].numpy()


def test_intensities():
    array = np.random.default_rng(0).normal(50, 300, (12, 13, 14)).astype(np.float32)
    window = values({"kind": "window", "center": 40, "width": 400}, array)
    assert np.allclose(window, (np.clip(array, -160, 240) - 40) / 200, atol=1e-6)
    whole = values({"kind": "zscore"}, array)
    assert abs(whole.mean()) < 1e-5 and abs(whole.std() - 1) < 1e-5
    above = array[array > array.mean()]
    foreground = values({"kind": "zscore", "region": "foreground"}, array)
    assert np.allclose(foreground, (array - above.mean()) / above.std(), atol=1e-4)
    ranked = values({"kind": "percentile", "low": 5, "high": 95}, array)
    low, high = np.percentile(array, (5, 95))
    assert np.allclose(ranked, np.clip((array - low) / (high - low), 0, 1) * 2 - 1, atol=1e-4)
    fitted = values({"kind": "fitted"}, array, (IntensityStatistics(-100, 300, 60, 80),))
    assert np.allclose(fitted, (np.clip(array, -100, 300) - 60) / 80, atol=1e-5)


def test_scans_that_cannot_be_normalised_are_refused():
    blank = np.full((6, 6, 6), 7, np.int16)
    for intensity in ({"kind": "zscore"}, {"kind": "percentile"}):
        with pytest.raises(VolumeError, match="blank"):
            values(intensity, blank)
    for bad in (np.nan, np.inf):
        array = np.zeros((6, 6, 6), np.float32)
        array[3, 3, 3] = bad
        with pytest.raises(VolumeError, match="not finite"):
            values({"kind": "zscore"}, array)
    with pytest.raises(ModelFileError, match="fitted"):
        values({"kind": "fitted"}, np.zeros((6, 6, 6), np.float32))


def test_channels_on_other_grids_are_refused_and_the_generator_is_untouched():
    a = Volume(np.zeros((6, 6, 6)), Geometry((6, 6, 6), np.eye(4)))
    b = Volume(np.zeros((6, 6, 6)), Geometry((6, 6, 6), np.diag([2.0, 1, 1, 1])))
    prepare = Preprocessing(config(), Fitted((1, 1, 1)))
    with pytest.raises(GridMismatchError, match="channels 0 and 1"):
        prepare([a, b])
    before = torch.random.get_rng_state()
    prepare([a])
    assert torch.equal(before, torch.random.get_rng_state())

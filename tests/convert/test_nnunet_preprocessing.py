"""Preprocessing that nnU-Net's models need, against its formulas written out in numpy."""

from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter
from scipy import ndimage

from medseg.config.preprocessing import PreprocessingConfig
from medseg.errors import Code, VolumeError
from medseg.transforms import Fitted, Prepared, Preprocessing
from medseg.volume import Geometry, Volume

SHAPE = (9, 11, 7)


def scans(channels: int = 2) -> list[np.ndarray]:
    """Noise in an erased background, with a hole that is 0 in every channel."""
    random = np.random.default_rng(4)
    found = []
    for channel in range(channels):
        array = np.zeros(SHAPE, np.float32)
        array[2:8, 1:9, 1:6] = random.normal(100 + channel, 30, (6, 8, 5))
        array[4, 4, 3] = 0
        found.append(array)
    found[0][2] = 0  # there in the other channels alone
    return found


def prepare(
    arrays: list[np.ndarray], spacing: tuple[float, float, float] = (1, 1, 1), **config: Any
) -> Prepared:
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    settings = TypeAdapter(PreprocessingConfig).validate_python({"orientation": "LPS", **config})
    volumes = [Volume(array, Geometry(array.shape, affine)) for array in arrays]
    return Preprocessing(settings, Fitted(spacing))(volumes)


def test_crop_to_what_is_not_zero_in_some_channel() -> None:
    arrays = scans()
    prepared = prepare(arrays, intensity={"kind": "linear"}, crop="nonzero")
    np.testing.assert_array_equal(prepared.image.numpy(), np.stack(arrays)[:, 2:8, 1:9, 1:6])


def test_nothing_but_zero_is_blank() -> None:
    with pytest.raises(VolumeError) as caught:
        prepare([np.zeros(SHAPE, np.float32)], intensity={"kind": "linear"}, crop="nonzero")
    assert caught.value.code == Code.BLANK


def test_zscore_within_the_outline() -> None:
    arrays = scans()
    mask = ndimage.binary_fill_holes((arrays[0] != 0) | (arrays[1] != 0))
    assert mask[4, 4, 3]
    prepared = prepare(arrays, intensity={"kind": "zscore", "region": "nonzero"})
    for array, found in zip(arrays, prepared.image.numpy(), strict=True):
        wanted = array.copy()
        wanted[mask] = (array[mask] - array[mask].mean()) / array[mask].std()
        np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_minmax_and_linear() -> None:
    array = scans(1)[0]
    prepared = prepare([array, array], intensity=[{"kind": "minmax"}, {"kind": "linear", "divide": 255}])
    np.testing.assert_allclose(
        prepared.image[0], (array - array.min()) / (array.max() - array.min()), atol=1e-6
    )
    np.testing.assert_allclose(prepared.image[1], array / 255, atol=1e-6)


def test_normalised_before_resampling() -> None:
    """Deviation of the scan's own voxels, not of the coarser ones, which noise has left."""
    array = np.random.default_rng(0).normal(0, 30, (12, 12, 12)).astype(np.float32)
    before = prepare([array], (2, 2, 2), intensity={"kind": "zscore"}, normalise="before")
    after = prepare([array], (2, 2, 2), intensity={"kind": "zscore"})
    assert float(after.image.std()) == pytest.approx(1, abs=0.01)
    assert float(before.image.std()) < 0.6
    plain = prepare([array], (2, 2, 2), intensity={"kind": "linear"})
    np.testing.assert_allclose(before.image, (plain.image.numpy() - array.mean()) / array.std(), atol=1e-5)


def test_spacing_kept_across_slices() -> None:
    prepared = prepare(
        [np.random.default_rng(0).normal(size=(8, 8, 5)).astype(np.float32)],
        (2, 2, 7),
        intensity={"kind": "linear"},
        keep_spacing=["k"],
    )
    assert prepared.image.shape == (1, 4, 4, 5)
    assert prepared.geometry.spacing_mm == pytest.approx((2, 2, 1))


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "LAI", "RPS"])
def test_orientation_of_what_the_network_sees(orientation: str) -> None:
    """A scan stored S, R, P: whatever is asked for, every voxel stays in its place."""
    array = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    affine = np.array([[0.0, 2, 0, 5], [0, 0, -3, 6], [4, 0, 0, 7], [0, 0, 0, 1]])
    config = PreprocessingConfig.model_validate({"orientation": orientation, "intensity": {"kind": "linear"}})
    prepared = Preprocessing(config, Fitted((2, 3, 4)))([Volume(array, Geometry(array.shape, affine))])
    assert prepared.geometry.axis_codes == orientation
    for index in ((0, 0, 0), (3, 4, 2), (1, 2, 1)):
        world = prepared.geometry.to_world(np.array([index], float))
        stored = np.linalg.solve(affine, [*world[0], 1])[:3].round().astype(int)
        assert prepared.image[(0, *index)] == array[tuple(stored)]

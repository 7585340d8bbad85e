import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from medseg.config.preprocessing import PreprocessingConfig
from medseg.data.case import Case
from medseg.data.loading import LoadedCase
from medseg.errors import CohortError, ModelFileError
from medseg.transforms import Fitted, fit_preprocessing
from medseg.transforms.fitting import VOXELS_A_CASE
from medseg.volume import Geometry, Volume

FITTED = PreprocessingConfig.model_validate({"intensity": {"kind": "fitted"}})


def loaded(name: str, array: np.ndarray, label: np.ndarray | None, affine: np.ndarray) -> LoadedCase:
    geometry = Geometry(array.shape, affine)
    volume = None if label is None else Volume(label, geometry)
    return LoadedCase(Case(name, (Path("scan.nii.gz"),)), (Volume(array, geometry),), volume, (True, True))


def test_statistics_are_of_voxels_inside_labels_and_spacing_is_the_median():
    rng = np.random.default_rng(0)
    sagittal = np.array([[0.0, 0, 3, 0], [1, 0, 0, 0], [0, 2, 0, 0], [0, 0, 0, 1]])
    cases, inside = [], []
    for name, affine in (("a", np.diag([1.0, 1, 5, 1])), ("b", np.diag([-1.5, 2, 4, 1])), ("c", sagittal)):
        array = rng.normal(100, 30, (10, 11, 12)).astype(np.float32)
        label = (rng.random(array.shape) < 0.2).astype(np.uint8)
        array[label == 0] = -5000
        inside.append(array[label > 0])
        cases.append(loaded(name, array, label, affine))
    fitted = fit_preprocessing(FITTED, cases)
    assert fitted.spacing_mm == (1.5, 1.0, 4.0)
    (statistics,) = fitted.intensity
    voxels = np.concatenate(inside)
    assert np.allclose((statistics.low, statistics.high), np.percentile(voxels, (0.5, 99.5)))
    assert np.allclose((statistics.mean, statistics.sd), (voxels.mean(), voxels.std()), rtol=1e-5)
    assert Fitted.from_json(json.loads(json.dumps(fitted.to_json()))) == fitted


def test_large_cases_are_sampled_the_same_way_whatever_the_order():
    rng = np.random.default_rng(1)
    shape = (60, 60, 40)
    assert np.prod(shape) > VOXELS_A_CASE
    cases = [
        loaded(name, rng.normal(mean, 10, shape).astype(np.float32), np.ones(shape, np.uint8), np.eye(4))
        for name, mean in (("a", 0), ("b", 50))
    ]
    first, other = fit_preprocessing(FITTED, cases), fit_preprocessing(FITTED, reversed(cases))
    assert np.isclose(first.intensity[0].mean, other.intensity[0].mean)
    assert abs(first.intensity[0].mean - 25) < 0.2


def test_cases_are_not_looked_at_when_there_is_nothing_to_learn():
    def untouched() -> Iterator[LoadedCase]:
        raise RuntimeError("looked at")
        yield

    told = PreprocessingConfig.model_validate({"spacing_mm": [1, 1, 2], "intensity": {"kind": "zscore"}})
    assert fit_preprocessing(told, untouched()) == Fitted((1, 1, 2))


def test_nothing_to_fit_to_is_told():
    empty = loaded("a", np.zeros((3, 3, 3), np.float32), np.zeros((3, 3, 3), np.uint8), np.eye(4))
    flat = loaded("a", np.zeros((3, 3, 3), np.float32), np.ones((3, 3, 3), np.uint8), np.eye(4))
    unlabelled = loaded("a", np.zeros((3, 3, 3), np.float32), None, np.eye(4))
    for cases, words in (
        ([], "no training case"),
        ([empty, unlabelled], "inside a label"),
        ([flat], "same value"),
    ):
        with pytest.raises(CohortError, match=words):
            fit_preprocessing(FITTED, cases)


@pytest.mark.parametrize(
    "damaged",
    [
        {},
        {"spacing_mm": [1, 2], "intensity": None},
        {"spacing_mm": [1, 2, 0], "intensity": None},
        {"spacing_mm": [1, 1, 1], "intensity": [{"low": 1}]},
        {"spacing_mm": "x", "intensity": 3},
    ],
)
def test_damaged_values_are_refused(damaged):
    with pytest.raises(ModelFileError):
        Fitted.from_json(damaged)

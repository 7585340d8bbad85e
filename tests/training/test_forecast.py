"""``medseg check``: what it finds, and what it predicts."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from medseg.audit import check_experiment
from medseg.cli.app import app
from medseg.config import Experiment
from medseg.data import PreparedCache, find_cases, split_cases
from medseg.training.forecast import Forecast
from medseg.training.prepare import prepare_cohort

CONFIG: dict[str, Any] = {
    "name": "tiny",
    "labels": {"bright": 1, "dark": 2},
    "data": {"held_out": 1, "folds": 2},
    "preprocessing": {
        "spacing_mm": [2.5, 2, 3],
        "intensity": {"kind": "fitted"},
        "crop": {"above": -300, "margin_mm": 4},
    },
    "augmentation": [{"kind": "noise", "p": 0.3}],
    "sampling": {"patch_size": [16, 16, 8]},
    "model": {"kind": "unet", "channels": [4, 8]},
    "training": {"stop": {"epochs": 10}, "steps_per_epoch": 7, "workers": 0, "device": "cpu"},
}


def experiment(cohort: Path, **training: Any) -> Experiment:
    told = {**CONFIG, "data": {**CONFIG["data"], "cohort": str(cohort)}}
    return Experiment.model_validate({**told, "training": {**CONFIG["training"], **training}})


def forecast_of(config: Experiment, *, measure: bool = True) -> Forecast:
    found = check_experiment(config, measure=measure).forecast
    assert found is not None
    return found


def test_it_counts_and_predicts(tiny_cohort: Path) -> None:
    found = forecast_of(experiment(tiny_cohort))
    assert (found.cases, found.train, found.validation, found.test) == (6, 2, 3, 1)
    assert found.steps == 70
    assert found.seconds_per_step is not None and found.minutes is not None
    assert found.minutes * 60 >= 70 * found.seconds_per_step
    assert 0 < (found.waiting or 0) < 1  # workers: 0, so that the network waits for each patch
    assert found.vram_gib is None
    assert 0.2 < found.peak_gib < 8


def test_the_cache_takes_what_was_told(tiny_cohort: Path, tmp_path: Path) -> None:
    config = experiment(tiny_cohort)
    cache = PreparedCache(tmp_path / "cache")
    prepare_cohort(config, split_cases(find_cases(config.data, ()), config.data), cache)
    told = forecast_of(config, measure=False).cache_gib * 2**30
    small = 5 * 8_000  # headers, and where structures are: next to nothing in a real cohort
    assert told <= cache.size_bytes() <= told + small


def test_the_first_limit_counts(tiny_cohort: Path) -> None:
    found = forecast_of(experiment(tiny_cohort, stop={"epochs": 100_000, "minutes": 0.05}))
    assert found.minutes == pytest.approx(0.05, rel=0.4)
    assert found.steps is not None and found.steps < 700_000


def test_without_measuring_time_is_not_told(tiny_cohort: Path) -> None:
    found = forecast_of(experiment(tiny_cohort), measure=False)
    assert found.seconds_per_step is None and found.minutes is None
    assert found.steps == 70
    assert found.peak_gib > 0.4


def test_structures_that_nobody_shows_are_told(tiny_cohort: Path) -> None:
    config = experiment(tiny_cohort)
    other = config.model_copy(update={"labels": {"bright": 1, "green": 9}})
    told = [str(finding) for finding in check_experiment(other, measure=False).findings]
    assert any("no case of the cohort shows green" in text for text in told), told


def test_the_command(tiny_cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "tiny.yaml"
    told = {**CONFIG, "data": {**CONFIG["data"], "cohort": str(tiny_cohort)}}
    path.write_text(yaml.safe_dump(told))
    assert app(["check", str(path)], standalone_mode=False) == 0
    out = capsys.readouterr().out
    assert all(text in out for text in ("tiny: ready", "6: 2 train", "70 steps", "of RAM", "in the cache"))
    assert app(["check", str(path), "--no-measure", "--json"], standalone_mode=False) == 0
    assert json.loads(capsys.readouterr().out)["seconds_per_step"] is None

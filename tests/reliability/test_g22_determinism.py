"""G22: the same seed gives the same bits: repeats, workers, a stop in between, the order of files on disk."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import product
from pathlib import Path

import pytest

from medseg.training import RunFolder
from support.training_runs import differences, ending, quick_experiment, steps_of, wait_for, write_config
from support.warm_start import WarmStart

ORDERS = ("written in order", "written backwards")
WORKERS = (0, 1, 2)
STOPS = (None, 13)
"""The step after which the run is stopped and resumed."""


@pytest.fixture(scope="module")
def cohorts(tmp_path_factory: pytest.TempPathFactory, write_tiny_cohort: Callable[..., Path]) -> list[Path]:
    place = tmp_path_factory.mktemp("cohorts")
    forwards, backwards = write_tiny_cohort(place / "forwards"), place / "elsewhere" / "backwards"
    for patient in sorted(forwards.iterdir(), reverse=True):
        (backwards / patient.name).mkdir(parents=True)
        for file in sorted(patient.iterdir(), reverse=True):
            shutil.copyfile(file, backwards / patient.name / file.name)
    return [forwards, backwards]


@pytest.fixture(scope="module", params=["1", "2"])
def machine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarmStart]:
    """A process whose sets and dictionaries have an order of their own, and whose cache is empty."""
    place = tmp_path_factory.mktemp("machine")
    hashes = {"PYTHONHASHSEED": request.param, "MEDSEG_CACHE": str(place / "cache")}
    with closing(WarmStart(place / "told.txt", **hashes)) as warm:
        yield warm


@pytest.fixture(scope="module")
def first() -> dict[str, RunFolder]:
    """The run that all others have to equal."""
    return {}


@pytest.mark.row("G22")
@pytest.mark.nightly
@pytest.mark.timeout(1200)
def test_the_same_bits(
    machine: WarmStart,
    cohorts: list[Path],
    first: dict[str, RunFolder],
    tmp_path: Path,
    counts: Callable[[int], None],
) -> None:
    runs = list(product(zip(ORDERS, cohorts, strict=True), WORKERS, STOPS))
    counts(len(runs))
    for number, ((order, cohort), workers, stop) in enumerate(runs):
        config = write_config(tmp_path / f"{number}.yaml", quick_experiment(cohort, workers=workers))
        run = RunFolder(tmp_path / f"run{number}")
        train(machine, config, run, stop)
        reference = first.setdefault("run", run)
        found = differences(ending(reference), ending(run))
        assert found == [], f"{order}, {workers} workers, stopped after {stop}: {found}"


def train(machine: WarmStart, config: Path, run: RunFolder, stop: int | None) -> None:
    command = ("train", config, "-o", run.path)
    process = machine.start(*command)
    if stop is not None:
        wait_for(lambda: steps_of(run) >= stop)
        os.killpg(process, signal.SIGTERM)
        code, told = machine.wait()
        assert code == 143, told
        machine.start(*command, "--resume")
    code, told = machine.wait()
    assert code == 0, told

"""G08: a training that is killed or stopped anywhere, and resumed, ends as one that nobody disturbed.

The real command line runs in a process of its own. Moments are drawn over the whole of it: start,
preparation, steps, validation, checkpoints, report.
"""

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from medseg.training import RunFolder
from support.training_runs import (
    Ending,
    differences,
    ending,
    quick_experiment,
    start_training,
    steps_of,
    wait_for,
    write_config,
)
from support.warm_start import WarmStart

KILL, TERM, INT = signal.SIGKILL, signal.SIGTERM, signal.SIGINT
LEAVES_WITHIN_SECONDS = 10
GOES_ON_FOR_EVER_SECONDS = 240


class Undisturbed(NamedTuple):
    config: Path
    run: RunFolder
    ending: Ending


@pytest.fixture(scope="module")
def undisturbed(
    warm: WarmStart, tmp_path_factory: pytest.TempPathFactory, write_tiny_cohort: Callable[..., Path]
) -> Undisturbed:
    place = tmp_path_factory.mktemp("killed")
    experiment = quick_experiment(write_tiny_cohort(place / "cohort"), checkpoint_minutes=0.1 / 60)
    config, run = write_config(place / "quick.yaml", experiment), RunFolder(place / "whole")
    warm.start("train", config, "-o", run.path)
    code, told = warm.wait()
    assert code == 0, told
    return Undisturbed(config, run, ending(run))


@pytest.mark.long
@pytest.mark.row("G08")
def test_killed_terminated_and_killed_again(
    warm: WarmStart, undisturbed: Undisturbed, tmp_path: Path, counts: Callable[[int], None]
) -> None:
    """One run, disturbed three times, each time with steps behind it that no checkpoint holds."""
    counts(3)
    run = RunFolder(tmp_path / "run")
    command = ("train", undisturbed.config, "-o", run.path, "--resume", "--set")
    for number, step, workers in ((KILL, 4, 0), (TERM, 14, 1), (KILL, 20, 0)):
        process = warm.start(*command, f"training.workers={workers}")
        wait_for(lambda step=step: steps_of(run) >= step)
        os.kill(process, number) if number == KILL else os.killpg(process, number)
        code, told = warm.wait(LEAVES_WITHIN_SECONDS)
        assert code == (-KILL if number == KILL else 128 + number), told
        assert number == KILL or "--resume" in told
        assert "Traceback" not in told
    warm.start(*command, "training.workers=0")
    code, told = warm.wait()
    assert code == 0, told
    same_as_undisturbed(run, undisturbed)


def same_as_undisturbed(run: RunFolder, whole: Undisturbed) -> None:
    assert differences(whole.ending, ending(run)) == []
    assert run.reported
    assert run.cases.read_text() == whole.run.cases.read_text()
    assert {path.name for path in run.path.rglob(".*")} <= {".running.lock"}, "no temporary file is left"


@pytest.fixture(scope="module")
def seconds_undisturbed(undisturbed: Undisturbed, tmp_path_factory: pytest.TempPathFactory) -> float:
    """From the first import to the report."""
    started = time.monotonic()
    process = start_training(undisturbed.config, tmp_path_factory.mktemp("timed") / "run")
    _, told = process.communicate(timeout=GOES_ON_FOR_EVER_SECONDS)
    assert process.returncode == 0, told
    return time.monotonic() - started


@pytest.mark.row("G08")
@pytest.mark.nightly
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("chain", range(5))
@pytest.mark.parametrize("numbers", [(KILL,) * 4, (TERM, INT)], ids=["killed", "stopped"])
def test_at_random_moments(
    numbers: tuple[int, ...],
    chain: int,
    undisturbed: Undisturbed,
    seconds_undisturbed: float,
    tmp_path: Path,
    counts: Callable[[int], None],
) -> None:
    """Each run is disturbed several times before it may finish, with another number of workers each time."""
    counts(len(numbers))
    rng = random.Random(f"{len(numbers)} {chain}")
    run = RunFolder(tmp_path / "run")
    for number in numbers:
        workers = rng.choice((0, 1, 2))
        disturb(undisturbed.config, run, number, rng.uniform(0.1, 1) * seconds_undisturbed, workers)
    process = start_training(undisturbed.config, run.path, "--resume")
    _, told = process.communicate(timeout=GOES_ON_FOR_EVER_SECONDS)
    assert process.returncode == 0, told
    same_as_undisturbed(run, undisturbed)


def disturb(config: Path, run: RunFolder, number: int, wait_seconds: float, workers: int) -> None:
    """Start or go on, and send the signal after a while; the process may be through by then."""
    process = start_training(config, run.path, "--resume", "--set", f"training.workers={workers}")
    time.sleep(wait_seconds)
    process.kill() if number == KILL else os.killpg(process.pid, number)
    _, told = process.communicate(timeout=LEAVES_WITHIN_SECONDS)
    if number == KILL:
        assert process.returncode in (-KILL, 0), told
    else:
        while_starting = process.returncode == -number or "KeyboardInterrupt" in told  # Python's own answer
        assert while_starting or process.returncode in (128 + number, 0), told
        assert while_starting or "Traceback" not in told

"""G09: killed at any system call that writes, a run keeps a checkpoint and a model that can be loaded.

A training that goes on is killed by strace when it enters its N-th write, fsync, rename, unlink or
truncation, for each N there is: of checkpoints, model file, manifest, metrics, TensorBoard, masks and report.
"""

import json
import os
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from medseg.config import Experiment
from medseg.modelfile import load_model
from medseg.training import Interrupted, RunFolder, Silent, Step
from medseg.training.state import Learner, unpack
from medseg.training.train import build_fabric, build_learner, train
from support.training_runs import Ending, differences, ending, quick_experiment, wait_for, write_config
from support.warm_start import WarmStart

CALLS = ("write", "fsync", "rename", "unlink", "ftruncate")
GO_ON_EVERY = 5
"""Of so many points one is also resumed, and has to end as if nothing had been."""

pytestmark = [pytest.mark.row("G09"), pytest.mark.nightly, pytest.mark.timeout(3600)]


class Half(NamedTuple):
    """A run stopped in the middle, the configuration it goes on with, and what that ends in."""

    run: RunFolder
    experiment: Experiment
    config: Path
    learner: Learner
    ending: Ending


class StopAt(Silent):
    def __init__(self, step: int) -> None:
        self.at = step

    def stepped(self, step: Step) -> None:
        if step.step == self.at:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarmStart]:
    with closing(WarmStart(tmp_path_factory.mktemp("warm") / "told.txt")) as warm:
        yield warm


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory, write_tiny_cohort: Callable[..., Path]) -> Half:
    place = tmp_path_factory.mktemp("writing")
    experiment = quick_experiment(
        write_tiny_cohort(place / "cohort"), stop={"epochs": 7}, validate_every=1, checkpoint_minutes=1e-9
    )
    whole, run = RunFolder(place / "whole"), RunFolder(place / "half")
    train(experiment, whole)
    with pytest.raises(Interrupted):
        train(experiment, run, listener=StopAt(7))
    learner = build_learner(build_fabric(experiment), experiment)
    return Half(run, experiment, write_config(place / "quick.yaml", experiment), learner, ending(whole))


def go_on(warm: WarmStart, half: Half, folder: Path, *strace: str) -> int:
    """Resume a copy of the half run under strace; its exit code."""
    shutil.copytree(half.run.path, folder)
    pid = warm.start("train", half.config, "-o", folder, "--resume", stopped=True)
    wait_for(lambda: "State:\tT" in status(pid))
    tracer = subprocess.Popen(
        ["strace", "-f", "-qq", "-p", str(pid), *strace], stderr=subprocess.PIPE, text=True
    )
    try:
        wait_for(lambda: tracer.poll() is not None or "TracerPid:\t0\n" not in status(pid), 20)
        if tracer.poll() is not None:
            os.kill(pid, signal.SIGKILL)
            warm.wait()
            pytest.skip(f"strace cannot attach to a process here: {tracer.stderr and tracer.stderr.read()}")
        os.kill(pid, signal.SIGCONT)
        code, told = warm.wait(240)
        assert code in (0, -signal.SIGKILL), told
        return code
    finally:
        tracer.communicate(timeout=20)


def status(pid: int) -> str:
    return Path(f"/proc/{pid}/status").read_text()


@pytest.fixture(scope="module")
def points(warm: WarmStart, half: Half, tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """How often a thread makes each call in a run that nobody disturbs."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    place = tmp_path_factory.mktemp("traced")
    log = place / "log"
    assert go_on(warm, half, place / "run", "-o", str(log), "-e", f"trace={','.join(CALLS)}") == 0
    calls: Counter[tuple[str, str]] = Counter()
    for line in log.read_text().splitlines():
        thread, told = line.split(maxsplit=1)
        calls[thread, told.split("(")[0]] += 1
    return {call: max(n for (_, name), n in calls.items() if name == call) for call in CALLS}


@pytest.mark.parametrize("call", CALLS)
def test_killed_at_every_call(
    call: str,
    points: dict[str, int],
    warm: WarmStart,
    half: Half,
    tmp_path: Path,
    counts: Callable[[int], None],
) -> None:
    assert points[call] > 0
    counts(points[call])
    for number in range(1, points[call] + 1):
        folder = tmp_path / f"run{number}"
        inject = ("-o", os.devnull, "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={number}")
        killed = go_on(warm, half, folder, *inject) != 0
        run = RunFolder(folder)
        require_whole(run, half)
        assert killed or number > points[call] - 3, "threads share the work in ways that differ a little"
        if number % GO_ON_EVERY == 0:
            train(half.experiment, run, resume=True)
            assert differences(half.ending, ending(run)) == []
        shutil.rmtree(folder)


def require_whole(run: RunFolder, half: Half) -> None:
    """Whatever has its name is whole; of the checkpoints there is at least one."""
    mark = half.run.read_manifest()["fingerprint"]
    assert run.checkpoints.files()
    for path in run.checkpoints.files():
        assert unpack(path, half.learner, mark).step >= 6
    load_model(run.model)
    assert json.loads(run.manifest.read_text())["fingerprint"] == mark
    *rows, last = run.metrics.read_text().split("\n")
    assert [json.loads(row) for row in rows]
    assert last == "" or not last.endswith("}")

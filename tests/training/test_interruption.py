"""Signals, as Ctrl-C, clusters and the kernel send them, to the real command line at every stage."""

import json
import os
import signal
import time
from pathlib import Path

import psutil
import pytest
import yaml
from safetensors import safe_open

from medseg.training import RunFolder
from support.training_runs import differences, ending, quick_experiment, steps_of, wait_for, write_config
from support.warm_start import WarmStart

LEAVES_WITHIN_SECONDS = 10
SLOW = {"window_size": [8, 8, 8], "overlap": 0.6}
"""Hundreds of windows a case: a validation takes a second or more."""


def stop(warm: WarmStart, process: int, number: int) -> str:
    """Send the signal to the whole job, as clusters do; what was told."""
    sent = time.monotonic()
    os.killpg(process, number)
    code, told = warm.wait(LEAVES_WITHIN_SECONDS)
    assert time.monotonic() - sent < LEAVES_WITHIN_SECONDS
    assert code == 128 + number, told
    assert f"stopped by {signal.Signals(number).name}; go on with: medseg train" in told
    assert "Traceback" not in told
    return told


def progress(run: RunFolder) -> dict[str, float]:
    with safe_open(run.checkpoints.files()[0], framework="pt") as file:
        found: dict[str, float] = json.loads(file.metadata()["progress"])
    return found


@pytest.mark.nightly
def test_stopped_in_validation_and_in_the_report(warm: WarmStart, tiny_cohort: Path, tmp_path: Path) -> None:
    experiment = quick_experiment(tiny_cohort, SLOW, stop={"epochs": 6}, workers=1)
    config = write_config(tmp_path / "quick.yaml", experiment)
    run, whole = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "whole")
    warm.start("train", config, "-o", whole.path)
    assert warm.wait()[0] == 0

    process = warm.start("train", config, "-o", run.path)
    wait_for(lambda: steps_of(run) >= 9)
    time.sleep(0.02)  # the first of two validations has begun
    told = stop(warm, process, signal.SIGTERM)
    assert f"-o {run.path} --resume" in told
    assert (progress(run)["step"], progress(run)["validated_step"]) == (9, 0)
    assert not run.model.exists()
    page = run.report.read_text(encoding="utf-8")
    assert "The training was interrupted at step 9: nothing is scored yet." in page
    assert "Training loss" in page

    process = warm.start("train", config, "-o", run.path, "--resume")
    wait_for(lambda: run.read_manifest().get("finished"))
    stop(warm, process, signal.SIGINT)
    assert not run.reported
    page = run.report.read_text(encoding="utf-8")
    assert "was interrupted before the scoring" in page or "The scoring was interrupted after " in page

    warm.start("train", config, "-o", run.path, "--resume")
    assert warm.wait()[0] == 0
    assert run.reported
    assert "was interrupted" not in run.report.read_text(encoding="utf-8")
    assert differences(ending(whole), ending(run)) == []
    assert run.cases.read_text() == whole.cases.read_text()


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_while_cases_are_prepared(number: int, warm: WarmStart, tmp_path: Path) -> None:
    """Simulated patients take seconds each; nothing waits for the one in hand."""
    settings = quick_experiment(tmp_path).model_dump(mode="json")
    settings["data"] = {"cohort": "phantom:pelvis_ct"}
    settings["labels"] = {"prostate": 1}
    config = tmp_path / "phantom.yaml"
    config.write_text(yaml.safe_dump(settings))
    run = RunFolder(tmp_path / "run")
    cache = str(tmp_path / "cache")  # where no patient is yet
    process = warm.start("train", config, "-o", run.path, "--set", "training.seed=3", MEDSEG_CACHE=cache)
    wait_for(run.path.joinpath(".running.json").exists)
    started = psutil.Process(process)
    wait_for(lambda: len(started.children(recursive=True)) > 1)
    simulators = started.children(recursive=True)
    told = stop(warm, process, number)
    assert not psutil.wait_procs(simulators, timeout=10)[1], "nothing is left running"
    assert "--set training.seed=3" in told
    assert not run.config.exists()


def test_workers_die_with_a_trainer_that_is_killed(
    warm: WarmStart, tiny_cohort: Path, tmp_path: Path
) -> None:
    experiment = quick_experiment(tiny_cohort, workers=2, stop={"epochs": 10_000})
    run = RunFolder(tmp_path / "run")
    process = warm.start("train", write_config(tmp_path / "quick.yaml", experiment), "-o", run.path)
    wait_for(lambda: steps_of(run) > 3)
    workers = psutil.Process(process).children(recursive=True)
    assert len(workers) == 2
    os.kill(process, signal.SIGKILL)
    assert warm.wait()[0] == -signal.SIGKILL
    _, alive = psutil.wait_procs(workers, timeout=5)
    assert alive == []
    with RunFolder(run.path).lock():
        pass  # nobody holds it any more


def test_a_worker_that_is_killed_is_named(warm: WarmStart, tiny_cohort: Path, tmp_path: Path) -> None:
    experiment = quick_experiment(tiny_cohort, workers=2, stop={"epochs": 10_000})
    run = RunFolder(tmp_path / "run")
    process = warm.start("train", write_config(tmp_path / "quick.yaml", experiment), "-o", run.path)
    wait_for(lambda: steps_of(run) > 3)
    psutil.Process(process).children(recursive=True)[0].kill()
    code, told = warm.wait()
    assert code == 4, told
    assert "error E703: a process that loads training data was killed" in told
    assert "Traceback" not in told


def test_a_second_training_is_told_who_holds_the_folder(
    warm: WarmStart, tiny_cohort: Path, tmp_path: Path
) -> None:
    config = write_config(tmp_path / "quick.yaml", quick_experiment(tiny_cohort))
    run = RunFolder(tmp_path / "run")
    with run.lock():
        warm.start("train", config, "-o", run.path, "--resume")
        code, told = warm.wait()
    assert code == 4, told
    assert f"error E707: {run.path}: in use by process {os.getpid()} on " in told

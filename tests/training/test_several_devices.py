"""Two processes on the CPU train as one with the joint batch."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
import torch

from medseg.config import Experiment, parse_experiment
from medseg.errors import ConfigError
from medseg.modelfile import load_model
from medseg.training import RunFolder
from medseg.training.train import train
from support.training_runs import plain_rows, quick_experiment, start_training, write_config


def experiment_of(cohort: Path, devices: int, **training: object) -> Experiment:
    settings = {"batch_size": 2, "optimizer": {"kind": "sgd", "momentum": 0.9}, **training}
    raw = quick_experiment(cohort, **settings).model_dump(mode="json")
    raw["model"]["dropout"] = 0.0
    raw["training"]["devices"] = devices
    return parse_experiment(raw, "quick")


def ended(process: subprocess.Popen[str]) -> str:
    """What it told; one that hangs is killed with the processes it started."""
    try:
        return process.communicate(timeout=120)[1]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return process.communicate()[1]


IN_A_SLURM_JOB = {
    "SLURM_JOB_ID": "7",
    "SLURM_JOB_NAME": "fold_0",
    "SLURM_NTASKS": "1",
    "SLURM_NTASKS_PER_NODE": "1",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
}


@pytest.mark.nightly
@pytest.mark.parametrize("surroundings", [{}, IN_A_SLURM_JOB], ids=["plain", "slurm"])
def test_two_processes_equal_one_with_the_joint_batch(
    surroundings: dict[str, str], tiny_cohort: Path, tmp_path: Path
) -> None:
    alone, both = RunFolder(tmp_path / "alone"), RunFolder(tmp_path / "both")
    short: dict[str, object] = {"stop": {"epochs": 2}, "precision": "fp32"}
    train(experiment_of(tiny_cohort, 1, **short), alone)
    config = write_config(tmp_path / "config.yaml", experiment_of(tiny_cohort, 2, **short))
    process = start_training(config, both.path, OMP_NUM_THREADS="1", **surroundings)
    told = ended(process)
    assert process.returncode == 0, told
    assert "srun" not in told
    ends = [(load_model(run.model).weights, plain_rows(run)) for run in (alone, both)]
    (one, rows_of_one), (two, rows_of_two) = ends
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=1e-4, rtol=1e-3)
    losses = [[row["loss"] for row in rows if "loss" in row] for rows in (rows_of_one, rows_of_two)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


@pytest.mark.nightly
def test_both_stop_at_one_step_and_go_on(tiny_cohort: Path, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    config = write_config(tmp_path / "config.yaml", experiment_of(tiny_cohort, 2, stop={"epochs": 400}))
    process = start_training(config, run.path, OMP_NUM_THREADS="1")
    while not (run.metrics.is_file() and len(run.read_history()) > 5):
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)
    told = ended(process)
    assert process.returncode == 130, told
    assert "go on with" in told
    assert run.checkpoints.files()
    again = start_training(config, run.path, "--resume", OMP_NUM_THREADS="1")
    while "going on from step" not in (again.stderr.readline() if again.stderr else ""):
        assert again.poll() is None
    os.killpg(again.pid, signal.SIGKILL)
    again.communicate()


def test_a_batch_that_does_not_divide_is_refused(tiny_cohort: Path) -> None:
    with pytest.raises(ConfigError, match="batch_size 2 does not divide by devices 3"):
        experiment_of(tiny_cohort, 3)

"""Training end to end on a tiny cohort: repeatable to the bit, resumable, and honest when it fails."""

import json
from pathlib import Path

import pytest
import torch

from medseg.config import Experiment, parse_experiment
from medseg.errors import CohortError, ModelFileError, TrainingError, UsageError
from medseg.modelfile import load_model
from medseg.training import Interrupted, RunFolder, Silent, Step, train


def tiny_experiment(cohort: Path, **training: object) -> Experiment:
    raw = {
        "name": "tiny",
        "labels": {"bright": 1, "dark": 2},
        "data": {"cohort": str(cohort), "held_out": 1, "folds": 2},
        "preprocessing": {
            "spacing_mm": [2, 2, 3],
            "intensity": {"kind": "window", "center": 0, "width": 600},
        },
        "augmentation": [
            {"kind": "spatial", "p": 0.5, "elastic": {"points": 4, "max_mm": 2}},
            {"kind": "noise"},
            {"kind": "flip"},
        ],
        "sampling": {"patch_size": [16, 16, 8]},
        "model": {"kind": "unet", "channels": [8, 16, 16], "dropout": 0.2},
        "training": {
            "stop": {"epochs": 4},
            "steps_per_epoch": 3,
            "batch_size": 2,
            "validate_every": 2,
            "learning_rate": 0.01,
            "workers": 0,
            "precision": "fp32",
            **training,
        },
    }
    return parse_experiment(raw, "tiny")


def weights(run: RunFolder) -> dict[str, torch.Tensor]:
    return load_model(run.model).weights


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def plain_rows(run: RunFolder) -> list[dict[str, object]]:
    """metrics.jsonl without the clock."""
    return [{k: v for k, v in row.items() if k not in ("seconds", "waiting")} for row in run.read_history()]


def test_same_seed_same_weights_with_0_and_2_workers(tiny_cohort: Path, tmp_path: Path) -> None:
    runs = []
    for workers in (0, 2, 0):
        run = RunFolder(tmp_path / f"run{len(runs)}")
        train(tiny_experiment(tiny_cohort, workers=workers), run)
        runs.append(run)
    assert same(weights(runs[0]), weights(runs[1]))
    assert same(weights(runs[0]), weights(runs[2]))
    assert plain_rows(runs[0]) == plain_rows(runs[1]) == plain_rows(runs[2])
    other = RunFolder(tmp_path / "other_seed")
    train(tiny_experiment(tiny_cohort, seed=1), other)
    assert not same(weights(runs[0]), weights(other))


class StopAt(Silent):
    """Sends this process the INT signal after a step, as Ctrl-C does."""

    def __init__(self, step: int) -> None:
        self.at = step

    def stepped(self, step: Step) -> None:
        if step.step == self.at:
            import os
            import signal

            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("stop", [1, 5, 6])
def test_interrupted_and_resumed_ends_in_the_same_weights_and_log(
    stop: int, tiny_cohort: Path, tmp_path: Path
) -> None:
    experiment = tiny_experiment(tiny_cohort)
    whole, parted = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "parted")
    train(experiment, whole)
    with pytest.raises(Interrupted) as stopped:
        train(experiment, parted, listener=StopAt(stop))
    assert stopped.value.exit_code == 130
    assert not parted.read_manifest()["finished"]
    train(experiment, parted, resume=True)
    assert same(weights(whole), weights(parted))
    assert plain_rows(whole) == plain_rows(parted)
    assert parted.read_manifest()["finished"]
    assert whole.checkpoint.stat().st_size == parted.checkpoint.stat().st_size


def test_learns_the_tiny_cohort(tiny_cohort: Path, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    trained = train(tiny_experiment(tiny_cohort, stop={"epochs": 60}, validate_every=30), run)
    assert trained.progress.best_dice > 0.8
    manifest = run.read_manifest()
    assert manifest["finished"]
    assert set(manifest["data"]) == {"train", "validation", "test"}
    assert {"torch", "medseg", "torchio"} <= set(manifest["packages"])
    for line in run.metrics.read_text().splitlines():
        json.loads(line)


def test_gradient_accumulation_equals_the_joint_batch(tiny_cohort: Path, tmp_path: Path) -> None:
    """Cross-entropy is a mean over voxels, so two batches of one weigh as one batch of two."""
    runs = []
    for size, accumulate in ((2, 1), (1, 2)):
        run = RunFolder(tmp_path / f"b{size}")
        experiment = tiny_experiment(
            tiny_cohort,
            loss="ce",
            batch_size=size,
            accumulate=accumulate,
            optimizer={"kind": "sgd", "momentum": 0},
        )
        plain = experiment.model_copy(update={"model": experiment.model.model_copy(update={"dropout": 0.0})})
        train(plain, run)
        runs.append(weights(run))
    for name, value in runs[0].items():
        torch.testing.assert_close(value, runs[1][name], atol=1e-5, rtol=1e-4)


def test_patience_stops_early(tiny_cohort: Path, tmp_path: Path) -> None:
    experiment = tiny_experiment(
        tiny_cohort, stop={"epochs": 50, "patience": 2}, learning_rate=1e-12, validate_every=1, ema=None
    )
    trained = train(experiment, RunFolder(tmp_path / "run"))
    assert trained.progress.step == 9, "one validation that is the best, and two that are no better"


def test_non_finite_loss_names_epoch_step_and_cases(tiny_cohort: Path, tmp_path: Path) -> None:
    experiment = tiny_experiment(
        tiny_cohort, learning_rate=1e30, optimizer={"kind": "sgd", "momentum": 0}, clip_norm=None, warmup=0
    )
    with pytest.raises(TrainingError, match=r"epoch \d, step \d+: the loss is (nan|inf) \(cases p\d"):
        train(experiment, RunFolder(tmp_path / "run"))


def test_a_run_is_neither_overwritten_nor_resumed_with_other_settings(
    tiny_cohort: Path, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "run")
    train(tiny_experiment(tiny_cohort), run)
    with pytest.raises(UsageError, match="holds a run already"):
        train(tiny_experiment(tiny_cohort), run)
    with pytest.raises(ModelFileError, match="changed since"):
        train(tiny_experiment(tiny_cohort, learning_rate=0.02), run, resume=True)
    with pytest.raises(UsageError, match="no checkpoint"):
        train(tiny_experiment(tiny_cohort), RunFolder(tmp_path / "none"), resume=True)
    run.checkpoint.write_bytes(run.checkpoint.read_bytes()[:1000])
    with pytest.raises(ModelFileError, match="damaged checkpoint"):
        train(tiny_experiment(tiny_cohort), run, resume=True)


def test_a_structure_that_no_case_shows_is_refused(tiny_cohort: Path, tmp_path: Path) -> None:
    experiment = tiny_experiment(tiny_cohort)
    wrong = experiment.model_copy(update={"labels": {"bright": 1, "dark": 7}})
    with pytest.raises(CohortError, match=r"no training case has a voxel of dark \(value 7\)"):
        train(wrong, RunFolder(tmp_path / "run"))


@pytest.mark.parametrize("dims", ["2d", "2.5d", "vnet"])
def test_other_networks_train_through_the_same_path(dims: str, tiny_cohort: Path, tmp_path: Path) -> None:
    models = {
        "2d": ({"kind": "unet", "spatial_dims": 2, "channels": [4, 8]}, [16, 16, 1]),
        "2.5d": ({"kind": "unet", "spatial_dims": 2, "neighbours": 1, "channels": [4, 8]}, [16, 16, 4]),
        "vnet": (
            {"kind": "vnet", "channels": [4, 8], "kernel": 3, "blocks": [1, 1], "decoder_blocks": [1]},
            [16, 16, 8],
        ),
    }
    model, patch = models[dims]
    raw = tiny_experiment(tiny_cohort).model_dump(mode="json")
    raw |= {"model": model, "sampling": {"patch_size": patch}}
    run = RunFolder(tmp_path / "run")
    trained = train(parse_experiment(raw, dims), run)
    assert trained.progress.best_step > 0
    assert run.model.is_file()


def test_a_term_signal_to_the_whole_job_saves_and_leaves(tiny_cohort: Path, tmp_path: Path) -> None:
    """As clusters send it: to the trainer and to its workers."""
    import os
    import signal
    import subprocess
    import sys
    import time

    import yaml

    experiment = tiny_experiment(tiny_cohort, stop={"epochs": 10_000}, workers=1)
    config = tmp_path / "tiny.yaml"
    config.write_text(yaml.safe_dump(experiment.model_dump(mode="json")))
    run = RunFolder(tmp_path / "run")
    command = [sys.executable, "-m", "medseg", "train", str(config), "-o", str(run.path)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    give_up = time.monotonic() + 120
    while not run.read_history() and time.monotonic() < give_up:
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGTERM)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 143, told
    assert "--resume" in told
    assert "Traceback" not in told
    assert run.checkpoint.is_file()

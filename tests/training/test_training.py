"""Training end to end on a tiny cohort: repeatable to the bit, resumable, and honest when it fails."""

import json
from pathlib import Path

import pytest
import torch

from medseg.config import parse_experiment
from medseg.errors import CohortError, ModelFileError, TrainingError, UsageError
from medseg.modelfile import load_model
from medseg.training import Interrupted, RunFolder
from medseg.training.train import train
from support.training_runs import StopAt, differences, ending, quick_experiment, tiny_experiment


def weights(run: RunFolder) -> dict[str, torch.Tensor]:
    return load_model(run.model).weights


@pytest.mark.long
def test_same_seed_same_weights_with_0_and_2_workers(tiny_cohort: Path, tmp_path: Path) -> None:
    endings = []
    for workers, more in ((0, {}), (2, {"checkpoint_minutes": 1e-9}), (0, {"seed": 1})):
        run = RunFolder(tmp_path / f"run{len(endings)}")
        settings = {"stop": {"epochs": 4}, "validate_every": 2, "batch_size": 2, "workers": workers, **more}
        train(quick_experiment(tiny_cohort, **settings), run)
        endings.append(ending(run))
    assert differences(endings[0], endings[1]) == []
    assert len(differences(endings[0], endings[2])) > len(endings[0].model)


@pytest.mark.parametrize("stop", [*(pytest.param(n, marks=pytest.mark.nightly) for n in (1, 6)), 5])
def test_interrupted_and_resumed_ends_in_the_same_weights_and_log(
    stop: int, tiny_cohort: Path, tmp_path: Path
) -> None:
    experiment = quick_experiment(tiny_cohort, stop={"epochs": 4}, batch_size=2, validate_every=2)
    whole, parted = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "parted")
    train(experiment, whole)
    with pytest.raises(Interrupted) as stopped:
        train(experiment, parted, listener=StopAt(stop))
    assert stopped.value.exit_code == 130
    assert not parted.read_manifest()["finished"]
    train(experiment, parted, resume=True)
    assert differences(ending(whole), ending(parted)) == []
    assert parted.read_manifest()["finished"]


@pytest.mark.nightly
def test_learns_the_tiny_cohort(tiny_cohort: Path, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    trained = train(tiny_experiment(tiny_cohort, stop={"epochs": 60}, validate_every=30), run)
    assert trained.progress.best_dice > 0.8
    assert not trained.note
    manifest = run.read_manifest()
    assert manifest["finished"]
    assert set(manifest["data"]) == {"files", "train", "validation", "test"}
    assert {"torch", "medseg", "torchio"} <= set(manifest["packages"])
    for line in run.metrics.read_text().splitlines():
        json.loads(line)


def test_it_is_told_that_the_clock_ended_it(tiny_cohort: Path, tmp_path: Path) -> None:
    stop = {"epochs": 100_000, "minutes": 0.01}
    trained = train(quick_experiment(tiny_cohort, stop=stop), RunFolder(tmp_path / "run"))
    assert f"0.01 minutes were over after {trained.progress.step} of 300000 steps" in trained.note


def test_gradient_accumulation_equals_the_joint_batch(tiny_cohort: Path, tmp_path: Path) -> None:
    """Cross-entropy is a mean over voxels, so two batches of one weigh as one batch of two."""
    runs = []
    for size, accumulate in ((2, 1), (1, 2)):
        run = RunFolder(tmp_path / f"b{size}")
        experiment = quick_experiment(
            tiny_cohort,
            stop={"epochs": 4},
            loss="ce",
            batch_size=size,
            accumulate=accumulate,
            optimizer={"kind": "sgd", "momentum": 0},
        )
        plain = experiment.model_copy(update={"model": experiment.model.model_copy(update={"dropout": 0.0})})
        train(plain, run)
        runs.append(weights(run))
    for name, value in runs[0].items():
        torch.testing.assert_close(value, runs[1][name], atol=1e-4, rtol=1e-3)


def test_patience_stops_early(tiny_cohort: Path, tmp_path: Path) -> None:
    experiment = quick_experiment(
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

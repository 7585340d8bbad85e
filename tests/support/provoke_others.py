"""For each code but a volume's, what brings it about, through the functions or the command of a user."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from medseg.batch.merge import read_shard
from medseg.cli.app import app
from medseg.config import DataConfig, Experiment, load_experiment, parse_experiment
from medseg.convert.nnunet_network import model_settings
from medseg.data import (
    Case,
    PreparedCache,
    Split,
    find_cases,
    find_patients,
    load_case,
    split_cases,
)
from medseg.errors import Code
from medseg.evaluation import match_pairs
from medseg.evaluation.files import read_cases_csv
from medseg.files import write_bytes_atomically
from medseg.inference.device import choose_device
from medseg.io import write_volume
from medseg.modelfile import ModelFile, load_model, load_network, save_model
from medseg.models import build_network
from medseg.planning import Naming, look_at_cohort
from medseg.shipped import read_card
from medseg.training import RunFolder
from medseg.training.prepare import PreparedCase, open_prepared, prepare_cohort
from medseg.training.state import Learner, Progress, pack
from medseg.training.train import train
from medseg.transforms import Preprocessing, fit_preprocessing
from medseg.volume import Geometry, Volume
from support.compared import scored, structure, write
from support.malicious import safetensors, with_metadata, written
from support.oracle import write_oracle

SHIPPED = Path(__file__).resolve().parents[2] / "configs" / "prostate_ct.yaml"
GRID = Geometry((8, 8, 8), np.diag([2.0, 2, 2, 1]))
Provoke = Callable[[Path], object]


def command(*arguments: str) -> Provoke:
    """The command line, in the folder."""

    def provoke(folder: Path) -> object:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            patch.delenv("MEDSEG_MODEL", raising=False)
            return app(list(arguments), standalone_mode=False)

    return provoke


def scan(path: Path, value: int = 100, structure: int = 1) -> Path:
    """An image with a brighter cube; or the cube alone, as a label."""
    values = np.zeros((8, 8, 8), np.int16)
    values[2:6, 2:6, 2:6] = structure if value == 0 else value
    write_volume(Volume(values, GRID), path)
    return path


def cohort(folder: Path, count: int = 4) -> Path:
    for number in range(count):
        scan(folder / f"cohort/p{number}/ct.nii.gz", 100 + number)
        scan(folder / f"cohort/p{number}/label.nii.gz", 0)
    return folder / "cohort"


def experiment(folder: Path, **changes: Any) -> Experiment:
    raw: dict[str, Any] = {
        "name": "tiny",
        "labels": {"organ": 1},
        "data": {"cohort": str(folder / "cohort"), "held_out": 0, "folds": 2},
        "preprocessing": {
            "spacing_mm": [2, 2, 2],
            "intensity": {"kind": "window", "center": 50, "width": 100},
        },
        "sampling": {"patch_size": [8, 8, 8]},
        "model": {"kind": "unet", "channels": [2, 2]},
        "training": {"stop": {"epochs": 20}, "steps_per_epoch": 2, "workers": 0, "device": "cpu"},
    }
    for key, value in changes.items():
        raw[key] = {**raw[key], **value} if isinstance(raw[key], dict) and key != "labels" else value
    return parse_experiment(raw, "tiny")


def prepare(folder: Path, **changes: Any) -> object:
    cohort(folder)
    told = experiment(folder, **changes)
    split = split_cases(find_cases(told.data, tuple(told.labels)), told.data)
    return prepare_cohort(told, split, PreparedCache(folder / "cache"))


def model(folder: Path, change: Callable[[bytes], bytes] = lambda data: data) -> Path:
    path = write_oracle(folder / "model.safetensors")
    path.write_bytes(change(path.read_bytes()))
    return path


def _same_name(folder: Path) -> object:
    for side in ("a", "b"):
        scan(folder / side / "ct.nii.gz")
    write_oracle(folder / "m.safetensors")
    return command("infer", "a/ct.nii.gz", "b/ct.nii.gz", "--model", "m.safetensors", "-o", "out")(folder)


def _without_label(folder: Path) -> object:
    case = Case("p0", (scan(folder / "ct.nii.gz"),))
    return prepare_cohort(experiment(folder), Split((case,), (), ()), PreparedCache(folder / "cache"))


def _one_value(folder: Path) -> object:
    case = Case("p0", (scan(folder / "ct.nii.gz"),), scan(folder / "label.nii.gz", 0))
    told = experiment(folder, preprocessing={"intensity": {"kind": "fitted"}})
    return fit_preprocessing(told.preprocessing, [load_case(case, told.labels)])


def _blank(folder: Path) -> object:
    told = experiment(folder, preprocessing={"intensity": {"kind": "zscore"}}).preprocessing
    empty = Volume(np.zeros((8, 8, 8), np.int16), GRID)
    return Preprocessing(told, fit_preprocessing(told, []))([empty])


def _learner() -> Learner:
    network = nn.Linear(2, 1)
    return Learner(network, torch.optim.AdamW(network.parameters()), None)


def _checkpoint(folder: Path, change: Callable[[bytes], bytes], mark: str) -> object:
    run = RunFolder(folder)
    written(run.checkpoints.folder, "step-00000001.safetensors", change(pack(_learner(), Progress(), "mark")))
    return run.checkpoints.restore(_learner(), mark)


def _no_checkpoint(folder: Path) -> object:
    run = RunFolder(folder)
    run.write_manifest({"finished": True})
    run.require_usable(resume=True)
    return None


def _loss(folder: Path) -> object:
    cohort(folder)
    wild = {
        "learning_rate": 1e30,
        "optimizer": {"kind": "sgd", "momentum": 0},
        "clip_norm": None,
        "warmup": 0,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDSEG_CACHE", str(folder / "cache"))
        return train(experiment(folder, training=wild), RunFolder(folder / "run"))


def _full_disk(folder: Path) -> object:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", full)
        write_bytes_atomically(folder / "a", b"a")
    return None


def _foreign_network(_: Path) -> object:
    from medseg.convert.nnunet_axes import network_axes
    from medseg.convert.nnunet_plans import Architecture
    from support.nnunet import architecture

    told = architecture()
    told["network_class_name"] = "their.own.SurpriseNet"
    axes = network_axes("RAS", (0, 1, 2), 3)
    return model_settings(Architecture.model_validate(told), axes)


def _other_references(folder: Path) -> object:
    """Two evaluations whose references are not the same."""
    for run in ("one", "two"):
        write(folder / run, scored("p0", structure("organ", 0.8, tag=run)))
    return command("compare", "one", "two")(folder)


def _mixed_labels(folder: Path) -> object:
    for patient, value in enumerate((1, 1, 255)):
        place = folder / "cohort" / f"p{patient}"
        place.mkdir(parents=True)
        label = np.zeros(GRID.shape, np.uint8)
        label[2:5, 2:5, 2:5] = value
        write_volume(Volume(np.zeros(GRID.shape, np.int16), GRID), place / "ct.nii.gz")
        write_volume(Volume(label, GRID), place / "label.nii.gz")
    return look_at_cohort(DataConfig(cohort=str(folder / "cohort")), Naming())


def _too_many(folder: Path) -> object:
    return load_case(Case("p0", (folder / "ct.nii.gz",)), {f"s{n}": n for n in range(1, 300)})


OTHERS: dict[Code, Provoke] = {
    Code.OPTION: lambda _: choose_device("tpu"),
    Code.INPUT_NOT_FOUND: lambda folder: find_patients(folder / "none"),
    Code.NO_MODEL: command("infer", "ct.nii.gz"),
    Code.SAME_NAME: _same_name,
    Code.RUN_FOLDER: lambda folder: (
        written(folder, "config.yaml", "a: 1"),
        RunFolder(folder).require_usable(resume=False),
    ),
    Code.CONFIG_FILE: lambda folder: load_experiment(folder / "none.yaml"),
    Code.CONFIG_SYNTAX: lambda folder: load_experiment(written(folder, "a.yaml", "a: [")),
    Code.CONFIG_VALUE: lambda _: load_experiment(SHIPPED, ["training.stop.epoch=3"]),
    Code.CONFIG_OVERRIDE: lambda _: load_experiment(SHIPPED, ["training.stop"]),
    Code.CONFIG_NETWORK: lambda folder: build_network(
        experiment(
            folder, model={"kind": "unet", "channels": [2] * 3, "strides": [[1] * 3, [2] * 3, [2] * 3]}
        ).model,
        in_channels=1,
        classes=2,
        patch_size=(6, 6, 6),
    ),
    Code.COHORT_NOT_FOUND: lambda folder: find_cases(DataConfig(cohort=str(folder / "none")), ("a",)),
    Code.COHORT_FORM: lambda folder: find_cases(
        DataConfig(cohort=str(written(folder, "cohort.docx", "a"))), ("a",)
    ),
    Code.COHORT_TABLE: lambda folder: find_cases(
        DataConfig(cohort=str(written(folder, "cohort.csv", b"\xff"))), ("a",)
    ),
    Code.COHORT_CASES: lambda folder: find_cases(
        DataConfig(cohort=str(written(folder, "cohort.csv", "case,image,label\np0,a.nii,b.nii\n"))), ("a",)
    ),
    Code.NO_SCAN: find_patients,
    Code.CHANNELS: lambda folder: find_patients(scan(folder / "ct.nii.gz"), {"t1": "*_t1*", "t2": "*_t2*"}),
    Code.NO_LABEL: _without_label,
    Code.TOO_FEW_CASES: lambda _: split_cases([], DataConfig(cohort="a")),
    Code.NOTHING_TO_LEARN: lambda folder: prepare(folder, labels={"organ": 1, "other": 7}),
    Code.CANNOT_FIT: _one_value,
    Code.PAIRING: lambda folder: match_pairs(
        scan(folder / "a" / "p1.nii.gz").parent, scan(folder / "b" / "p2.nii.gz").parent
    ),
    Code.SCORES_TABLE: lambda folder: read_cases_csv(written(folder, "cases.csv", "a,b\n1,2\n")),
    Code.CACHE_VANISHED: lambda folder: open_prepared(
        PreparedCase("p0", "0123456789", (True, True)), PreparedCache(folder)
    ),
    Code.CASE_ID: lambda folder: Case("../p0", (folder,)),
    Code.TOO_MANY_CLASSES: _too_many,
    Code.MIXED_LABELS: _mixed_labels,
    Code.SHARD: read_shard,
    Code.NOT_COMPARABLE: _other_references,
    Code.BLANK: _blank,
    Code.NO_MODEL_FILE: lambda folder: load_model(folder / "none.safetensors"),
    Code.MODEL_FOREIGN: lambda folder: load_model(written(folder, "a.pt", b"a pickle, perhaps")),
    Code.MODEL_DAMAGED: lambda folder: load_model(model(folder, lambda data: data[:-4])),
    Code.MODEL_NEWER: lambda folder: load_model(
        written(
            folder, "a.safetensors", safetensors({"__metadata__": {"medseg": json.dumps({"format": 99})}})
        )
    ),
    Code.MODEL_MISFIT: lambda folder: load_network(
        load_model(model(folder, lambda data: with_metadata(data, _narrower)))
    ),
    Code.MODEL_CONTENT: lambda folder: save_model(
        folder / "m.safetensors",
        ModelFile(experiment(folder), {}, {"who": {1, 2}}, {"a": torch.zeros(1)}),
    ),
    Code.MODEL_UNSUPPORTED: _foreign_network,
    Code.NO_CARD: lambda folder: read_card(folder / "none.json"),
    Code.NO_CHECKPOINT: _no_checkpoint,
    Code.CHECKPOINT_DAMAGED: lambda folder: _checkpoint(folder, lambda data: data[:-4], "mark"),
    Code.CHECKPOINT_OTHER: lambda folder: _checkpoint(folder, lambda data: data, "another"),
    Code.LOSS: _loss,
    Code.DISK_FULL: _full_disk,
    Code.CANNOT_WRITE: lambda folder: write_bytes_atomically(written(folder, "a", "") / "b", b"b"),
    Code.DEVICE: lambda _: choose_device("mps"),
    Code.CANNOT_READ: lambda _: load_model(Path("/proc/self/mem")),
}


def _narrower(told: dict[str, Any]) -> None:
    told["experiment"]["labels"] = {"organ_1": 1}

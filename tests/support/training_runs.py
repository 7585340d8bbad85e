"""Tiny trainings: their configuration, the command line that runs them, and what they end in."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import safe_open

from medseg.config import Experiment, parse_experiment
from medseg.modelfile import load_model
from medseg.training import RunFolder, Silent, Step

CLOCK = ("seconds", "waiting", "steps_per_second", "log_bytes")
"""What tells of time, or follows from its digits; all else repeats bit for bit."""


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


def quick_experiment(
    cohort: Path, inference: dict[str, object] | None = None, **training: object
) -> Experiment:
    """36 steps and four validations in about a second."""
    settings: dict[str, object] = {"stop": {"epochs": 12}, "validate_every": 3, "batch_size": 1, **training}
    raw = tiny_experiment(cohort, **settings).model_dump(mode="json")
    raw["model"] = {"kind": "unet", "channels": [4, 8], "dropout": 0.2}
    raw["sampling"] = {"patch_size": [8, 8, 8]}
    raw["inference"] = inference or {"window_size": [24, 24, 16]}
    return parse_experiment(raw, "quick")


def write_config(path: Path, experiment: Experiment) -> Path:
    path.write_text(yaml.safe_dump(experiment.model_dump(mode="json")))
    return path


def start_training(config: Path, run: Path, *more: str, **env: str) -> subprocess.Popen[str]:
    """``medseg train CONFIG -o RUN`` in a process group of its own; standard error is read by the caller."""
    command = [sys.executable, "-m", "medseg", "train", str(config), "-o", str(run), *more]
    return subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, **env},
    )


class StopAt(Silent):
    """Sends this process the INT signal after a step, as Ctrl-C does."""

    def __init__(self, step: int) -> None:
        self.at = step

    def stepped(self, step: Step) -> None:
        if step.step == self.at:
            os.kill(os.getpid(), signal.SIGINT)


@dataclass(frozen=True, eq=False)
class Ending:
    """All that a training leaves, without the clock."""

    model: dict[str, torch.Tensor]
    checkpoint: dict[str, torch.Tensor]
    """Weights, optimiser and moving average."""
    told: dict[str, Any]
    """Progress, learning rates and the like, from the checkpoint's header."""
    rows: list[dict[str, Any]] = field(default_factory=list)
    """metrics.jsonl"""


def ending(run: RunFolder) -> Ending:
    with safe_open(run.checkpoints.files()[0], framework="pt") as file:
        header = file.metadata()
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    told = {name: json.loads(header[name]) for name in ("progress", "groups", "scalars")}
    told["progress"] = _without_clock(told["progress"])
    return Ending(load_model(run.model).weights, tensors, told, plain_rows(run))


def differences(a: Ending, b: Ending) -> list[str]:
    """Names of what differs in one bit; none when the trainings are the same."""
    found = [name for name in ("told", "rows") if asdict(a)[name] != asdict(b)[name]]
    for what in ("model", "checkpoint"):
        ours, theirs = getattr(a, what), getattr(b, what)
        found += [f"{what}: {name}" for name in sorted(ours.keys() ^ theirs.keys())]
        found += [
            f"{what}: {name}"
            for name in sorted(ours.keys() & theirs.keys())
            if not _equal(ours[name], theirs[name])
        ]
    return found


def plain_rows(run: RunFolder) -> list[dict[str, Any]]:
    """metrics.jsonl without the clock; every line has to be whole."""
    return [_without_clock(json.loads(line)) for line in run.metrics.read_text().splitlines()]


def wait_for(what: Callable[[], object], seconds: float = 120) -> None:
    """Until ``what`` gives something true."""
    give_up = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < give_up, f"waited {seconds} s in vain"
        time.sleep(0.01)


def steps_of(run: RunFolder) -> int:
    """Steps in the log so far."""
    return max((int(row.get("step", 0)) for row in run.read_history()), default=0)


def _without_clock(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in CLOCK}


def _equal(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Bit by bit: 0.0 is not -0.0, and NaN is itself."""
    if (a.dtype, a.shape) != (b.dtype, b.shape):
        return False
    return bool(torch.equal(a.reshape(-1).view(torch.uint8), b.reshape(-1).view(torch.uint8)))

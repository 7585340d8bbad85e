"""The folder of one training run, and the record of how it came about."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from medseg.config import Experiment, dump_experiment
from medseg.errors import Code, UsageError
from medseg.files import write_json_atomically, write_text_atomically

_PACKAGES = (
    "medseg",
    "torch",
    "monai",
    "torchio",
    "lightning-fabric",
    "numpy",
    "nibabel",
    "SimpleITK",
    "pydicom",
)


class RunFolder:
    """Names of the files of a run; see the README for what each holds."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.manifest = path / "manifest.json"
        self.metrics = path / "metrics.jsonl"
        self.model = path / "model.safetensors"
        self.checkpoint = path / "checkpoints" / "last.safetensors"
        self.predictions = path / "predictions"
        self.report = path / "report.html"
        self.cases = path / "cases.csv"
        self.summary = path / "summary.json"

    def require_usable(self, *, resume: bool) -> None:
        """Refuse a folder that holds a run when ``resume`` is off, and one that holds none when it is on."""
        if resume and not self.checkpoint.is_file():
            raise UsageError(
                Code.RUN_FOLDER, f"{self.path}: no checkpoint to resume from: train without --resume"
            )
        if not resume and self.config.exists():
            raise UsageError(
                Code.RUN_FOLDER,
                f"{self.path}: holds a run already: add --resume to go on, or give another -o",
            )

    def write_config(self, experiment: Experiment) -> None:
        """The resolved configuration."""
        write_text_atomically(self.config, dump_experiment(experiment))

    def write_manifest(self, record: Mapping[str, Any]) -> None:
        write_json_atomically(self.manifest, record)

    def read_manifest(self) -> dict[str, Any]:
        try:
            record = json.loads(self.manifest.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return record if isinstance(record, dict) else {}

    def read_history(self) -> list[dict[str, Any]]:
        """Rows of metrics.jsonl; a last line cut by a crash is left out."""
        if not self.metrics.is_file():
            return []
        rows = []
        for line in self.metrics.read_text(encoding="utf-8").splitlines():
            try:
                rows.append(json.loads(line))
            except ValueError:
                break
        return rows


def new_run_folder(name: str, runs: Path = Path("runs")) -> Path:
    """``runs/<name>-<date>-<time>``, a name that is not taken."""
    stamp = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    folder, count = runs / f"{name}-{stamp}", 2
    while folder.exists():
        folder, count = runs / f"{name}-{stamp}-{count}", count + 1
    return folder


def find_runs(runs: Path = Path("runs")) -> list[RunFolder]:
    """Runs under ``runs``, newest first."""
    found = [p for p in runs.glob("*/config.yaml") if p.is_file()] if runs.is_dir() else []
    return [RunFolder(p.parent) for p in sorted(found, key=lambda p: p.stat().st_mtime, reverse=True)]


def fingerprint(experiment: Experiment, case_keys: Iterable[str]) -> str:
    """Hash of what decides the weights: configuration (but not when to stop, or where) and data."""
    settings = experiment.model_dump(
        mode="json", exclude={"description": True, "inference": True, "evaluation": True}
    )
    for key in ("device", "workers"):
        settings["training"].pop(key)
    text = json.dumps([settings, sorted(case_keys)], sort_keys=True)
    return sha256(text.encode()).hexdigest()


def provenance(command: str) -> dict[str, Any]:
    """Versions, code state, hardware and command. Nothing of a patient."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "python": sys.version.split()[0],
        "packages": {name: version(name) for name in _PACKAGES},
        "git": _git_state(),
        "hardware": {
            "machine": platform.machine(),
            "processor": _processor(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        },
    }


def _git_state() -> str | None:
    """Commit of the working folder, with + when files differ from it."""
    try:
        head, changed = (
            _git(*arguments)
            for arguments in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return head + ("+" if changed else "")


def _git(*arguments: str) -> str:
    command = ["git", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)  # noqa: S603
    return done.stdout.strip()


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor()

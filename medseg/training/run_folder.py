"""The folder of one training run, and the record of how it came about."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from medseg.config import Experiment, dump_experiment
from medseg.errors import Code, ModelFileError, UsageError
from medseg.files import sweep_temporary, write_json_atomically, write_text_atomically
from medseg.training.checkpoints import Checkpoints
from medseg.training.lock import FolderLock


class RunFolder:
    """Names of the files of a run; see the README for what each holds."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.manifest = path / "manifest.json"
        self.environment = path / "environment.txt"
        self.metrics = path / "metrics.jsonl"
        self.model = path / "model.safetensors"
        self.events = path / "tensorboard"
        self.checkpoints = Checkpoints(path / "checkpoints")
        self.lock = FolderLock(path)
        self.predictions = path / "predictions"
        self.report = path / "report.html"
        self.cases = path / "cases.csv"
        self.summary = path / "summary.json"

    def require_usable(self, *, resume: bool) -> None:
        """Refuse a folder that holds a run when ``resume`` is off; a finished one without checkpoints always.

        A run that was killed before its first checkpoint starts anew when it is resumed.
        """
        if not resume and self.config.exists():
            raise UsageError(
                Code.RUN_FOLDER,
                f"{self.path}: holds a run already: add --resume to go on, or give another -o",
            )
        if self.read_manifest().get("finished") and not self.checkpoints.files():
            raise ModelFileError(
                Code.NO_CHECKPOINT,
                f"{self.path}: finished, and its checkpoints were removed: train into a new folder",
            )

    def require_same(self, mark: str) -> None:
        """Refuse to go on with another configuration or other data than the run was started with."""
        if self.read_manifest().get("fingerprint", mark) != mark:
            raise ModelFileError(
                Code.CHECKPOINT_OTHER,
                f"{self.path}: the configuration or the data changed since: train into a new folder",
            )

    @property
    def reported(self) -> bool:
        """Whether the run came to its very end: the summary is written last, after the report."""
        return bool(self.read_manifest().get("finished")) and self.summary.is_file()

    def sweep(self) -> None:
        """Remove the temporary files of killed processes; call it under the lock."""
        for folder in (self.path, self.checkpoints.folder, self.predictions):
            sweep_temporary(folder)

    def write_config(self, experiment: Experiment) -> None:
        """The resolved configuration."""
        write_text_atomically(self.config, dump_experiment(experiment))

    def write_environment(self, lock: str) -> None:
        """All installed libraries, as pip takes them."""
        write_text_atomically(self.environment, lock)

    def write_manifest(self, record: Mapping[str, Any]) -> None:
        write_json_atomically(self.manifest, record)

    def read_manifest(self) -> dict[str, Any]:
        try:
            record = json.loads(self.manifest.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return record if isinstance(record, dict) else {}

    def starts(self) -> list[dict[str, str]]:
        """Its beginning, and each time that it went on: when, how, and a digest of the environment."""
        told = self.read_manifest().get("starts")
        return [start for start in told if isinstance(start, dict)] if isinstance(told, list) else []

    def read_history(self) -> list[dict[str, Any]]:
        """Rows of metrics.jsonl; a last line cut by a crash is left out."""
        if not self.metrics.is_file():
            return []
        rows = []
        for line in self.metrics.read_bytes().splitlines():
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                break
            if not isinstance(row, dict):
                break
            rows.append(row)
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
    """Hash of what decides the weights: configuration (but not the machine's part of it) and data.

    The model that a training starts from counts by its content: its hash is one of the keys.
    """
    settings = experiment.model_dump(
        mode="json", exclude={"description": True, "inference": True, "evaluation": True}
    )
    for key in ("device", "devices", "compile", "workers", "augment_on", "checkpoint_minutes", "init_from"):
        settings["training"].pop(key)
    text = json.dumps([settings, sorted(case_keys)], sort_keys=True)
    return sha256(text.encode()).hexdigest()

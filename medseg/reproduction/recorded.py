"""A finished run as it was recorded: configuration, manifest, and the learning rate of every step."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medseg.config import Experiment, load_experiment
from medseg.errors import Code, UsageError
from medseg.training import RunFolder


@dataclass(frozen=True)
class Recorded:
    """What is needed to go through a training again, step by step."""

    run: RunFolder
    experiment: Experiment
    manifest: dict[str, Any]
    rates: tuple[float, ...]
    """Learning rate of each step. Where a clock decided about the schedule and the end, it is in them."""

    @property
    def threads(self) -> int | None:
        told = self.manifest.get("hardware", {}).get("threads")
        return told if isinstance(told, int) else None


def read_recorded(folder: Path, cohort: str | None = None) -> Recorded:
    """Read the run in ``folder``.

    Args:
        cohort: where the patients lie now, if not where the configuration says.

    Raises:
        UsageError: no run, not finished, or its record is not whole.
        ConfigError: its configuration does not suit this version of medseg.
    """
    run = RunFolder(folder)
    if not run.config.is_file():
        raise UsageError(Code.RUN_FOLDER, f"{folder}: no config.yaml in it: give the folder of a run")
    experiment = load_experiment(run.config, [] if cohort is None else [f"data.cohort={cohort}"])
    manifest = run.read_manifest()
    if not manifest.get("finished") or not run.model.is_file():
        raise UsageError(
            Code.RUN_FOLDER,
            f"{folder}: the run is not finished, there is nothing to compare with: "
            "go on with medseg train --resume first",
        )
    return Recorded(run, experiment, manifest, _rates(run, manifest))


def _rates(run: RunFolder, manifest: dict[str, Any]) -> tuple[float, ...]:
    rows = [row for row in run.read_history() if "learning_rate" in row]
    steps = manifest.get("result", {}).get("step")
    if not rows or [row.get("step") for row in rows] != list(range(1, len(rows) + 1)) or len(rows) != steps:
        raise UsageError(
            Code.RUN_FOLDER,
            f"{run.metrics}: {len(rows)} steps recorded, {steps} expected, one after the other: "
            "the learning rates of a run are needed to repeat it; give a run whose record is whole",
        )
    return tuple(float(row["learning_rate"]) for row in rows)

"""What was measured, as figures with their spread and as a Markdown table."""

from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from bench.measure import Run
from medseg.io import read_volume

GIB = 2**30


@dataclass(frozen=True)
class Agreement:
    """With the reference: the share of voxels with the same label, and the Dice of each label."""

    voxels: float
    dice: dict[int, float]


def agreement(reference: Path, mask: Path) -> Agreement:
    a, b = read_volume(reference), read_volume(mask)
    if a.geometry.displacement_mm(b.geometry) > 1e-2:
        raise SystemExit(f"{reference} and {mask} are not on one grid")
    labels = [int(value) for value in np.union1d(np.unique(a.array), np.unique(b.array)) if value]
    dice = {}
    for label in labels:
        first, second = a.array == label, b.array == label
        dice[label] = 2 * float(np.sum(first & second)) / float(np.sum(first) + np.sum(second))
    return Agreement(float(np.mean(a.array == b.array)), dice)


def summary(
    runs: dict[str, list[Run]], seconds: dict[str, list[dict[str, float]]], agreed: dict[str, Agreement]
) -> dict[str, Any]:
    """One entry a program; ratios are taken within each round, to the first program."""
    first = next(iter(runs))
    told: dict[str, Any] = {}
    for name, measured in runs.items():
        pairs = list(zip(runs[first], measured, strict=True))
        told[name] = {
            "wall_seconds": _spread([run.wall_seconds for run in measured]),
            "cpu_seconds": _spread([run.cpu_seconds for run in measured]),
            "peak_bytes": _spread([run.peak_bytes for run in measured]),
            "times_as_fast": _spread([one.wall_seconds / run.wall_seconds for one, run in pairs]),
            "share_of_memory": _spread([run.peak_bytes / one.peak_bytes for one, run in pairs]),
            "seconds_by_part": _parts(seconds[name]),
            "agreement": asdict(agreed[name]),
        }
    return {"reference": first, "programs": told}


def markdown(told: dict[str, Any]) -> str:
    reference = told["reference"]
    lines = [
        f"| program | wall s | CPU s | peak GiB | times as fast as {reference} | share of its memory "
        f"| voxels as {reference} | lowest Dice | seconds by part |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, entry in told["programs"].items():
        dice = entry["agreement"]["dice"].values()
        parts = ", ".join(f"{part} {value:.1f}" for part, value in entry["seconds_by_part"].items())
        lines.append(
            f"| {name} | {_shown(entry['wall_seconds'], 1)} | {_shown(entry['cpu_seconds'], 1)} "
            f"| {_shown(entry['peak_bytes'], 2, GIB)} | {_shown(entry['times_as_fast'], 2)} "
            f"| {_shown(entry['share_of_memory'], 2)} | {entry['agreement']['voxels']:.5f} "
            f"| {min(dice, default=float('nan')):.4f} | {parts or '-'} |"
        )
    return "\n".join(lines) + "\n\nMedian (smallest to largest) over rounds; ratios within each round.\n"


def dice_table(told: dict[str, Any]) -> str:
    """Dice of each label to the reference's mask."""
    labels = sorted({label for entry in told["programs"].values() for label in entry["agreement"]["dice"]})
    lines = [
        f"| Dice to {told['reference']} | {' | '.join(str(label) for label in labels)} |",
        f"|---|{'---|' * len(labels)}",
    ]
    for name, entry in told["programs"].items():
        values = [f"{entry['agreement']['dice'].get(label, float('nan')):.4f}" for label in labels]
        lines.append(f"| {name} | {' | '.join(values)} |")
    return "\n".join(lines) + "\n"


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": float(median(values)), "min": float(min(values)), "max": float(max(values))}


def _parts(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {
        name: median(each[name] for each in rounds if name in each) for name in (rounds[0] if rounds else {})
    }


def _shown(spread: dict[str, float], digits: int, unit: float = 1) -> str:
    middle, low, high = (spread[name] / unit for name in ("median", "min", "max"))
    if low == high:
        return f"{middle:.{digits}f}"
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"

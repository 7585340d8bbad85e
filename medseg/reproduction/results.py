"""Two runs side by side: weights, masks, metrics; bit by bit, and how far apart where they differ."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from medseg.errors import MedsegError
from medseg.evaluation import read_cases_csv
from medseg.evaluation.case import CaseScore, FailedCase
from medseg.io import read_label
from medseg.modelfile import load_model
from medseg.training import RunFolder

TOLERANCE = 0.02
"""Mean Dice of a structure; see docs/pipelines.md."""

Answer = Literal["identical", "within tolerance", "different"]


@dataclass(frozen=True)
class Weights:
    tensors: int
    differing: int
    relative: float | None
    """|then - now| / |then| over all numbers; None where the networks are not the same."""

    def __str__(self) -> str:
        if not self.differing:
            return f"identical ({self.tensors} tensors)"
        apart = "other networks" if self.relative is None else f"relative difference {self.relative:.2g}"
        return f"{self.differing} of {self.tensors} tensors differ ({apart})"


@dataclass(frozen=True)
class Masks:
    cases: int
    differing: tuple[str, ...]
    lowest_dice: float | None
    """Of a structure in a mask of then against the mask of now; None where no pair could be compared."""

    def __str__(self) -> str:
        if not self.differing:
            return f"identical ({self.cases} masks)" if self.cases else "none to compare"
        some = ", ".join(self.differing[:3]) + (", ..." if len(self.differing) > 3 else "")
        apart = "" if self.lowest_dice is None else f"; lowest Dice then against now {self.lowest_dice:.3f}"
        return f"{len(self.differing)} of {self.cases} masks differ ({some}{apart})"


@dataclass(frozen=True)
class Metrics:
    same: bool
    dice: dict[str, tuple[float | None, float | None]]
    """Structure to its mean Dice then and now."""

    @property
    def largest(self) -> float:
        """Largest difference of a mean Dice; 1 where one of them is undefined."""
        return max((_apart(then, now) for then, now in self.dice.values()), default=0.0)

    def __str__(self) -> str:
        if self.same:
            return "identical"
        told = (f"{name} {_number(then)} -> {_number(now)}" for name, (then, now) in self.dice.items())
        return f"differ (mean Dice {', '.join(told)})"


@dataclass(frozen=True)
class Verdict:
    """Whether a run came out again."""

    answer: Answer
    bitwise: bool
    """Whether it had to be the same bit for bit: nothing that counts differs from then."""
    tolerance: float
    weights: Weights
    masks: Masks
    metrics: Metrics
    first_step: int | None
    """The first step whose loss differs."""

    @property
    def good(self) -> bool:
        return self.answer != "different"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        if self.answer == "identical":
            return "identical, bit for bit"
        apart = f"mean Dice apart by {self.metrics.largest:.4f} at most, tolerance {self.tolerance:g}"
        if self.bitwise:
            return f"different, though nothing differs from then: it should be the same bit for bit ({apart})"
        return f"{self.answer} ({apart})"


def compare_runs(then: RunFolder, now: RunFolder, *, bitwise: bool, tolerance: float = TOLERANCE) -> Verdict:
    """Compare two finished runs.

    Args:
        bitwise: only the same bits will do; else mean Dice may differ by ``tolerance``.

    Raises:
        ModelFileError: a model is damaged.
        CohortError: a table of scores is damaged.
    """
    weights = _weights(load_model(then.model).weights, load_model(now.model).weights)
    masks = _masks(then.predictions, now.predictions)
    metrics = _metrics(then.cases, now.cases)
    step = _first_step(then, now)
    same = not weights.differing and not masks.differing and metrics.same and step is None
    near = not bitwise and metrics.largest <= tolerance
    answer: Answer = "identical" if same else "within tolerance" if near else "different"
    return Verdict(answer, bitwise, tolerance, weights, masks, metrics, step)


def _weights(then: Mapping[str, Tensor], now: Mapping[str, Tensor]) -> Weights:
    names = then.keys() | now.keys()
    like = [name for name in sorted(then.keys() & now.keys()) if _alike(then[name], now[name])]
    differing = len(names) - sum(_same_bits(then[name], now[name]) for name in like)
    if len(like) < len(names):
        return Weights(len(names), differing, None)
    apart = sum(float((then[name].double() - now[name].double()).square().sum()) for name in like)
    size = sum(float(then[name].double().square().sum()) for name in like)
    return Weights(len(names), differing, (apart / size) ** 0.5 if size else 0.0)


def _alike(a: Tensor, b: Tensor) -> bool:
    return (a.shape, a.dtype) == (b.shape, b.dtype)


def _same_bits(a: Tensor, b: Tensor) -> bool:
    """0.0 is not -0.0, and NaN is itself."""
    views = [tensor.contiguous().reshape(-1).view(torch.uint8) for tensor in (a, b)]
    return torch.equal(*views)


def _masks(then: Path, now: Path) -> Masks:
    names = sorted({path.name for folder in (then, now) for path in folder.glob("*_seg.nii.gz")})
    differing: list[str] = []
    lowest: list[float] = []
    for name in names:
        dice = _mask_dice(then / name, now / name)
        if dice is None or dice < 1:
            differing.append(name.removesuffix("_seg.nii.gz"))
        if dice is not None:
            lowest.append(dice)
    return Masks(len(names), tuple(differing), min(lowest, default=None))


def _mask_dice(then: Path, now: Path) -> float | None:
    """Lowest Dice of a label value; exactly 1 when all is the same; None when they cannot be compared."""
    try:
        one, other = read_label(then), read_label(now)
    except (MedsegError, OSError):
        return None
    if one.geometry != other.geometry:
        return None
    if np.array_equal(one.array, other.array):
        return 1.0
    return min(_label_dice(one.array, other.array))


def _label_dice(one: np.ndarray, other: np.ndarray) -> Iterator[float]:
    for value in np.union1d(np.unique(one), np.unique(other)):
        ours, theirs = one == value, other == value
        yield 2 * float((ours & theirs).sum()) / float(ours.sum() + theirs.sum())


def _metrics(then: Path, now: Path) -> Metrics:
    tables = [read_cases_csv(path) for path in (then, now)]
    means = [_mean_dice([*scores, *failed]) for scores, failed in tables]
    names = dict.fromkeys(name for mean in means for name in mean)
    return Metrics(tables[0] == tables[1], {name: (means[0].get(name), means[1].get(name)) for name in names})


def _mean_dice(cases: list[CaseScore | FailedCase]) -> dict[str, float]:
    found: dict[str, list[float]] = defaultdict(list)
    for case in cases:
        for one in case.structures:
            if (value := one.values.get("dice")) is not None:
                found[one.structure].append(value)
    return {name: float(np.mean(values)) for name, values in found.items()}


def _first_step(then: RunFolder, now: RunFolder) -> int | None:
    rows = [[row for row in run.read_history() if "loss" in row] for run in (then, now)]
    for ours, theirs in zip(*rows, strict=False):
        if (ours["step"], ours["loss"]) != (theirs["step"], theirs["loss"]):
            return int(ours["step"])
    return None if len(rows[0]) == len(rows[1]) else 1 + min(map(len, rows))


def _apart(then: float | None, now: float | None) -> float:
    return abs(then - now) if then is not None and now is not None else 1.0


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"

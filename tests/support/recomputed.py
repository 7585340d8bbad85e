"""A summary computed again from cases.csv alone: the csv module, numpy, and the words of docs/metrics.md."""

import csv
import math
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
from scipy.stats import t as student

_NAMES = (
    "case", "patient", "outcome", "structure", "status", "reason", "reference_ml", "prediction_ml",
    "reference_hash",
)  # fmt: skip
_TOLD = ("mean", "low", "high", "sd", "median", "iqr", "minimum", "maximum", "q1", "q3")
_NORMAL = NormalDist()


def recompute(path: Path, resamples: int = 2000, seed: int = 0) -> dict[str, Any]:
    """What ``summary.json`` must hold, apart from the texts of its rules."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        for key in ("case", "patient", "structure", "reason"):
            row[key] = row[key].removeprefix("'")
    cases = {row["case"]: row for row in rows}
    overall = [key.removeprefix("overall_") for key in rows[0] if key.startswith("overall_")]
    metrics = [key for key in rows[0] if key not in _NAMES and not key.startswith("overall_")]
    structures = list(dict.fromkeys(row["structure"] for row in rows if row["structure"]))
    draws = Draws([row["patient"] or row["case"] for row in cases.values()], resamples, seed)
    tables = {
        structure: {metric: _column(rows, cases, structure, metric) for metric in metrics}
        for structure in structures
    }
    failed = [row for row in cases.values() if row["outcome"] == "failed"]
    totals = {
        "expected": len(cases),
        "predicted": len(cases) - len(failed),
        "failed": len(failed),
        "failed_without_reference": sum(not row["structure"] for row in failed),
    }
    return {
        "structures": [
            {
                "structure": name,
                "counts": {**totals, **_statuses(rows, name)},
                "metrics": {metric: draws.describe([values]) for metric, values in tables[name].items()},
            }
            for name in structures
        ],
        "mean": {metric: draws.describe([tables[name][metric] for name in structures]) for metric in metrics}
        if structures
        else {},
        "overall": {
            metric: draws.describe([[_overall(row, metric) for row in cases.values()]]) for metric in overall
        },
        "cases": totals,
        "failures": [(row["case"], row["reason"]) for row in failed],
    }


def _column(rows: list[dict[str, str]], cases: Any, structure: str, metric: str) -> list[float]:
    found = {row["case"]: row[metric] for row in rows if row["structure"] == structure}
    return [float(found.get(case) or "nan") for case in cases]


def _overall(row: dict[str, str], metric: str) -> float:
    return 0.0 if row["outcome"] == "failed" else float(row[f"overall_{metric}"] or "nan")


def _statuses(rows: list[dict[str, str]], structure: str) -> dict[str, int]:
    found = [row["status"] for row in rows if row["structure"] == structure]
    return {
        status: found.count(status)
        for status in ("scored", "missed", "false_positive", "both_empty", "not_contoured")
    }


def _mean(values: list[float]) -> float:
    there = [value for value in values if not math.isnan(value)]
    return math.fsum(there) / len(there) if there else math.nan


class Draws:
    """Patients drawn with replacement: how often each is in each resample, in the order of their names."""

    def __init__(self, patients: list[str], resamples: int, seed: int) -> None:
        self._names = sorted(set(patients))
        self._of = np.array([self._names.index(patient) for patient in patients])
        count = len(self._names)
        self._times = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), resamples)

    def describe(self, columns: list[list[float]]) -> dict[str, Any]:
        """One column of values, or the means of several columns (one a structure)."""
        one = len(columns) == 1
        means = [_mean(column) for column in columns]
        values = sorted(v for v in (columns[0] if one else means) if not math.isnan(v))
        if not values:
            return dict.fromkeys(_TOLD) | {"n": 0}
        low, high = self._interval(columns)
        mean = _mean(values)
        spread = [(value - mean) ** 2 for value in values]
        return {
            "mean": mean,
            "low": low,
            "high": high,
            "sd": math.sqrt(math.fsum(spread) / (len(values) - 1)) if len(values) > 1 else None,
            "median": _quantile(values, 0.5),
            "iqr": _quantile(values, 0.75) - _quantile(values, 0.25),
            "minimum": values[0],
            "maximum": values[-1],
            "n": len(values),
            "q1": _quantile(values, 0.25),
            "q3": _quantile(values, 0.75),
        }

    def _weighted(self, columns: list[list[float]], times: np.ndarray) -> list[float]:
        """For each row of ``times``: the mean over columns of means that count each patient so many times."""
        means = []
        for column in columns:
            values = np.array(column)
            there = ~np.isnan(values)
            weights = times[:, self._of[there]]
            size = weights.sum(axis=1)
            sums = weights @ values[there]
            means.append([float(x / n) if n else math.nan for x, n in zip(sums, size, strict=True)])
        return [_mean(list(each)) for each in zip(*means, strict=True)]

    def _interval(self, columns: list[list[float]]) -> tuple[float | None, float | None]:
        """Efron 1987: BCa, with the tails of Hesterberg 2015."""
        people = len(self._names)
        whole = self._weighted(columns, np.ones((1, people), dtype=int))[0]
        drawn = sorted(value for value in self._weighted(columns, self._times) if not math.isnan(value))
        others = np.ones((people, people), dtype=int) - np.eye(people, dtype=int)
        without = [value for value in self._weighted(columns, others) if not math.isnan(value)]
        if len(without) < 2 or not drawn:
            return None, None
        nearly = 1e-12 * max(1.0, abs(whole))
        below = sum(v < whole - nearly for v in drawn) + 0.5 * sum(abs(v - whole) <= nearly for v in drawn)
        share = min(max(below / len(drawn), 0.5 / len(drawn)), 1 - 0.5 / len(drawn))
        bias = _NORMAL.inv_cdf(share)
        slopes = [_mean(without) - value for value in without]
        squares = math.fsum(slope**2 for slope in slopes)
        skew = math.fsum(slope**3 for slope in slopes) / (6 * squares**1.5) if squares > nearly**2 else 0.0
        ends = []
        far = math.sqrt(len(without) / (len(without) - 1)) * float(student.ppf(0.975, len(without) - 1))
        for reach in (-far, far):
            z = bias + reach
            scale = 1 - skew * z
            share = _NORMAL.cdf(bias + z / scale) if scale > 0 else float(z > 0)
            ends.append(_quantile(drawn, share))
        return ends[0], ends[1]


def _quantile(ordered: list[float], share: float) -> float:
    """Linear between the two nearest, as spreadsheets do."""
    at = share * (len(ordered) - 1)
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (at - low) * (ordered[high] - ordered[low])

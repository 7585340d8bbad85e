"""Evaluations made up for comparisons, and a comparison computed again from two cases.csv files alone."""

import csv
import statistics
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import wilcoxon

from medseg.evaluation import (
    CaseScore,
    FailedCase,
    StructureScore,
    summarise,
    write_cases_csv,
    write_summary_json,
)
from support.recomputed import Draws

WORST_MM = 300.0
LOWER = ("hd95",)


def structure(
    name: str, dice: float | None, status: str = "scored", reference_ml: float | None = 10.0, tag: str = "r"
) -> StructureScore:
    """``hd95`` goes with ``dice``, from 1 mm on."""
    if status in ("missed", "false_positive"):
        dice, hd95 = 0.0, WORST_MM
    else:
        hd95 = None if dice is None else round(1 + 30 * (1 - dice), 6)
    values = {"dice": dice, "hd95": hd95, "volume_error_ml": None if dice is None else dice - 1}
    return StructureScore(name, status, reference_ml, 9.0, values, tag)  # type: ignore[arg-type]


def scored(case: str, *structures: StructureScore, patient: str = "", accuracy: float = 0.9) -> CaseScore:
    return CaseScore(case, patient or case, structures, {"pixel_accuracy": accuracy})


def failed(case: str, *structures: StructureScore, patient: str = "") -> FailedCase:
    return FailedCase(case, patient or case, "killed", structures)


def write(folder: Path, *cases: CaseScore | FailedCase, rules: tuple[str, ...] = ()) -> Path:
    scores = [case for case in cases if isinstance(case, CaseScore)]
    lost = [case for case in cases if isinstance(case, FailedCase)]
    write_cases_csv(folder / "cases.csv", scores, lost)
    write_summary_json(folder / "summary.json", summarise(scores, lost, rules=rules, resamples=10))
    return folder


def random_table(folder: Path, seed: int) -> tuple[Path, Path]:
    """Two evaluations of one cohort: ties, several scans a patient, missed, invented, failed, left out."""
    random = np.random.default_rng(seed)
    cases, digits = int(random.choice([6, 9, 14, 22, 60])), int(random.choice([1, 2, 12]))
    people = max(3, int(cases * random.choice([0.5, 1.0])))
    names = [f"organ {number}" for number in range(random.integers(1, 4))]
    level = random.beta(8, 2, (cases, len(names)))
    shift = random.normal(0, 0.03, (2, len(names)))
    status = random.choice(
        ["scored", "missed", "false_positive", "both_empty", "not_contoured"],
        p=[0.85, 0.04, 0.04, 0.05, 0.02],
        size=(2, cases, len(names)),
    )
    empty = random.random((cases, len(names))) < 0.08
    folders = []
    for run in range(2):
        found: list[CaseScore | FailedCase] = []
        for case in range(cases):
            if random.random() < 0.05:
                continue
            structures = []
            for at, name in enumerate(names):
                value = float(
                    np.clip(round(level[case, at] + shift[run, at] + random.normal(0, 0.05), digits), 0, 1)
                )
                state = str(status[run, case, at])
                unknown = status[0, case, at] == "not_contoured"  # a matter of the reference
                if unknown:
                    state = "not_contoured"
                elif empty[case, at]:
                    state = "false_positive" if state == "missed" or value > 0.8 else "both_empty"
                else:
                    state = "missed" if state == "missed" else "scored"
                volume = None if unknown else 0.0 if empty[case, at] else float(case + 1)
                known = value if state == "scored" else None
                tag = "" if unknown else f"{case}-{at}"
                structures.append(structure(name, known, state, volume, tag))
            patient = f"p{case % people:03d}"
            if random.random() < 0.05:
                there = [structure(s.structure, None, "missed", s.reference_ml, s.reference_hash)
                         for s in structures if s.reference_ml]  # fmt: skip
                found.append(failed(f"c{case:03d}", *there, patient=patient))
            else:
                found.append(scored(f"c{case:03d}", *structures, patient=patient))
        folders.append(write(folder / f"run{run}", *found))
    return folders[0], folders[1]


def recompare(baseline: Path, other: Path, metric: str) -> dict[str, dict[str, Any]]:
    """Structure to its numbers, in the words of docs/comparison.md."""
    tables = [_read(path / "cases.csv") for path in (baseline, other)]
    common = [case for case in tables[0] if case in tables[1]]
    names = list(dict.fromkeys(name for table in tables for case in table.values() for name in case))
    pairs: dict[str, dict[str, tuple[str, float, float]]] = {name: {} for name in names}
    for case in common:
        for name in names:
            rows = [table[case].get(name) for table in tables]
            values = [_value(rows[at], rows[1 - at], metric) for at in (0, 1)]
            if None not in values:
                row = rows[0] or rows[1] or {}
                pairs[name][case] = (row["patient"], *values)
    if len(names) > 1:
        pairs["mean of structures"] = {
            case: (
                next(each[case][0] for each in pairs.values() if case in each),
                *(
                    statistics.fmean(each[case][at] for each in pairs.values() if case in each)
                    for at in (1, 2)
                ),
            )
            for case in common
            if any(case in each for each in pairs.values())
        }
    return {name: _numbers(list(each.values()), metric) for name, each in pairs.items()}


def _read(path: Path) -> dict[str, dict[str, dict[str, str]]]:
    found: dict[str, dict[str, dict[str, str]]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["case"], {})
            if row["structure"]:
                found[row["case"]][row["structure"]] = row
    return found


def _value(row: dict[str, str] | None, partner: dict[str, str] | None, metric: str) -> float | None:
    if row is None or partner is None:
        return None
    if row["status"] == "both_empty" and partner["status"] == "false_positive":
        return 0.0 if metric in LOWER else 1.0
    return float(row[metric]) if row[metric] else None


def _numbers(pairs: list[tuple[str, float, float]], metric: str) -> dict[str, Any]:
    if not pairs:
        return {"cases": 0}
    differences = [round(b - a, 10) for _, a, b in pairs]
    better = [-d if metric in LOWER else d for d in differences]
    by_patient: dict[str, list[float]] = {}
    for patient, a, b in pairs:
        by_patient.setdefault(patient, []).append(b - a)
    means = [round(statistics.fmean(each), 10) for each in by_patient.values()]
    draws = Draws([patient for patient, _, _ in pairs], 2000, 0)
    interval = draws.describe([[b - a for _, a, b in pairs]])
    spread = statistics.stdev(means) if len(means) > 1 else 0.0
    return {
        "cases": len(pairs),
        "patients": len(means),
        "difference": statistics.fmean(differences),
        "low": interval["low"],
        "high": interval["high"],
        "wins": sum(d > 0 for d in better),
        "ties": sum(d == 0 for d in better),
        "losses": sum(d < 0 for d in better),
        "cohen_dz": statistics.fmean(means) / spread if spread > 1e-10 else None,
        **_signed_rank(means),
    }


def _signed_rank(means: list[float]) -> dict[str, float]:
    sizes = [abs(d) for d in means]
    ranks = [(sum(s < size for s in sizes) + 1 + sum(s <= size for s in sizes)) / 2 for size in sizes]
    plus = sum(rank for rank, d in zip(ranks, means, strict=True) if d > 0)
    minus = sum(rank for rank, d in zip(ranks, means, strict=True) if d < 0)
    biserial = (plus - minus) / sum(ranks)
    if not any(means):
        return {"p": 1.0, "rank_biserial": biserial}
    plain = len(set(sizes)) == len(sizes) and 0 not in sizes
    if len(means) > 50 or plain:
        method = "exact" if len(means) <= 50 else "asymptotic"
        found = wilcoxon(means, zero_method="pratt" if 0 in means else "wilcox", method=method)
        return {"p": float(found.pvalue), "rank_biserial": biserial}
    sums = Counter({0.0: 1})
    for rank, d in zip(ranks, means, strict=True):
        if d != 0:
            sums = sums + Counter({total + rank: times for total, times in sums.items()})
    reach = sum(times for total, times in sums.items() if total >= max(plus, minus) - 1e-9)
    return {"p": min(1.0, 2 * reach / sum(sums.values())), "rank_biserial": biserial}


def holm(p_values: list[float]) -> list[float]:
    """Holm 1979: the largest, over the p-values up to this one, of p times how many are not smaller."""
    return [max(min(1.0, q * sum(r >= q for r in p_values)) for q in p_values if q <= p) for p in p_values]

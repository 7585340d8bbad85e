"""G26: every number of summary.json and of the report's first table follows from cases.csv."""

import html
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medseg.config.inference import EvaluationConfig
from medseg.evaluation import FailedCase
from medseg.report.scored_cases import ScoredCases
from medseg.volume import Geometry, Volume
from support.recomputed import recompute

GEOMETRY = Geometry((16, 14, 8), np.diag([-1.0, -1.0, 2.5, 1.0]))
CELL = r"<t[hd].*?</t[hd]>"
FEW = ("dice", "iou", "hd95", "nsd")

COHORTS: dict[str, dict[str, Any]] = {
    "one case": {"cases": 1},
    "two cases": {"cases": 2},
    "seven cases of three structures": {"cases": 7, "structures": 3},
    "all metrics": {"cases": 4, "metrics": EvaluationConfig().metrics},
    "scans of the same patients": {"cases": 8, "patients": 3},
    "one patient": {"cases": 3, "patients": 1},
    "structures that are missed": {"cases": 5, "empty_prediction": 2},
    "structures that are invented": {"cases": 5, "empty_reference": 2},
    "structures that nobody drew": {"cases": 6, "not_contoured": 3},
    "failed cases with their references": {"cases": 5, "failed": 2},
    "failed cases without": {"cases": 4, "failed": 1, "unreadable": 2},
    "names that a spreadsheet would run": {"cases": 3, "failed": 1, "prefix": "=1+'"},
}


def evaluate(
    folder: Path,
    *,
    cases: int,
    structures: int = 2,
    metrics: tuple[str, ...] = FEW,
    patients: int = 0,
    empty_prediction: int = 0,
    empty_reference: int = 0,
    not_contoured: int = 0,
    failed: int = 0,
    unreadable: int = 0,
    prefix: str = "",
) -> None:
    """A cohort of shifted blocks; the first cases have what is told beside their number."""
    random = np.random.default_rng(11)
    labels = {f"{prefix}organ {c}": c for c in range(1, structures + 1)}
    first = next(iter(labels))
    scored = ScoredCases(labels, EvaluationConfig(metrics=metrics))
    for number in range(cases):
        maps = []
        for _ in range(2):
            array = np.zeros(GEOMETRY.shape, dtype=np.uint8)
            for c in range(1, structures + 1):
                start = 5 * (c - 1) + random.integers(0, 2)
                array[start : start + 4, 2 : 6 + random.integers(0, 5), 1 : 3 + random.integers(0, 4)] = c
            maps.append(array)
        prediction, reference = maps
        prediction[(prediction == 1) & (number < empty_prediction)] = 0
        reference[(reference == 1) & (number < empty_reference)] = 0
        known = {first: False} if number < not_contoured else None
        patient = f"{prefix}p{number % patients if patients else number}"
        scored.add(
            f"{prefix}case {number}",
            patient,
            Volume(prediction, GEOMETRY),
            Volume(reference, GEOMETRY),
            known=known,
        )
    for number in range(failed + unreadable):
        case = FailedCase(f"{prefix}lost {number}", "", f'{prefix}killed, with a "comma"\nand a line')
        scored.add_failure(case, Volume(reference, GEOMETRY) if number < failed else None)
    scored.write(folder, title="cohort")


@pytest.mark.row("G26")
@pytest.mark.parametrize("cohort", COHORTS)
def test_the_report_follows_from_its_table(tmp_path: Path, cohort: str) -> None:
    evaluate(tmp_path, **COHORTS[cohort])
    told = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    again = recompute(tmp_path / "cases.csv")
    assert [(each["case"], " ".join(each["reason"].split())) for each in told["failures"]] == [
        (case, " ".join(reason.split())) for case, reason in again.pop("failures")
    ]
    require_equal({key: told[key] for key in again}, again, cohort)
    assert set(told) - set(again) == {"failures", "rules", "interval"}, (
        "nothing is told that is not recomputed"
    )
    require_headline((tmp_path / "report.html").read_text(encoding="utf-8"), again)


def require_equal(told: Any, again: Any, where: str) -> None:
    if isinstance(again, dict):
        assert set(told) == set(again), where
        for key, value in again.items():
            require_equal(told[key], value, f"{where}/{key}")
    elif isinstance(again, list):
        assert len(told) == len(again), where
        for index, value in enumerate(again):
            require_equal(told[index], value, f"{where}/{index}")
    elif isinstance(again, float):
        assert told == pytest.approx(again, rel=1e-9, abs=1e-9), where
    else:
        assert told == again, where


def require_headline(page: str, again: dict[str, Any]) -> None:
    """The first table: mean, interval, deviation, median and quartiles, lowest; then the other means."""
    table = re.search(r"<table.*?</table>", page, re.S)
    assert table is not None
    rows = [
        [
            html.unescape(re.sub("<[^>]*>", "", cell)).strip()
            for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.S)
        ]
        for row in re.findall(r"<tr.*?</tr>", table[0], re.S)
    ]
    columns = rows[0]
    expected = [("Mean over structures", again["mean"])]
    expected += [(each["structure"], each["metrics"]) for each in again["structures"]]
    assert [row[0] for row in rows[1:]] == [name for name, _ in expected]
    for row, (name, metrics) in zip(rows[1:], expected, strict=True):
        dice = metrics["dice"]
        spread = f"{number(dice['median'])} ({number(dice['iqr'])})" if dice["n"] else "–"
        low_high = "–" if dice["low"] is None else f"{number(dice['low'])} to {number(dice['high'])}"
        lead = [number(dice["mean"]), low_high, number(dice["sd"]), spread, number(dice["minimum"])]
        beside = [
            number(metrics[metric]["mean"], digits)
            for metric, digits in (("nsd", 3), ("hd95", 2), ("assd", 2))
            if metric in metrics
        ]
        assert row[1 : 7 + len(beside)] == [str(dice["n"]), *lead, *beside], (name, columns)


def number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"

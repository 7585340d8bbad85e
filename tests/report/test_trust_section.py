"""The section on trust: its figures come out of review.csv again, and hostile names stay text."""

import csv
from pathlib import Path

import numpy as np

from medseg.evaluation import summarise
from medseg.evaluation.case import CaseScore, StructureScore
from medseg.evaluation.ranking import auroc, worst
from medseg.inference.review import Review, ReviewRule
from medseg.report.html import Origin, write_report
from medseg.report.trust import FEWEST, Trust, judged_cases, trust_of, write_review_csv

HOSTILE = "<script>alert(1)</script>"
RULE = ReviewRule(
    1.4,
    0.8,
    {},
    {
        "calibration_error": {"before": 0.031, "after": 0.0072},
        "reliability": {
            "before": [[0.55, 0.4, 0.1], [0.95, 0.85, 0.9]],
            "after": [[0.5, 0.5, 0.2], [0.9, 0.9, 0.8]],
        },
    },
)


def cases(count: int) -> tuple[list[CaseScore], dict[str, Review]]:
    rng = np.random.default_rng(4)
    scores, reviews = [], {}
    for number in range(count):
        name = HOSTILE if number == 0 else f"case {number:02d}"
        dice = float(rng.uniform(0.5, 0.95))
        expected = float(np.clip(dice + rng.normal(0, 0.05), 0, 1))
        values: dict[str, float | None] = {"dice": dice}
        scores.append(CaseScore(name, name, (StructureScore("liver", "scored", 1.0, 1.0, values, ""),), {}))
        reasons = (f"expected Dice {expected:.2f}, below 0.80",) if expected < 0.8 else ()
        reviews[name] = Review(1 - expected, {"liver": expected}, reasons)
    return scores, reviews


def told(count: int, folder: Path) -> tuple[Trust, list[dict[str, str]]]:
    judged = judged_cases(*cases(count))
    write_review_csv(folder / "review.csv", judged)
    with (folder / "review.csv").open(newline="") as file:
        return trust_of(RULE, judged), list(csv.DictReader(file))


def test_the_figures_come_out_of_the_table(tmp_path: Path) -> None:
    trust, rows = told(30, tmp_path)
    facts = dict(trust.facts)
    dice = [float(row["dice"]) for row in rows]
    bad = worst(dice)
    power = auroc([-float(row["expected_dice"]) for row in rows], bad)
    assert facts["AUROC for the worst fifth"].startswith(f"{power:.2f} (")
    flagged = [bool(row["review"]) for row in rows]
    assert facts["to be looked at"] == f"{sum(flagged)} of 30"
    both = sum(a and b for a, b in zip(flagged, bad, strict=True))
    assert facts["of the worst fifth, flagged"] == f"{both} of 6"
    assert facts["calibration error (ECE), validation"] == "0.0310 before, 0.0072 after"
    assert [one.review.score for one in trust.flagged] == sorted(
        (1 - float(row["expected_dice"]) for row in rows if row["review"]), reverse=True
    )


def test_few_cases_show_no_power(tmp_path: Path) -> None:
    trust, _ = told(FEWEST - 1, tmp_path)
    assert "AUROC for the worst fifth" not in dict(trust.facts)


def test_the_page_has_the_section_and_names_stay_text(tmp_path: Path) -> None:
    scores, _ = cases(12)
    trust, _ = told(12, tmp_path)
    page = write_report(
        tmp_path / "report.html",
        title="t",
        summary=summarise(scores),
        scores=scores,
        origin=Origin(trust=trust),
    ).read_text(encoding="utf-8")
    assert 'id="trust"' in page
    assert page.count("<svg") >= 3
    assert HOSTILE not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;: expected" in page


def test_without_a_rule_there_is_no_section(tmp_path: Path) -> None:
    scores, _ = cases(12)
    page = write_report(tmp_path / "report.html", title="t", summary=summarise(scores), scores=scores)
    assert 'id="trust"' not in page.read_text(encoding="utf-8")

"""Whether a model knows when it is wrong: its calibration, and what it expected against what was measured."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from medseg.evaluation import CaseScore
from medseg.evaluation.files import inert_text
from medseg.evaluation.ranking import auroc, auroc_interval, worst
from medseg.files import write_text_atomically
from medseg.inference.review import Review, ReviewRule
from medseg.report.svg import Drawing, Scale, x_axis, y_axis
from medseg.report.tables import mean_of

FEWEST = 10
"""Cases without which the power to find the worst ones is not told."""
_LEAST_SHARE = 1e-4
"""Bins of fewer voxels are not drawn: a handful of them has any accuracy."""


@dataclass(frozen=True)
class JudgedCase:
    """``dice``: the mean over structures that it turned out to be; None where none could be measured."""

    case: str
    review: Review
    dice: float | None


@dataclass(frozen=True)
class Trust:
    """What the page tells of it: facts (name and text), cases to look at, plots."""

    facts: tuple[tuple[str, str], ...]
    flagged: tuple[JudgedCase, ...]
    plots: tuple[Markup, ...]


def judged_cases(scores: Sequence[CaseScore], reviews: Mapping[str, Review]) -> tuple[JudgedCase, ...]:
    """Cases that were scored and judged, in the order of ``scores``."""
    return tuple(
        JudgedCase(score.case, reviews[score.case], mean_of(score.structures, "dice"))
        for score in scores
        if score.case in reviews
    )


def write_review_csv(path: Path, cases: Sequence[JudgedCase]) -> None:
    """A row a case: expected and measured mean Dice, and the reasons to look at it.

    Raises:
        EnvironmentProblem: the file cannot be written.
    """
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow(("case", "expected_dice", "dice", "review"))
    for one in cases:
        measured = "" if one.dice is None else repr(one.dice)
        reasons = inert_text("; ".join(one.review.reasons))
        table.writerow((inert_text(one.case), repr(1 - one.review.score), measured, reasons))
    write_text_atomically(path, text.getvalue())


def trust_of(rule: ReviewRule, cases: Sequence[JudgedCase]) -> Trust:
    """The section of a report on cases that the model did not learn from."""
    flagged = sorted((one for one in cases if one.review.flagged), key=lambda one: -one.review.score)
    plots = (_plot_reliability(rule.measured), _plot_expected(cases, rule.threshold))
    return Trust(
        (*_calibration_facts(rule), *_power_facts(cases)),
        tuple(flagged),
        tuple(plot for plot in plots if plot is not None),
    )


def _calibration_facts(rule: ReviewRule) -> list[tuple[str, str]]:
    facts = [("temperature", f"{rule.temperature:.2f}")]
    error = rule.measured.get("calibration_error")
    if isinstance(error, Mapping):
        told = f"{error['before']:.4f} before, {error['after']:.4f} after"
        facts.append(("calibration error (ECE), validation", told))
    return facts


def _power_facts(cases: Sequence[JudgedCase]) -> list[tuple[str, str]]:
    measured = [(one.review.score, one.dice, one.review.flagged) for one in cases if one.dice is not None]
    facts = [("to be looked at", f"{sum(one.review.flagged for one in cases)} of {len(cases)}")]
    if len(measured) < FEWEST:
        return facts
    scores, dice = [score for score, _, _ in measured], [value for _, value, _ in measured]
    bad = worst(dice)
    found = sum(flag for (_, _, flag), one in zip(measured, bad, strict=True) if one)
    facts.append(("of the worst fifth, flagged", f"{found} of {sum(bad)}"))
    power, interval = auroc(scores, bad), auroc_interval(scores, dice)
    if power is not None:
        bounds = "" if interval is None else f" ({interval[0]:.2f} to {interval[1]:.2f})"
        facts.append(("AUROC for the worst fifth", f"{power:.2f}{bounds}"))
    return facts


def _plot_reliability(measured: Mapping[str, Any]) -> Markup | None:
    """Accuracy against confidence over the validation voxels, before (faint) and after."""
    curves = measured.get("reliability")
    if not isinstance(curves, Mapping):
        return None
    drawing, x, y = _square((0.0, 1.0), "Reliability on validation voxels", "confidence", "accuracy")
    for name, kind in (("before", "raw"), ("after", "smooth")):
        rows = [row for row in curves.get(name) or () if row[2] >= _LEAST_SHARE]
        points = [(x(confidence), y(accuracy)) for confidence, accuracy, _ in rows]
        drawing.path(points, kind, f"{name} dividing by the temperature")
        for point, (confidence, accuracy, share) in zip(points, rows, strict=True):
            told = f"{name}: {accuracy:.3f} right at confidence {confidence:.3f}, {share:.1%} of the voxels"
            drawing.dot(point, f"knot {kind}", told, 2.5)
    return drawing.finish()


def _plot_expected(cases: Sequence[JudgedCase], threshold: float | None) -> Markup | None:
    """Measured against expected Dice; cases to be looked at are hollow."""
    known = [(1 - one.review.score, one.dice, one) for one in cases if one.dice is not None]
    if len(known) < 2:
        return None
    lowest = min(min(expected, dice) for expected, dice, _ in known)
    title = "Measured against expected Dice"
    drawing, x, y = _square((max(0.0, int(lowest * 10) / 10), 1.0), title, "expected Dice", "measured Dice")
    if threshold is not None and threshold > x.low:
        drawing.line((x(threshold), y.start), (x(threshold), y.stop), "zero")
    for expected, dice, one in known:
        kind = "dot hollow s0" if one.review.flagged else "dot s0"
        drawing.dot((x(expected), y(dice)), kind, f"{one.case}: expected {expected:.3f}, measured {dice:.3f}")
    return drawing.finish()


def _square(ends: tuple[float, float], title: str, across: str, up: str) -> tuple[Drawing, Scale, Scale]:
    drawing = Drawing(540, 330, f"{title}: {up} against {across}")
    x, y = Scale(*ends, 58, 524), Scale(*ends, 280, 30)
    drawing.text((58, 18), title, "name", "start")
    x_axis(drawing, x, 30, 280, x.ticks(5))
    y_axis(drawing, y, 58, 524, y.ticks(5))
    drawing.line((x(ends[0]), y(ends[0])), (x(ends[1]), y(ends[1])), "equal")
    drawing.text((291, 320), across, "label")
    drawing.turned_text((13, 155), up)
    return drawing, x, y

"""Agreement of volumes: difference against mean (Bland and Altman, Lancet 1986)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from medseg.report.marks import Mark, add_dots, shortened
from medseg.report.svg import Drawing, Scale, x_axis, y_axis

_Z = 1.96


@dataclass(frozen=True)
class Agreement:
    """``bias``: mean of predicted minus reference, mL. ``low``, ``high``: bias ± 1.96 SD; None for one."""

    bias: float
    low: float | None
    high: float | None
    n: int


def compared(marks: Sequence[Mark]) -> tuple[tuple[Mark, float, float], ...]:
    """Cases with a volume on both sides, and those volumes (reference, predicted) in mL.

    Cases where both are empty agree trivially and are left out: they would narrow the limits.
    """
    return tuple(
        (mark, mark.score.reference_ml, mark.score.prediction_ml)
        for mark in marks
        if mark.score.reference_ml is not None
        and mark.score.prediction_ml is not None
        and mark.score.status != "both_empty"
    )


def agreement(marks: Sequence[Mark]) -> Agreement | None:
    """Bias and limits of agreement; None when no case can be compared."""
    differences = np.array([predicted - reference for _, reference, predicted in compared(marks)])
    if not len(differences):
        return None
    bias = float(differences.mean())
    if len(differences) < 2:
        return Agreement(bias, None, None, 1)
    spread = _Z * float(differences.std(ddof=1))
    return Agreement(bias, bias - spread, bias + spread, len(differences))


def plot_agreement(structure: str, place: int, marks: Sequence[Mark]) -> Markup | None:
    """Difference (predicted minus reference) against the mean of both volumes, bias solid, limits dashed.

    ``place`` of the structure in the order of the labels (from 0) gives its colour.
    """
    found, told = compared(marks), agreement(marks)
    if told is None:
        return None
    means = [(reference + predicted) / 2 for _, reference, predicted in found]
    differences = [predicted - reference for _, reference, predicted in found]
    left, top, right, bottom = 58, 30, 262, 196
    reach = [*differences, 0.0, *(limit for limit in (told.low, told.high) if limit is not None)]
    margin = 0.08 * (max(reach) - min(reach)) or 1.0
    x = Scale(0.0, max(means) * 1.06 or 1.0, left, right)
    y = Scale(min(reach) - margin, max(reach) + margin, bottom, top)
    drawing = Drawing(270, 268, f"{structure}: difference of volumes against their mean. {_in_words(told)}")
    drawing.text((left, 18), shortened(structure, 28), "name", "start")
    x_axis(drawing, x, top, bottom, x.ticks(4))
    y_axis(drawing, y, left, right, y.ticks(5))
    drawing.line((left, y(0)), (right, y(0)), "zero")
    for limit in (told.low, told.high):
        if limit is not None:
            drawing.line((left, y(limit)), (right, y(limit)), "equal")
    points = [
        ((x(mean), y(difference)), "dot", f"{mark.case}: {difference:+.4g} mL at {mean:.4g} mL")
        for (mark, _, _), mean, difference in zip(found, means, differences, strict=True)
    ]
    add_dots(drawing, points, place)
    drawing.line((left, y(told.bias)), (right, y(told.bias)), "bias")
    drawing.text(((left + right) / 2, 231), "mean of both (mL)", "label")
    drawing.turned_text((13, (top + bottom) / 2), "predicted − reference (mL)")
    drawing.text((left, 256), _in_words(told), "tick", "start")
    return drawing.finish()


def _in_words(told: Agreement) -> str:
    limits = "" if told.low is None or told.high is None else f", limits {_ml(told.low)} to {_ml(told.high)}"
    return f"bias {_ml(told.bias)} mL{limits}, n = {told.n}"


def _ml(value: float) -> str:
    return f"{value:+.3g}".replace("+0", "0", 1 if value == 0 else 0).replace("-", "\N{MINUS SIGN}")

"""The plots of a report: spread of a metric by structure, and training curves."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float64
from markupsafe import Markup

from medseg.report.marks import Mark, add_dots, shortened
from medseg.report.svg import Drawing, Scale, x_axis, y_axis

_ROW, _LETTER = 40, 7.2
_MOST_POINTS, _MOST_DOTS = 500, 60
"""Longer curves are thinned to this many points; those with more values have no dots."""


def plot_spread(marks: Mapping[str, Sequence[Mark]], metric: str = "dice", label: str = "Dice") -> Markup:
    """One row a structure: every case a dot, the middle half a bar, the median a line; missed ones hollow.

    ``marks``: by structure, in the order of the labels; ``metric`` is a share between 0 and 1.
    """
    left, width = 24 + min(_LETTER * max(map(len, marks), default=0), 260), 1100
    bottom = 10 + _ROW * len(marks)
    values = [
        value
        for each in marks.values()
        for mark in each
        if (value := mark.score.values.get(metric)) is not None
    ]
    x = Scale(min(0.5, math.floor(min(values, default=0.0) * 10) / 10), 1.0, left, width - 20)
    drawing = Drawing(width, bottom + 44, f"{label} of every case, by structure")
    x_axis(drawing, x, 6, bottom, x.ticks(6))
    drawing.text(((left + width - 20) / 2, bottom + 38), label, "label")
    for row, (structure, each) in enumerate(marks.items()):
        middle = 10 + _ROW * (row + 0.5)
        drawing.text((left - 12, middle + 4), shortened(structure, 36), "name", "end")
        _spread_row(drawing, each, (metric, label), x, (middle, row))
    return drawing.finish()


def _spread_row(
    drawing: Drawing, marks: Sequence[Mark], metric: tuple[str, str], x: Scale, place: tuple[float, int]
) -> None:
    (key, label), (middle, at) = metric, place
    known = [(mark, value) for mark in marks if (value := mark.score.values.get(key)) is not None]
    if not known:
        drawing.text((x.start + 8, middle + 4), "no case to measure", anchor="start")
        return
    low, median, high = (float(q) for q in np.percentile([value for _, value in known], (25, 50, 75)))
    told = f"median {median:.3f}, middle half {low:.3f} to {high:.3f}, n = {len(known)}"
    drawing.rect((x(low), middle - 13), (max(1.0, x(high) - x(low)), 26), f"box s{at}", told)
    dots = []
    for number, (mark, value) in enumerate(known):
        offset = ((number * 0.618034) % 1.0 - 0.5) * 20  # spread evenly, the same in every report
        state = "" if mark.score.status == "scored" else f" ({mark.score.status.replace('_', ' ')})"
        kind = "dot" if mark.score.status == "scored" else "dot hollow"
        dots.append(((x(value), middle + offset), kind, f"{mark.case}: {label} {value:.3f}{state}"))
    add_dots(drawing, dots, at)
    drawing.line((x(median), middle - 15), (x(median), middle + 15), "median")


def plot_loss(history: Sequence[Mapping[str, float]]) -> Markup | None:
    """Training loss by step, raw and smoothed; None when there are no two values."""
    rows = [(row["step"], row["loss"]) for row in history if _finite(row, "step") and _finite(row, "loss")]
    if len(rows) < 2:
        return None
    steps, losses = (np.array(column, dtype=np.float64) for column in zip(*rows, strict=True))
    smooth = smoothed(losses, width=max(3, len(losses) // 40))
    shown = losses[np.isfinite(losses)]
    low, high = min(float(shown.min()), 0.0), float(np.percentile(shown, 99.5)) * 1.05
    drawing, x, y = _curve_axes(
        (float(steps[0]), float(steps[-1])), (low, max(high, low + 1e-3)), "Training loss"
    )
    drawing.path(_points(x, y, steps, losses), "raw")
    drawing.path(_points(x, y, steps, smooth), "smooth", f"smoothed loss, last value {smooth[-1]:.4g}")
    return drawing.finish()


def plot_validation(history: Sequence[Mapping[str, float]], structures: Sequence[str]) -> Markup | None:
    """Validation Dice by step, mean and each structure; None when nothing was validated."""
    rows = [row for row in history if _finite(row, "step") and _finite(row, "validation_dice")]
    if not rows:
        return None
    first, last = min(0.0, rows[0]["step"]), rows[-1]["step"]
    drawing, x, y = _curve_axes((first, last), (0.0, 1.0), "Validation Dice")
    keys = [(f"validation_dice/{name}", name, f"curve s{place}") for place, name in enumerate(structures)]
    for key, name, kind in [*keys, ("validation_dice", "mean over structures", "smooth")]:
        known = [(row["step"], row[key]) for row in rows if _finite(row, key)]
        drawing.path([(x(step), y(value)) for step, value in known], kind, name)
        for step, value in known if len(known) <= _MOST_DOTS else ():
            told = f"{name}, step {step:g}: {value:.3f}"
            drawing.dot((x(step), y(value)), f"knot {kind.removeprefix('curve ')}", told, 2.5)
    return drawing.finish()


def smoothed(values: Float64[np.ndarray, " n"], width: int) -> Float64[np.ndarray, " n"]:
    """Mean of the last ``width`` values (fewer at the start), non-finite ones left out."""
    finite = np.isfinite(values)
    total = np.concatenate([[0.0], np.cumsum(np.where(finite, values, 0.0))])
    count = np.concatenate([[0], np.cumsum(finite)])
    end = np.arange(1, len(values) + 1)
    start = np.maximum(0, end - width)
    return np.asarray(
        (total[end] - total[start]) / np.maximum(count[end] - count[start], 1), dtype=np.float64
    )


def _curve_axes(
    steps: tuple[float, float], values: tuple[float, float], label: str
) -> tuple[Drawing, Scale, Scale]:
    drawing = Drawing(540, 290, f"{label} by training step")
    last = steps[1] if steps[1] > steps[0] else steps[0] + 1
    x, y = Scale(steps[0], last, 56, 524), Scale(*values, 240, 30)
    drawing.text((56, 18), label, "name", "start")
    x_axis(drawing, x, 30, 240, x.ticks(5))
    y_axis(drawing, y, 56, 524, y.ticks(5))
    drawing.text((290, 278), "training step", "label")
    return drawing, x, y


def _points(
    x: Scale, y: Scale, steps: Float64[np.ndarray, " n"], values: Float64[np.ndarray, " n"]
) -> list[tuple[float, float]]:
    stride = max(1, len(steps) // _MOST_POINTS)
    chosen = [*range(0, len(steps) - 1, stride), len(steps) - 1]
    shown = [(float(steps[at]), min(float(values[at]), y.high)) for at in chosen if np.isfinite(values[at])]
    return [(x(step), y(value)) for step, value in shown]


def _finite(row: Mapping[str, float], key: str) -> bool:
    value = row.get(key)
    return isinstance(value, int | float) and math.isfinite(value)

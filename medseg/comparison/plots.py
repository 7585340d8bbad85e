"""The plots of a comparison: differences with their intervals, and every case in both evaluations."""

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from medseg.comparison.compare import Row
from medseg.comparison.pairs import Pair
from medseg.report.svg import Drawing, Scale, x_axis, y_axis
from medseg.report.words import format_value, metric_label

_ROW, _LETTER, _MOST_LETTERS = 34, 7.2, 36


def plot_differences(rows: Sequence[Row], places: Mapping[str, int]) -> Markup | None:
    """One row a structure: the mean difference as a dot, its 95 % interval as a bar; zero dashed.

    ``places`` gives each structure its colour. None when nothing is paired.
    """
    known = [row for row in rows if row.difference is not None]
    if not known:
        return None
    metric = known[0].metric
    bounds = [
        bound for row in known for bound in (row.low, row.high, row.difference, 0.0) if bound is not None
    ]
    spread = max(bounds) - min(bounds) or 1.0
    left, width = 24 + min(_LETTER * max(len(row.structure) for row in known), 260), 1100
    bottom = 10 + _ROW * len(known)
    x = Scale(min(bounds) - 0.06 * spread, max(bounds) + 0.06 * spread, left, width - 20)
    drawing = Drawing(
        width, bottom + 44, f"Difference in {metric_label(metric)} by structure, with 95 % intervals"
    )
    x_axis(drawing, x, 6, bottom, x.ticks(6))
    drawing.line((x(0), 6), (x(0), bottom), "equal")
    better = "to the right" if known[0].higher_is_better else "to the left"
    label = f"difference in {metric_label(metric)} (better {better})"
    drawing.text(((left + width - 20) / 2, bottom + 38), label, "label")
    for number, row in enumerate(known):
        middle = 10 + _ROW * (number + 0.5)
        drawing.text((left - 12, middle + 4), shortened(row.structure), "name", "end")
        _difference_row(drawing, row, x, middle, f"s{places.get(row.structure, -1)}")
    return drawing.finish()


def _difference_row(drawing: Drawing, row: Row, x: Scale, middle: float, name: str) -> None:
    if row.difference is None:
        return
    told = f"{row.structure}: {format_value(row.metric, row.difference, signed=True)}"
    if row.low is not None and row.high is not None:
        low, high = (format_value(row.metric, bound, signed=True) for bound in (row.low, row.high))
        told += f", 95 % interval {low} to {high}"
        size = (max(1.0, x(row.high) - x(row.low)), 12.0)
        drawing.rect((x(row.low), middle - 6), size, f"box {name}", told)
    drawing.dot((x(row.difference), middle), f"dot {name}", told, 5)


def plot_cases(row: Row, pairs: Sequence[Pair], place: int, names: tuple[str, str]) -> Markup | None:
    """Every case: its value in the baseline (across) and in the other evaluation (up), equality dashed."""
    if not pairs:
        return None
    low = min(min(pair.baseline, pair.other) for pair in pairs)
    high = max(max(pair.baseline, pair.other) for pair in pairs)
    margin = 0.06 * (high - low) or 0.05 * max(abs(high), 1.0)
    left, top, right, bottom = 52, 30, 232, 210
    x, y = Scale(low - margin, high + margin, left, right), Scale(low - margin, high + margin, bottom, top)
    drawing = Drawing(244, 250, f"{row.structure}: {names[1]} against {names[0]}, case by case")
    drawing.text((left, 18), shortened(row.structure, 26), "name", "start")
    x_axis(drawing, x, top, bottom, x.ticks(4))
    y_axis(drawing, y, left, right, y.ticks(4))
    drawing.line((x(x.low), y(x.low)), (x(x.high), y(x.high)), "equal")
    drawing.text(((left + right) / 2, 245), shortened(names[0], 26), "label")
    drawing.turned_text((13, (top + bottom) / 2), shortened(names[1], 26))
    for pair in pairs:
        values = (pair.baseline, pair.other)
        told = f"{pair.case}: " + " to ".join(format_value(row.metric, value) for value in values)
        odd = {pair.baseline_status, pair.other_status} - {"scored", ""}
        drawing.dot((x(pair.baseline), y(pair.other)), f"dot {'hollow ' if odd else ''}s{place}", told)
    return drawing.finish()


def shortened(text: str, most: int = _MOST_LETTERS) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"

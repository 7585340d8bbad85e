"""Pictures of a cohort: how spacing, size, intensities and volumes spread over its cases."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from medseg.report.svg import Drawing, Scale, x_axis

_WIDTH, _ROW, _LEFT = 1100, 34, 190


@dataclass(frozen=True)
class Strip:
    """One row of dots: a value a case. ``place`` gives the colour."""

    name: str
    values: Mapping[str, float]
    place: int


def plot_strips(title: str, unit: str, strips: Sequence[Strip], marked: frozenset[str]) -> Markup | None:
    """Every case a dot, the cases with findings hollow, the median a line; on a logarithmic axis."""
    shown = [strip for strip in strips if strip.values]
    everything = [value for strip in shown for value in strip.values.values() if value > 0]
    if not everything:
        return None
    low, high = np.log10(min(everything)), np.log10(max(everything))
    pad = max(0.05, 0.04 * (high - low))
    x = Scale(float(low - pad), float(high + pad), _LEFT, _WIDTH - 20)
    bottom = 10 + _ROW * len(shown)
    drawing = Drawing(_WIDTH, bottom + 44, title)
    for value in _round_values(min(everything), max(everything)):
        at = x(float(np.log10(value)))
        drawing.line((at, 6), (at, bottom), "grid")
        drawing.text((at, bottom + 16), f"{value:g}")
    drawing.text(((_LEFT + _WIDTH - 20) / 2, bottom + 38), unit, "label")
    for row, strip in enumerate(shown):
        _row(drawing, strip, x, 10 + _ROW * (row + 0.5), marked)
    return drawing.finish()


def _row(drawing: Drawing, strip: Strip, x: Scale, middle: float, marked: frozenset[str]) -> None:
    name = strip.name if len(strip.name) < 26 else strip.name[:25] + "…"
    drawing.text((_LEFT - 12, middle + 4), name, "name", "end")
    for number, (case, value) in enumerate(strip.values.items()):
        if value > 0:
            offset = ((number * 0.618034) % 1.0 - 0.5) * 18  # spread evenly, the same on every page
            kind = "dot hollow" if case in marked else "dot"
            drawing.dot(
                (x(float(np.log10(value))), middle + offset), f"{kind} s{strip.place}", f"{case}: {value:.4g}"
            )
    at = x(float(np.log10(np.median([value for value in strip.values.values() if value > 0] or [1.0]))))
    drawing.line((at, middle - 13), (at, middle + 13), "median")


def plot_ranges(title: str, ranges: Mapping[str, Sequence[float]], marked: frozenset[str]) -> Markup:
    """A bar a case from its 5th to its 95th percentile, with its median, in the order of the medians."""
    ordered = sorted(ranges.items(), key=lambda item: item[1][3])
    low, high = (f([q[at] for _, q in ordered]) for f, at in ((min, 1), (max, 5)))
    pad = 0.04 * max(high - low, 1e-9)
    height = 20 + 14 * len(ordered) if len(ordered) <= 40 else 20 + 5 * len(ordered)
    x = Scale(low - pad, high + pad, _LEFT, _WIDTH - 20)
    drawing = Drawing(_WIDTH, height + 44, title)
    x_axis(drawing, x, 6, height, x.ticks(8))
    drawing.text(((_LEFT + _WIDTH - 20) / 2, height + 38), "intensity", "label")
    step = (height - 20) / max(1, len(ordered))
    for row, (case, q) in enumerate(ordered):
        middle = 12 + step * (row + 0.5)
        if len(ordered) <= 40 or case in marked:
            drawing.text((_LEFT - 12, middle + 4), case[:26], "name" if case in marked else "tick", "end")
        told = f"{case}: 5 % {q[1]:.4g}, median {q[3]:.4g}, 95 % {q[5]:.4g}"
        thick = max(1.5, 0.6 * step)
        drawing.rect((x(q[1]), middle - thick / 2), (max(1.0, x(q[5]) - x(q[1])), thick), "box s0", told)
        drawing.line((x(q[3]), middle - thick / 2), (x(q[3]), middle + thick / 2), "median")
    return drawing.finish()


def _round_values(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten; over many decades the powers alone."""
    first, last = int(np.floor(np.log10(low))), int(np.ceil(np.log10(high)))
    factors = (1, 2, 5) if last - first <= 4 else (1,)
    found = [factor * 10.0**power for power in range(first, last + 1) for factor in factors]
    return [value for value in found if 0.9 * low <= value <= 1.1 * high]

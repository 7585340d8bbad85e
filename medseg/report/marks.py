"""Cases as dots: few of them with a name each, many as one path, so that a large cohort stays light."""

from collections.abc import Sequence
from dataclasses import dataclass

from medseg.evaluation.case import StructureScore
from medseg.report.svg import Drawing, Point

MOST_NAMED = 250
"""In one drawing row or panel; more dots have no names of their own (the table of cases has)."""


@dataclass(frozen=True)
class Mark:
    """One structure of one case, as plotted."""

    case: str
    score: StructureScore


def add_dots(drawing: Drawing, dots: Sequence[tuple[Point, str, str]], place: int) -> None:
    """``dots``: position, kind (``dot`` or ``dot hollow``), what it tells. ``place`` gives the colour."""
    if len(dots) <= MOST_NAMED:
        for at, kind, told in dots:
            drawing.dot(at, f"{kind} s{place}", told)
        return
    for kind in dict.fromkeys(kind for _, kind, _ in dots):
        drawing.dots([at for at, one, _ in dots if one == kind], f"{kind.replace('dot', 'dots')} s{place}")


def shortened(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"

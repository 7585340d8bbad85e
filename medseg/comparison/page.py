"""The comparison as one HTML file that needs nothing else."""

from dataclasses import dataclass

from markupsafe import Markup

from medseg.comparison.compare import BETTER, WORSE, CaseDifference, Comparison, PairComparison, Row
from medseg.comparison.pairs import MEAN, LeftOut
from medseg.comparison.plots import plot_cases, plot_differences
from medseg.comparison.words import COLUMNS, cautions, row_texts
from medseg.report.templating import TABLES
from medseg.report.templating import render_page as fill
from medseg.report.words import format_value, metric_label

MOST_CASES = 20
"""Cases that differ most, as shown of each two evaluations and metric; all are in comparison_cases.csv."""
_KINDS = {BETTER: "lead", WORSE: "warn"}


@dataclass(frozen=True)
class _Line:
    place: int | None
    name: str
    texts: tuple[str, ...]
    kind: str


@dataclass(frozen=True)
class _CaseLine:
    name: str
    patient: str
    structure: str
    place: int | None
    texts: tuple[str, str, str]
    states: tuple[str, str]
    order: float


@dataclass(frozen=True)
class _Metric:
    name: str
    lines: tuple[_Line, ...]
    forest: Markup | None
    scatter: tuple[Markup, ...]
    cases: tuple[_CaseLine, ...]
    cautions: tuple[str, ...]


@dataclass(frozen=True)
class _Section:
    baseline: str
    other: str
    metrics: tuple[_Metric, ...]
    left_out: tuple[LeftOut, ...]


def render_page(comparison: Comparison) -> str:
    """The whole page, names escaped, its style and script known by their hashes."""
    first = comparison.pairs[0]
    structures = dict.fromkeys(
        row.structure for pair in comparison.pairs for row in pair.rows if row.structure != MEAN
    )
    places = {name: place for place, name in enumerate(structures)}
    context: dict[str, object] = {
        "title": f"{first.other} against {first.baseline}"
        if len(comparison.pairs) == 1
        else f"{len(comparison.evaluations)} evaluations, {len(comparison.pairs)} comparisons",
        "notes": [*(note for pair in comparison.pairs for note in pair.notes), *_missing(comparison)],
        "evaluations": comparison.evaluations,
        "columns": COLUMNS,
        "sections": tuple(_section(comparison, pair, places) for pair in comparison.pairs),
        "rules": comparison.rules,
        "tie": comparison.tie,
        "most": MOST_CASES,
    }
    return fill(len(places), context, template="comparison.html.j2", scripts=TABLES)


def _missing(comparison: Comparison) -> list[str]:
    return [
        f"{pair.other} against {pair.baseline}: cases without a partner, which took no part: {count} (listed "
        "below)."
        for pair in comparison.pairs
        if (count := sum(not each.structure for each in pair.left_out))
    ]


def _section(comparison: Comparison, pair: PairComparison, places: dict[str, int]) -> _Section:
    metrics = tuple(_metric(pair, metric, places) for metric in comparison.metrics)
    return _Section(pair.baseline, pair.other, metrics, pair.left_out)


def _metric(pair: PairComparison, metric: str, places: dict[str, int]) -> _Metric:
    rows = [row for row in pair.rows if row.metric == metric]
    cases = [each for each in pair.cases if each.metric == metric and each.structure != MEAN]
    names = (pair.baseline, pair.other)
    plots = [
        plot_cases(row, [each.pair for each in cases if each.structure == row.structure], place, names)
        for row in rows
        if (place := places.get(row.structure)) is not None
    ]
    different = [each for each in cases if each.pair.difference][:MOST_CASES]
    return _Metric(
        metric_label(metric),
        tuple(_line(row, places) for row in rows),
        plot_differences(rows, places),
        tuple(plot for plot in plots if plot is not None),
        tuple(_case_line(each, places) for each in different),
        tuple(told for row in rows if (told := cautions(row)) is not None),
    )


def _line(row: Row, places: dict[str, int]) -> _Line:
    return _Line(places.get(row.structure), row.structure, row_texts(row), _KINDS.get(row.verdict, ""))


def _case_line(each: CaseDifference, places: dict[str, int]) -> _CaseLine:
    pair, metric = each.pair, each.metric
    states = [status.replace("_", " ") for status in (pair.baseline_status, pair.other_status)]
    return _CaseLine(
        pair.case,
        pair.patient if pair.patient != pair.case else "",
        each.structure,
        places.get(each.structure),
        (
            format_value(metric, pair.baseline),
            format_value(metric, pair.other),
            format_value(metric, pair.difference, signed=True),
        ),
        (states[0] if states[0] != "scored" else "", states[1] if states[1] != "scored" else ""),
        abs(pair.difference),
    )

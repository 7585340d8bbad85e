"""The rows of a report: plain records, ready to print."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from medseg.evaluation.case import CaseScore, FailedCase, StructureScore
from medseg.evaluation.statistics import MetricSummary, StructureSummary, Summary
from medseg.report.panels import Panel
from medseg.report.words import (
    NONE,
    STATUS_WORDS,
    format_interval,
    format_spread,
    format_value,
    metric_label,
)

SHARES = ("dice", "f1", "iou", "nsd", "recall", "precision", "mean_pixel_accuracy", "pixel_accuracy")
"""What a report may lead with, the first that was measured."""
_BESIDE = ("nsd", "hd95", "assd", "volume_error_ml", "volume_error_relative")
MOST_COLUMNS = 12
"""The table of cases has a column a structure up to this many."""


@dataclass(frozen=True)
class Cell:
    """``text`` as printed; ``order`` sorts the column (empty sorts last); ``kind`` is a style."""

    text: str
    order: str = ""
    kind: str = ""


@dataclass(frozen=True)
class Row:
    """``place`` of the structure gives its colour; None for a row of means."""

    name: str
    place: int | None
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class CaseRow:
    """One case: its line in the table, and its pictures. ``anchor`` is empty when there are none."""

    case: str
    patient: str
    mean: float | None
    cells: tuple[Cell, ...]
    chips: tuple[tuple[int, str, str], ...]
    panels: tuple[Panel, ...]
    anchor: str
    failed: str


def main_metric(summary: Summary) -> str:
    """The share that leads the report; Dice wherever it was measured."""
    return next((metric for metric in SHARES if metric in summary.mean), "dice")


def headline(summary: Summary) -> tuple[tuple[str, ...], tuple[Row, ...]]:
    """Columns and rows of the first table: the main metric in full, the distances and volumes beside it."""
    main = main_metric(summary)
    beside = [metric for metric in _BESIDE if metric in summary.mean]
    columns = (f"Mean {metric_label(main)}", "95 % interval", "SD", "Median (IQR)", "Lowest")
    rows = [Row("Mean over structures", None, _headline_cells(main, beside, summary.mean))]
    for place, each in enumerate(summary.structures):
        rows.append(Row(each.structure, place, _headline_cells(main, beside, each.metrics)))
    return (*columns, *(metric_label(metric) for metric in beside)), tuple(rows)


def _headline_cells(
    main: str, beside: Sequence[str], metrics: Mapping[str, MetricSummary]
) -> tuple[Cell, ...]:
    found = metrics.get(main)
    if found is None:
        first = [NONE] * 5
    else:
        median = format_value(main, found.median)
        iqr = "" if found.iqr is None else f" ({format_value(main, found.iqr)})"
        first = [format_value(main, found.mean), format_interval(main, found), format_value(main, found.sd)]
        first += [median + iqr, format_value(main, found.minimum)]
    told = [metrics.get(metric) for metric in beside]
    means = [None if each is None else each.mean for each in told]
    rest = [format_value(metric, value) for metric, value in zip(beside, means, strict=True)]
    return Cell(first[0], kind="lead"), *(Cell(text) for text in (*first[1:], *rest))


def all_metrics(summary: Summary) -> tuple[tuple[str, ...], tuple[Row, ...]]:
    """Mean ± SD of every metric, by structure, over structures, and over whole volumes."""
    metrics = [*summary.mean, *(metric for metric in summary.overall if metric not in summary.mean)]
    groups: list[tuple[str, int | None, Mapping[str, MetricSummary]]] = [
        ("Mean over structures", None, summary.mean)
    ]
    groups += [(each.structure, place, each.metrics) for place, each in enumerate(summary.structures)]
    if summary.overall:
        groups.append(("Whole volume", None, summary.overall))
    rows = tuple(
        Row(name, place, tuple(Cell(format_spread(metric, values.get(metric))) for metric in metrics))
        for name, place, values in groups
    )
    return tuple(metric_label(metric) for metric in metrics), rows


COUNT_COLUMNS = (
    "Expected", "Predicted", "Failed", "Scored", "Missed", "False positive", "Absent in both",
    "Not contoured",
)  # fmt: skip


def count_rows(summary: Summary) -> tuple[Row, ...]:
    """How many cases stand how, structure by structure."""
    return tuple(Row(each.structure, place, _counts(each)) for place, each in enumerate(summary.structures))


def _counts(each: StructureSummary) -> tuple[Cell, ...]:
    counts = each.counts
    plain = (counts.expected, counts.predicted, counts.failed, counts.scored)
    bad = (counts.missed, counts.false_positive)
    return (
        *(Cell(str(number)) for number in plain[:2]),
        Cell(str(counts.failed), kind="warn" if counts.failed else ""),
        Cell(str(counts.scored)),
        *(Cell(str(number), kind="warn" if number else "") for number in bad),
        Cell(str(counts.both_empty)),
        Cell(str(counts.not_contoured)),
    )


def case_columns(summary: Summary) -> tuple[str, ...]:
    """Columns of the table of cases beside case and patient."""
    lead = f"Mean {metric_label(main_metric(summary))}"
    names = tuple(each.structure for each in summary.structures)
    return (
        (lead, *names)
        if len(names) <= MOST_COLUMNS
        else (lead, "Lowest structure", "Missed or false positive")
    )


def case_rows(
    scores: Sequence[CaseScore],
    failed: Sequence[FailedCase],
    summary: Summary,
    panels: Mapping[str, Sequence[Panel]],
) -> tuple[CaseRow, ...]:
    """All cases, failed ones first, then from the lowest mean to the highest, unmeasured ones last."""
    metric = main_metric(summary)
    names = tuple(each.structure for each in summary.structures)
    both: list[CaseScore | FailedCase] = [*failed, *scores]
    means = [_mean(case.structures, metric) for case in both]

    def badness(index: int) -> tuple[bool, bool, float, str]:
        mean, case = means[index], both[index]
        return not isinstance(case, FailedCase), mean is None, mean or 0.0, case.case

    return tuple(
        _case_row(both[index], means[index], rank, (metric, names), panels.get(both[index].case, ()))
        for rank, index in enumerate(sorted(range(len(both)), key=badness), start=1)
    )


def _case_row(
    case: CaseScore | FailedCase,
    mean: float | None,
    rank: int,
    told: tuple[str, tuple[str, ...]],
    panels: Sequence[Panel],
) -> CaseRow:
    metric, names = told
    found = {each.structure: each for each in case.structures}
    cells = [_structure_cell(found.get(name), metric) for name in names]
    chips = tuple((place, name, cells[place].text) for place, name in enumerate(names) if name in found)
    if len(names) > MOST_COLUMNS:
        cells = _few_cells(case.structures, metric)
    lead = Cell(format_value(metric, mean), _order(mean), f"lead {_grade(mean)}")
    reason = case.reason if isinstance(case, FailedCase) else ""
    anchor = f"case-{rank}" if panels else ""
    return CaseRow(case.case, case.patient, mean, (lead, *cells), chips, tuple(panels), anchor, reason)


def _few_cells(structures: Sequence[StructureScore], metric: str) -> list[Cell]:
    """With many structures: the lowest one, and what was not simply scored."""
    known = [(value, each.structure) for each in structures if (value := each.values.get(metric)) is not None]
    lowest = min(known, default=None)
    first = Cell(NONE) if lowest is None else Cell(
        f"{lowest[1]} {format_value(metric, lowest[0])}", _order(lowest[0]), _grade(lowest[0])
    )  # fmt: skip
    odd = [f"{each.structure}: {STATUS_WORDS[each.status]}" for each in structures if each.status in _BAD]
    text = ", ".join(odd[:4]) + (f" and {len(odd) - 4} more" if len(odd) > 4 else "")
    return [first, Cell(text or NONE, str(-len(odd)), "wide")]


_BAD = ("missed", "false_positive")


def _structure_cell(score: StructureScore | None, metric: str) -> Cell:
    if score is None:
        return Cell(NONE)
    value = score.values.get(metric)
    if score.status == "scored":
        return Cell(format_value(metric, value), _order(value), _grade(value))
    kind = "low word" if score.status in _BAD else "quiet word"
    return Cell(STATUS_WORDS[score.status], _order(value), kind)


def _mean(structures: Sequence[StructureScore], metric: str) -> float | None:
    known = [value for each in structures if (value := each.values.get(metric)) is not None]
    return sum(known) / len(known) if known else None


def _order(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"


def _grade(value: float | None) -> str:
    if value is None or value >= 0.7:
        return ""
    return "low" if value < 0.5 else "fair"

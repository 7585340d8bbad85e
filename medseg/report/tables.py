"""The rows of a report: plain records, ready to print."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from medseg.evaluation.case import CaseScore, FailedCase, StructureScore
from medseg.evaluation.statistics import MetricSummary, StructureSummary, Summary
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
_BESIDE = (
    "nsd", "hd95", "assd", "lesion_f1", "lesion_false_positives", "volume_error_ml", "volume_error_relative",
)  # fmt: skip
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
    """One case: its line in the table. ``anchor`` is empty when it has no viewer."""

    case: str
    patient: str
    cells: tuple[Cell, ...]
    anchor: str
    state: str
    """For the filter: ``failed``, ``wrong`` (a structure is missed or false positive), ``low`` or empty."""


def main_metric(summary: Summary) -> str:
    """The share that leads the report; Dice wherever it was measured."""
    return next((metric for metric in SHARES if metric in summary.mean), "dice")


def headline(summary: Summary) -> tuple[tuple[str, ...], tuple[Row, ...]]:
    """Columns and rows of the first table: the main metric in full, the distances and volumes beside it."""
    main = main_metric(summary)
    beside = [metric for metric in _BESIDE if metric in summary.mean]
    columns = ("n", f"Mean {metric_label(main)}", "95 % interval", "SD", "Median (IQR)", "Lowest")
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
    count = Cell(str(found.n if found else 0))
    return count, Cell(first[0], kind="lead"), *(Cell(text) for text in (*first[1:], *rest))


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


def worst_first(
    scores: Sequence[CaseScore], failed: Sequence[FailedCase], metric: str
) -> tuple[CaseScore | FailedCase, ...]:
    """All cases, failed ones first, then from the lowest mean to the highest, unmeasured ones last."""

    def badness(case: CaseScore | FailedCase) -> tuple[bool, bool, float, str]:
        mean = mean_of(case.structures, metric)
        return not isinstance(case, FailedCase), mean is None, mean or 0.0, case.case

    return tuple(sorted((*failed, *scores), key=badness))


def case_rows(
    cases: Sequence[CaseScore | FailedCase], summary: Summary, viewed: Collection[str]
) -> tuple[CaseRow, ...]:
    """A row a case, in the order given; those of ``viewed`` lead to their viewer."""
    names = tuple(each.structure for each in summary.structures)
    return tuple(
        _case_row(case, main_metric(summary), names, f"case-{rank}" if case.case in viewed else "")
        for rank, case in enumerate(cases, start=1)
    )


def _case_row(case: CaseScore | FailedCase, metric: str, names: Sequence[str], anchor: str) -> CaseRow:
    found = {each.structure: each for each in case.structures}
    cells = [_structure_cell(found.get(name), metric) for name in names]
    if len(names) > MOST_COLUMNS:
        cells = _few_cells(case.structures, metric)
    mean = mean_of(case.structures, metric)
    lead = Cell(format_value(metric, mean), _order(mean), f"lead {_grade(mean)}")
    return CaseRow(case.case, case.patient, (lead, *cells), anchor, _state(case, mean))


def _state(case: CaseScore | FailedCase, mean: float | None) -> str:
    if isinstance(case, FailedCase):
        return "failed"
    if any(each.status in _BAD for each in case.structures):
        return "wrong"
    return "low" if _grade(mean) else ""


def score_columns(summary: Summary) -> tuple[tuple[str, str], ...]:
    """Metrics of the table beside a viewer: name and label."""
    wanted = (main_metric(summary), *_BESIDE[:3])
    return tuple((metric, metric_label(metric)) for metric in dict.fromkeys(wanted) if metric in summary.mean)


def score_rows(
    case: CaseScore | FailedCase, names: Sequence[str], metrics: Sequence[str]
) -> list[list[str] | None]:
    """For each structure its status, metrics and volumes (mL) as printed; None where nothing is known."""
    found = {each.structure: each for each in case.structures}
    rows: list[list[str] | None] = []
    for name in names:
        one = found.get(name)
        if one is None:
            rows.append(None)
            continue
        values = [format_value(metric, one.values.get(metric)) for metric in metrics]
        volumes = [NONE if ml is None else f"{ml:.4g}" for ml in (one.reference_ml, one.prediction_ml)]
        rows.append([STATUS_WORDS[one.status], *values, *volumes])
    return rows


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


def mean_of(structures: Sequence[StructureScore], metric: str) -> float | None:
    """Over the structures of a case that have a value."""
    known = [value for each in structures if (value := each.values.get(metric)) is not None]
    return sum(known) / len(known) if known else None


def _order(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"


def _grade(value: float | None) -> str:
    if value is None or value >= 0.7:
        return ""
    return "low" if value < 0.5 else "fair"

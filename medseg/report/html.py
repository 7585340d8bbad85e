"""The report as one HTML file that needs nothing else, and that no name in it can change."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from markupsafe import Markup

from medseg.evaluation.case import CaseScore, FailedCase
from medseg.evaluation.statistics import Summary
from medseg.files import write_text_atomically
from medseg.report.agreement import plot_agreement
from medseg.report.budget import PAGE_BYTES, Shown
from medseg.report.case_view import CaseView
from medseg.report.colours import structure_colour
from medseg.report.marks import Mark
from medseg.report.origin import origin_rows
from medseg.report.plots import plot_loss, plot_spread, plot_validation
from medseg.report.tables import (
    COUNT_COLUMNS,
    SHARES,
    CaseRow,
    all_metrics,
    case_columns,
    case_rows,
    count_rows,
    headline,
    main_metric,
    score_columns,
    score_rows,
    worst_first,
)
from medseg.report.templating import render_page
from medseg.report.trust import Trust
from medseg.report.words import format_interval, format_value, metric_label

MOST_PANELS = 24
"""Structures with a plot of volumes; more are in cases.csv."""

Case = CaseScore | FailedCase


@dataclass(frozen=True)
class Origin:
    """How the figures came about.

    ``history``: rows of ``metrics.jsonl``: ``step`` with ``loss``, or with ``validation_dice`` and
    ``validation_dice/<structure>``. ``notes``: shown as banners, as that the cohort is a simulation.
    ``configuration``: YAML. ``provenance``: anything that JSON can say. ``trust``: of a model that was
    calibrated, whether it knows when it is wrong.
    """

    history: Sequence[Mapping[str, float]] = ()
    notes: Sequence[str] = ()
    configuration: str = ""
    provenance: Mapping[str, object] = field(default_factory=dict)
    trust: Trust | None = None


NO_ORIGIN = Origin()


def write_report(
    path: Path,
    *,
    title: str,
    summary: Summary,
    scores: Sequence[CaseScore],
    failed: Sequence[FailedCase] = (),
    views: Mapping[str, CaseView] = {},
    origin: Origin = NO_ORIGIN,
    page_bytes: int = PAGE_BYTES,
) -> Path:
    """Write ``report.html`` at ``path``, whole or not at all.

    Args:
        summary: of ``scores`` and of the failed cases.
        failed: cases without prediction; those of the summary are always told.
        views: case id to what its viewer shows (``render_view``); the worst cases go first where there is not
            room for all, and the page says so.
        page_bytes: what all viewers together may take.

    Returns:
        The path written.

    Raises:
        EnvironmentProblem: the file cannot be written.
    """
    failures = tuple({each.case: each for each in (*summary.failures, *failed)}.values())
    cases = worst_first(scores, failures, main_metric(summary))
    shown = Shown.of([case.case for case in cases], views, page_bytes)
    rows = case_rows(cases, summary, shown.views)
    context = {
        **_tables(summary, rows),
        **_plots(summary, cases),
        "title": title,
        "failures": failures,
        "views": tuple((row.anchor, shown.views[row.case]) for row in rows if row.anchor),
        "viewer": _viewer(summary, cases, rows, shown.views),
        "left_out": shown.left_out,
        "notes": tuple(origin.notes),
        "trust": origin.trust,
        "curves": _curves(summary, origin.history),
        "configuration": origin.configuration.strip(),
        "origin": origin_rows(origin.provenance),
        "provenance": _as_json(origin.provenance) if origin.provenance else "",
    }
    write_text_atomically(path, render_page(len(summary.structures), context))
    return path


def _tables(summary: Summary, rows: Sequence[CaseRow]) -> dict[str, object]:
    """Tables and tiles, by their name in the template."""
    metric = main_metric(summary)
    mean = summary.mean.get(metric)
    return {
        "metric": metric_label(metric),
        "mean": format_value(metric, mean.mean if mean else None),
        "mean_interval": format_interval(metric, mean),
        "summary": summary,
        "structures": tuple(each.structure for each in summary.structures),
        "tiles": _tiles(summary),
        "headline": headline(summary),
        "all_metrics": all_metrics(summary),
        "count_columns": COUNT_COLUMNS,
        "counts": count_rows(summary),
        "case_columns": case_columns(summary),
        "cases": tuple(rows),
    }


def _tiles(summary: Summary) -> tuple[tuple[str, int, str], ...]:
    """What the page opens with beside the mean: name, number, style."""
    counts = [each.counts for each in summary.structures]
    missed, wrong = sum(each.missed for each in counts), sum(each.false_positive for each in counts)
    failed = summary.cases.get("failed", 0)
    return (
        ("cases expected", summary.cases.get("expected", 0), ""),
        ("predicted", summary.cases.get("predicted", 0), ""),
        ("failed", failed, "warn" if failed else ""),
        ("structures missed", missed, "warn" if missed else ""),
        ("false positive", wrong, "warn" if wrong else ""),
        ("not contoured", sum(each.not_contoured for each in counts), ""),
    )


def _plots(summary: Summary, cases: Sequence[Case]) -> dict[str, object]:
    marks: dict[str, list[Mark]] = {each.structure: [] for each in summary.structures}
    for case in cases:
        for score in case.structures:
            marks.setdefault(score.structure, []).append(Mark(case.case, score))
    metric = main_metric(summary)
    volumes = [plot_agreement(name, place, each) for place, (name, each) in enumerate(marks.items())]
    drawn = [plot for plot in volumes if plot is not None]
    return {
        "spread": plot_spread(marks, metric, metric_label(metric)) if metric in SHARES and marks else None,
        "volumes": tuple(drawn[:MOST_PANELS]),
        "volumes_left_out": max(0, len(drawn) - MOST_PANELS),
    }


def _curves(summary: Summary, history: Sequence[Mapping[str, float]]) -> tuple[Markup, ...]:
    keys = {
        key.partition("/")[2]: None for row in history for key in row if key.startswith("validation_dice/")
    }
    names = tuple(each.structure for each in summary.structures) or tuple(keys)
    return tuple(plot for plot in (plot_loss(history), plot_validation(history, names)) if plot is not None)


def _viewer(
    summary: Summary, cases: Sequence[Case], rows: Sequence[CaseRow], views: Mapping[str, CaseView]
) -> dict[str, object]:
    """What the page's script has to know; it is put into the page as JSON that cannot end its element."""
    names = [each.structure for each in summary.structures]
    columns = score_columns(summary)
    return {
        "structures": [{"name": name, "colour": structure_colour(place)} for place, name in enumerate(names)],
        "columns": [label for _, label in columns],
        "cases": [
            {
                "anchor": row.anchor,
                "name": row.case,
                "lead": row.cells[0].text,
                "scores": score_rows(case, names, [metric for metric, _ in columns]),
                **views[row.case].facts,
            }
            for row, case in zip(rows, cases, strict=True)
            if row.anchor
        ],
    }


def _as_json(provenance: Mapping[str, object]) -> str:
    return json.dumps(provenance, indent=2, ensure_ascii=False, default=str)

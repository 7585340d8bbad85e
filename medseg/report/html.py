"""The report as one HTML file that needs nothing else, and that no name in it can change."""

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from medseg.evaluation.case import CaseScore, FailedCase
from medseg.evaluation.statistics import Summary
from medseg.files import write_text_atomically
from medseg.report.colours import structure_colour
from medseg.report.panels import Panel
from medseg.report.plots import Mark, plot_loss, plot_spread, plot_validation, plot_volumes
from medseg.report.tables import (
    COUNT_COLUMNS,
    SHARES,
    all_metrics,
    case_columns,
    case_rows,
    count_rows,
    headline,
    main_metric,
)
from medseg.report.words import format_interval, format_value, metric_label

OPEN_CASES = 3
"""Cases whose pictures are unfolded when the page opens."""


def write_report(
    path: Path,
    *,
    title: str,
    summary: Summary,
    scores: Sequence[CaseScore],
    failed: Sequence[FailedCase] = (),
    panels: Mapping[str, Sequence[Panel]] = {},
    history: Sequence[Mapping[str, float]] = (),
    notes: Sequence[str] = (),
    configuration: str = "",
    provenance: Mapping[str, object] = {},
) -> Path:
    """Write ``report.html`` at ``path``, whole or not at all.

    Args:
        summary: of ``scores`` and of the failed cases.
        failed: cases without prediction; those of the summary are always told.
        panels: case id to its pictures (``render_panels``).
        history: rows of ``metrics.jsonl``: ``step`` with ``loss``, or with ``validation_dice`` and
            ``validation_dice/<structure>``.
        notes: shown as a banner, as that the cohort is a simulation.
        configuration: YAML. provenance: anything that JSON can say; both folded at the end.

    Returns:
        The path written.

    Raises:
        EnvironmentProblem: the file cannot be written.
    """
    failures = {each.case: each for each in (*summary.failures, *failed)}
    shown = _shown(summary, scores, tuple(failures.values()), panels)
    text = _render(
        **shown,
        title=title,
        notes=tuple(notes),
        curves=_curves(summary, history),
        configuration=configuration.strip(),
        provenance=_as_json(provenance) if provenance else "",
    )
    write_text_atomically(path, text)
    return path


def _shown(
    summary: Summary,
    scores: Sequence[CaseScore],
    failures: Sequence[FailedCase],
    panels: Mapping[str, Sequence[Panel]],
) -> dict[str, object]:
    """Tables, plots and pictures, by their name in the template."""
    metric = main_metric(summary)
    mean = summary.mean.get(metric)
    cases = case_rows(scores, failures, summary, panels)
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
        "cases": cases,
        "pictured": tuple(case for case in cases if case.panels),
        "failures": tuple(failures),
        "open_cases": OPEN_CASES,
        **_plots(summary, scores, failures),
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


def _plots(
    summary: Summary, scores: Sequence[CaseScore], failures: Sequence[FailedCase]
) -> dict[str, object]:
    marks: dict[str, list[Mark]] = {each.structure: [] for each in summary.structures}
    everyone: list[CaseScore | FailedCase] = [*scores, *failures]
    for case in everyone:
        for score in case.structures:
            marks.setdefault(score.structure, []).append(Mark(case.case, score))
    metric = main_metric(summary)
    volumes = [plot_volumes(name, place, each) for place, (name, each) in enumerate(marks.items())]
    return {
        "spread": plot_spread(marks, metric, metric_label(metric)) if metric in SHARES and marks else None,
        "volumes": tuple(plot for plot in volumes if plot is not None),
    }


def _curves(summary: Summary, history: Sequence[Mapping[str, float]]) -> tuple[Markup, ...]:
    names = tuple(each.structure for each in summary.structures)
    return tuple(plot for plot in (plot_loss(history), plot_validation(history, names)) if plot is not None)


def _render(**context: object) -> str:
    """Fill the template. The page may use its own style and script, known by their hashes, nothing else."""
    pages = Environment(
        loader=PackageLoader("medseg.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters["data_uri"] = _data_uri
    structures = context["structures"]
    count = len(structures) if isinstance(structures, tuple) else 0
    style = pages.get_template("report.css.j2").render(colours=[structure_colour(at) for at in range(count)])
    script = pages.get_template("report.js").render()
    return pages.get_template("report.html.j2").render(
        **context,
        style=Markup(style),  # noqa: S704 - our own file, filled with our own colours
        style_hash=_content_hash(style),
        script=Markup(script),  # noqa: S704 - our own file
        script_hash=_content_hash(script),
    )


def _content_hash(text: str) -> str:
    return "sha256-" + b64encode(sha256(text.encode()).digest()).decode()


def _data_uri(panel: Panel) -> str:
    return f"data:{panel.media_type};base64,{b64encode(panel.picture).decode()}"


def _as_json(provenance: Mapping[str, object]) -> str:
    return json.dumps(provenance, indent=2, ensure_ascii=False, default=str)

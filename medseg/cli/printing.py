"""What is printed when a verb is done."""

import json
import sys
from typing import Any

from rich.console import Console
from rich.table import Table

from medseg.evaluation import MetricSummary, Summary

_SHOWN = ("dice", "iou", "hd95", "assd", "nsd", "lesion_f1")


def say(text: str) -> None:
    """A line on standard error, where progress goes too; standard output is for results."""
    sys.stderr.write(text + "\n")


def print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def print_summary(summary: Summary) -> None:
    """A row a structure: counts, and means, the first metric with its 95 % interval."""
    metrics = [name for name in _SHOWN if any(name in structure.metrics for structure in summary.structures)]
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("structure", no_wrap=True)
    counted = ["cases", "missed"] + ["not drawn"] * any(s.counts.not_contoured for s in summary.structures)
    for name in counted:
        table.add_column(name, justify="right", no_wrap=True)
    for name in metrics:
        table.add_column(name, justify="right", no_wrap=True)
    for structure in summary.structures:
        counts = structure.counts
        numbers = (counts.expected, counts.missed, counts.not_contoured)[: len(counted)]
        cells = [_cell(structure.metrics.get(name), interval=name == metrics[0]) for name in metrics]
        table.add_row(structure.structure, *map(str, numbers), *cells)
    if len(summary.structures) > 1:
        cells = [_cell(summary.mean.get(name), interval=name == metrics[0]) for name in metrics]
        table.add_row("[bold]mean[/bold]", *[""] * len(counted), *cells)
    console = Console(highlight=False)
    console.print(table)
    console.print("[dim]means (dice: 95 % interval); hd95, assd in mm; all rules stand in the report[/dim]")


def _cell(metric: MetricSummary | None, *, interval: bool) -> str:
    if metric is None or metric.mean is None:
        return "-"
    if not interval or metric.low is None or metric.high is None:
        return f"{metric.mean:.3f}"
    return f"{metric.mean:.3f} [dim]({metric.low:.3f}-{metric.high:.3f})[/dim]"

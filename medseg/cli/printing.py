"""What is printed when a verb is done."""

import json
import sys
from typing import Any

from rich.console import Console
from rich.table import Table

from medseg.evaluation import MetricSummary, Summary

_SHOWN = ("dice", "iou", "hd95", "assd", "nsd")


def say(text: str) -> None:
    """A line on standard error, where progress goes too; standard output is for results."""
    sys.stderr.write(text + "\n")


def print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def print_summary(summary: Summary) -> None:
    """A row a structure: counts, and means with their 95 % intervals."""
    metrics = [name for name in _SHOWN if any(name in structure.metrics for structure in summary.structures)]
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("structure", no_wrap=True)
    for name in ("cases", "missed", "not contoured"):
        table.add_column(name, justify="right")
    for name in metrics:
        table.add_column(f"{name} [dim](mm)[/dim]" if name in ("hd95", "assd") else name, justify="right")
    for structure in summary.structures:
        counts = structure.counts
        cells = [_cell(structure.metrics.get(name)) for name in metrics]
        table.add_row(
            structure.structure, str(counts.expected), str(counts.missed), str(counts.not_contoured), *cells
        )
    if len(summary.structures) > 1:
        table.add_row("[bold]mean[/bold]", "", "", "", *(_cell(summary.mean.get(name)) for name in metrics))
    console = Console(highlight=False)
    console.print(table)
    console.print(f"[dim]mean (95 % interval: {summary.interval}); all rules stand in the report[/dim]")


def _cell(metric: MetricSummary | None) -> str:
    if metric is None or metric.mean is None:
        return "-"
    if metric.low is None or metric.high is None:
        return f"{metric.mean:.3f}"
    return f"{metric.mean:.3f} [dim]({metric.low:.3f} to {metric.high:.3f})[/dim]"

"""A comparison in the terminal."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from medseg.comparison import Comparison, PairComparison
from medseg.comparison.compare import BETTER, WORSE
from medseg.comparison.pairs import MEAN
from medseg.comparison.words import cautions, interval, p_value
from medseg.report.words import format_value, metric_label

_CASES = 5
_WIDE = 120  # for files and pipes, which have no width of their own
_COLOURS = {BETTER: "green", WORSE: "red"}


def print_comparison(comparison: Comparison) -> None:
    """A table for each two evaluations, then the cases that differ most."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_WIDE)
    for pair in comparison.pairs:
        for metric in comparison.metrics:
            told = (
                f"{metric_label(metric)}: [bold]{escape(pair.other)}[/bold] against {escape(pair.baseline)}"
            )
            console.print(told)
            console.print(_table(pair, metric))
            _print_cases(console, pair, metric)
        for row in pair.rows:
            if caution := cautions(row):
                console.print(f"[dim]{escape(caution)}[/dim]")
    console.print(
        "[dim]difference: other minus baseline, 95 % interval by bootstrap of patients; p: Wilcoxon "
        "signed-rank, Holm over all rows; r: rank-biserial; all rules stand in comparison.html[/dim]"
    )


def _table(pair: PairComparison, metric: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("structure")
    for name in ("n", "baseline", "other", "difference", "p (Holm)", "r", "win/tie/loss", "verdict"):
        table.add_column(name, justify="right", no_wrap=name != "difference")
    for row in (each for each in pair.rows if each.metric == metric):
        difference = format_value(row.metric, row.difference, signed=True)
        colour = _COLOURS.get(row.verdict, "dim")
        table.add_row(
            escape(row.structure),
            str(row.cases) if row.cases == row.patients else f"{row.cases}/{row.patients}",
            format_value(row.metric, row.baseline_mean),
            format_value(row.metric, row.other_mean),
            f"{difference} [dim]({interval(row)})[/dim]",
            p_value(row.p_holm),
            format_value("", row.test.rank_biserial if row.test else None, signed=True),
            f"{row.wins}/{row.ties}/{row.losses}",
            f"[{colour}]{row.verdict}[/{colour}]",
        )
    return table


def _print_cases(console: Console, pair: PairComparison, metric: str) -> None:
    found = (each for each in pair.cases if each.metric == metric and each.structure != MEAN)
    shown = [each for each in found if each.pair.difference][:_CASES]
    if not shown:
        return
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("differ most")
    table.add_column("structure")
    for name in ("baseline", "other", "difference"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in shown:
        values = (each.pair.baseline, each.pair.other)
        states = (each.pair.baseline_status, each.pair.other_status)
        cells = [
            format_value(each.metric, value)
            + (f" [dim]{status.replace('_', ' ')}[/dim]" if status != "scored" else "")
            for value, status in zip(values, states, strict=True)
        ]
        difference = format_value(each.metric, each.pair.difference, signed=True)
        table.add_row(escape(each.pair.case), escape(each.structure), *cells, difference)
    console.print(table)

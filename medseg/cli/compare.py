"""medseg compare"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medseg.cli.options import Json

if TYPE_CHECKING:
    from medseg.comparison import Comparison


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN RUN ...",
            help="Finished runs, folders of medseg evaluate, or cases.csv files. The first is the baseline.",
        ),
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Folder for comparison.csv, .json, .html and _cases.csv.")
    ] = Path("comparison"),
    metric: Annotated[
        list[str] | None,
        typer.Option(help="A column of cases.csv, as in --metric hd95. Repeatable. Default: dice."),
    ] = None,
    all_pairs: Annotated[
        bool, typer.Option("--all-pairs", help="Compare all with one another, not only with the first.")
    ] = False,
    tie: Annotated[
        float, typer.Option(min=0.0, help="Cases that differ by no more than this count as ties.")
    ] = 0.0,
    different_references: Annotated[
        bool,
        typer.Option(
            "--different-references",
            help="Compare although the references differ; the result says so.",
        ),
    ] = False,
    json: Json = False,
) -> int:
    """Compare evaluations of the same cases, paired by patient.

    Wilcoxon's signed-rank test corrected by Holm, bootstrap intervals, effect sizes, wins and losses, and the
    cases that differ most: in the terminal, as CSV and JSON, and as comparison.html. Exit code 3 when cases
    had no partner. Choose the metric before you look; docs/comparison.md says how to read the result.
    """
    from medseg.cli.compare_display import print_comparison
    from medseg.cli.printing import print_json, say
    from medseg.comparison import compare as compare_evaluations
    from medseg.comparison import read_evaluations, write_comparison
    from medseg.comparison.files import as_json

    found = compare_evaluations(
        read_evaluations(runs),
        metric or ["dice"],
        all_pairs=all_pairs,
        tie=tie,
        different_references=different_references,
    )
    page = write_comparison(out, found)
    if json:
        print_json({"report": str(page), **as_json(found)})
    else:
        print_comparison(found)
        say(f"comparison: {page}")
    return 3 if _say_what_is_missing(found) else 0


def _say_what_is_missing(comparison: "Comparison") -> bool:
    """On standard error, with either output: nothing is dropped silently."""
    from medseg.cli.printing import say

    for pair in comparison.pairs:
        for note in pair.notes:
            say(f"note: {note}")
        for each in pair.left_out:
            what = f"case {each.case}" + (f", {each.structure}" if each.structure else "")
            say(f"not paired: {what}: {each.reason}")
    return any(not each.structure for pair in comparison.pairs for each in pair.left_out)

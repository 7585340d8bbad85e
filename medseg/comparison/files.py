"""A comparison on disk: ``comparison.csv``, ``.json`` and ``.html``, and ``comparison_cases.csv``."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from medseg.comparison.compare import Comparison, PairComparison, Row
from medseg.comparison.page import render_page
from medseg.evaluation.files import inert_text
from medseg.files import write_json_atomically, write_text_atomically

_TEST = ("p", "method", "rank_biserial", "smallest_p")


def write_comparison(folder: Path, comparison: Comparison) -> Path:
    """Write the four files into ``folder``; all follows from the pairs in ``comparison_cases.csv``.

    Returns:
        The page.

    Raises:
        EnvironmentProblem: a file cannot be written.
    """
    write_text_atomically(folder / "comparison.csv", _rows_csv(comparison))
    write_text_atomically(folder / "comparison_cases.csv", _cases_csv(comparison))
    write_json_atomically(folder / "comparison.json", as_json(comparison))
    page = folder / "comparison.html"
    write_text_atomically(page, render_page(comparison))
    return page


def as_json(comparison: Comparison) -> dict[str, Any]:
    """Everything, as JSON can say it."""
    told = asdict(comparison)
    for pair in told["pairs"]:
        pair["cases"] = [
            {"metric": each["metric"], "structure": each["structure"], **each["pair"]}
            for each in pair["cases"]
        ]
    return told


def _rows_csv(comparison: Comparison) -> str:
    rows = [_row(pair, row) for pair in comparison.pairs for row in pair.rows]
    return _csv(tuple(rows[0]), (tuple(row.values()) for row in rows))


def _row(pair: PairComparison, row: Row) -> dict[str, Any]:
    plain = asdict(row)
    test = plain.pop("test") or dict.fromkeys(_TEST)
    return {"baseline": pair.baseline, "other": pair.other, **plain, **test}


def _cases_csv(comparison: Comparison) -> str:
    columns = (
        "baseline", "other", "metric", "structure", "case", "patient", "baseline_value", "other_value",
        "difference", "baseline_status", "other_status", "left_out",
    )  # fmt: skip
    lines: list[tuple[Any, ...]] = []
    for pair in comparison.pairs:
        names = (pair.baseline, pair.other)
        for each in pair.cases:
            one = each.pair
            values = (one.baseline, one.other, one.difference, one.baseline_status, one.other_status)
            lines.append((*names, each.metric, each.structure, one.case, one.patient, *values, ""))
        lines += [(*names, "", lost.structure, lost.case, *[""] * 6, lost.reason) for lost in pair.left_out]
    return _csv(columns, lines)


def _csv(columns: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([_cell(value) for value in line] for line in lines)
    return text.getvalue()


def _cell(value: object) -> str:
    """Numbers in full, undefined ones empty, text so that no spreadsheet runs it."""
    if value is None:
        return ""
    return inert_text(value) if isinstance(value, str) else repr(value)

"""Scores on disk: ``cases.csv`` (a row a structure of a case, read back without loss), ``summary.json``."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import get_args

from medseg.errors import Code, CohortError
from medseg.evaluation.case import ALWAYS_TOLD, CaseScore, FailedCase, Status, StructureScore
from medseg.evaluation.statistics import Summary
from medseg.files import read_regular, write_text_atomically

MAX_BYTES = 500_000_000
_FRONT = ("case", "patient", "outcome", "structure", "status", "reference_ml", "prediction_ml")
_BACK = ("reason",)
_HASH = "reference_hash"  # evaluations of earlier versions have none
_TEXTS = ("case", "patient", "outcome", "structure", "status", _HASH, *_BACK)
_OVERALL = "overall_"
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")

Row = Mapping[str, str]


def write_cases_csv(path: Path, scores: Sequence[CaseScore], failed: Sequence[FailedCase] = ()) -> None:
    """Write one row for each structure of each case; numbers in full, undefined ones as empty cells.

    A failed case without a reference has one row with no structure. Text that a spreadsheet would take for a
    formula gets a leading apostrophe, which ``read_cases_csv`` takes off again.

    Raises:
        EnvironmentProblem: the file cannot be written.
    """
    cases: tuple[CaseScore | FailedCase, ...] = (*scores, *failed)
    values = dict.fromkeys(key for case in cases for one in case.structures for key in one.values)
    overall = dict.fromkeys(metric for score in scores for metric in score.overall)
    told = [*ALWAYS_TOLD, *(key for key in values if key not in ALWAYS_TOLD)]
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([*_FRONT, _HASH, *told, *(_OVERALL + metric for metric in overall), *_BACK])
    for case in cases:
        for one in case.structures or (None,):
            writer.writerow(_cells(case, one, told, list(overall)))
    write_text_atomically(path, text.getvalue())


def _cells(
    case: CaseScore | FailedCase, one: StructureScore | None, told: Sequence[str], overall: Sequence[str]
) -> list[str]:
    lost = isinstance(case, FailedCase)
    front = [inert_text(case.case), inert_text(case.patient), "failed" if lost else "predicted"]
    if one is None:
        front += [""] * (5 + len(told))
    else:
        front += [
            inert_text(one.structure),
            one.status,
            _number(one.reference_ml),
            _number(one.prediction_ml),
            one.reference_hash,
        ]
        front += [_number(one.values.get(key)) for key in told]
    if isinstance(case, FailedCase):
        return [*front, *([""] * len(overall)), inert_text(case.reason)]
    return [*front, *(_number(case.overall.get(metric)) for metric in overall), ""]


def inert_text(value: str) -> str:
    """A cell that a spreadsheet would run as a formula, with a quote in front, so that it stays text."""
    risky = value.startswith((*_FORMULA, "'")) or value.lstrip().startswith(_FORMULA)
    return "'" + value if risky else value


def _plain(cell: str) -> str:
    return cell.removeprefix("'")


def _number(value: float | None) -> str:
    return "" if value is None else repr(float(value))


def read_cases_csv(path: Path) -> tuple[tuple[CaseScore, ...], tuple[FailedCase, ...]]:
    """Read what ``write_cases_csv`` wrote: scores and failed cases, in their order.

    Raises:
        CohortError: naming each line that is damaged.
    """
    try:
        text = read_regular(path, MAX_BYTES).decode("utf-8", errors="surrogateescape")
    except OSError as error:
        raise CohortError(
            Code.SCORES_TABLE, f"{path.name}: cannot be read ({error.strerror}): correct the path"
        ) from None
    columns, lines = _lines(path.name, text)
    if missing := [column for column in (*_FRONT, *_BACK) if column not in columns]:
        raise CohortError(
            Code.SCORES_TABLE,
            f"{path.name}: no column {', '.join(missing)}: give a cases.csv that medseg wrote",
        )
    rows: dict[str, list[Row]] = {}
    problems = []
    for line, row in lines:
        if problem := _problem(row, columns):
            problems.append(f"{path.name} line {line}: {problem}; write the file anew with medseg evaluate")
            continue
        rows.setdefault(row["case"], []).append(row)
    CohortError.raise_if(Code.SCORES_TABLE, problems)
    scores = tuple(_score(found, columns) for found in rows.values() if found[0]["outcome"] == "predicted")
    failed = tuple(_failure(found, columns) for found in rows.values() if found[0]["outcome"] == "failed")
    return scores, failed


def _lines(name: str, text: str) -> tuple[tuple[str, ...], list[tuple[int, Row]]]:
    """The columns, and the rows with their line numbers; a row of another length is empty."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        columns = tuple(next(reader, []))
        whole = len(set(columns)) == len(columns)
        return columns, [
            (
                reader.line_num,
                dict(zip(columns, row, strict=True)) if whole and len(row) == len(columns) else {},
            )
            for row in reader
            if row
        ]
    except csv.Error as error:
        raise CohortError(
            Code.SCORES_TABLE,
            f"{name} line {reader.line_num}: {error}; write the file anew with medseg evaluate",
        ) from None


def _problem(row: Row, columns: Sequence[str]) -> str | None:
    if not row:
        return f"the row does not have {len(columns)} cells, or two columns have one name"
    if row["outcome"] not in ("predicted", "failed"):
        return f"outcome {row['outcome']!r}: predicted or failed is expected"
    if row["structure"] and row["status"] not in get_args(Status):
        return f"status {row['status']!r}: one of {', '.join(get_args(Status))} is expected"
    for column in columns:
        if column not in _TEXTS and not _is_number(row[column]):
            return f"{column} {row[column]!r}: a number or nothing is expected"
    return None


def _is_number(cell: str) -> bool:
    try:
        return not cell or math.isfinite(float(cell))
    except ValueError:
        return False


def _read_number(cell: str) -> float | None:
    return float(cell) if cell else None


def _score(rows: Sequence[Row], columns: Sequence[str]) -> CaseScore:
    overall = {
        column.removeprefix(_OVERALL): _read_number(rows[0][column])
        for column in columns
        if column.startswith(_OVERALL)
    }
    return CaseScore(_plain(rows[0]["case"]), _plain(rows[0]["patient"]), _structures(rows, columns), overall)


def _failure(rows: Sequence[Row], columns: Sequence[str]) -> FailedCase:
    case, patient, reason = (_plain(rows[0][column]) for column in ("case", "patient", "reason"))
    return FailedCase(case, patient, reason, _structures(rows, columns))


def _structures(rows: Sequence[Row], columns: Sequence[str]) -> tuple[StructureScore, ...]:
    told = [c for c in columns if c not in (*_FRONT, *_TEXTS) and not c.startswith(_OVERALL)]
    statuses: dict[str, Status] = {status: status for status in get_args(Status)}
    return tuple(
        StructureScore(
            _plain(row["structure"]),
            statuses[row["status"]],
            _read_number(row["reference_ml"]),
            _read_number(row["prediction_ml"]),
            {key: _read_number(row[key]) for key in told},
            row.get(_HASH, ""),
        )
        for row in rows
        if row["structure"]
    )


def write_summary_json(path: Path, summary: Summary) -> None:
    """Write the summary as strict JSON: undefined numbers are null.

    Raises:
        EnvironmentProblem: the file cannot be written.
    """
    write_text_atomically(path, json.dumps(asdict(summary), indent=2, allow_nan=False) + "\n")

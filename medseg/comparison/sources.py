"""What is compared: the ``cases.csv`` of run folders and of evaluations, with names to tell them apart."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medseg.errors import Code, CohortError, UsageError
from medseg.evaluation import CaseScore, FailedCase, read_cases_csv
from medseg.evaluation.files import MAX_BYTES
from medseg.files import read_regular


@dataclass(frozen=True)
class Evaluated:
    """One evaluation. ``rules`` are those of its ``summary.json``, empty where there is none."""

    name: str
    path: Path
    cases: Mapping[str, CaseScore | FailedCase]
    rules: tuple[str, ...] = ()


def read_evaluations(paths: Sequence[Path]) -> tuple[Evaluated, ...]:
    """Read two or more run folders, evaluation folders or ``cases.csv`` files.

    Raises:
        UsageError: fewer than two, one given twice, or one without ``cases.csv``.
        CohortError: a file is damaged.
    """
    if len(paths) < 2:
        raise UsageError(Code.OPTION, f"{len(paths)} evaluation given: give two or more, the baseline first")
    tables = [_table(path) for path in paths]
    whole = [table.absolute().resolve() for table in tables]
    UsageError.raise_if(
        Code.OPTION,
        (
            f"{path}: given twice; give different evaluations"
            for path in {p for p in whole if whole.count(p) > 1}
        ),
    )
    names = _names([table.parent if table.name == "cases.csv" else table for table in whole])
    return tuple(_read(name, table) for name, table in zip(names, tables, strict=True))


def _table(path: Path) -> Path:
    table = path / "cases.csv" if path.is_dir() else path
    if not table.is_file():
        raise UsageError(
            Code.INPUT_NOT_FOUND,
            f"{path}: no cases.csv there; give a finished run, or make one with medseg evaluate",
        )
    return table


def _names(places: Sequence[Path]) -> list[str]:
    """The last parts of the paths, as few as tell all apart."""
    longest = max(len(place.parts) for place in places)
    for count in range(1, longest + 1):
        names = ["/".join(place.parts[-count:]) for place in places]
        if len(set(names)) == len(names):
            return names
    return [str(place) for place in places]


def _read(name: str, table: Path) -> Evaluated:
    scores, failed = read_cases_csv(table)
    both: tuple[CaseScore | FailedCase, ...] = (*scores, *failed)
    return Evaluated(name, table, {case.case: case for case in both}, _rules(table.with_name("summary.json")))


def _rules(path: Path) -> tuple[str, ...]:
    try:
        told: Any = json.loads(read_regular(path, MAX_BYTES))
        return tuple(str(rule) for rule in told["rules"])
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, KeyError, TypeError):
        raise CohortError(
            Code.SCORES_TABLE,
            f"{path}: no summary that medseg wrote; write it anew with medseg evaluate, or remove it",
        ) from None

"""A cohort as a CSV: ``case,image[,image2...],label[,patient][,not_contoured]``, one line a scan."""

import csv
import difflib
import io
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from medseg.config import DataConfig
from medseg.data.case import Case, Findings
from medseg.data.naming import safe_id
from medseg.data.tree import is_scan
from medseg.errors import Code, CohortError
from medseg.files import read_regular

log = logging.getLogger(__name__)

MAX_BYTES = 100_000_000
_OPTIONAL = ("patient", "not_contoured")
Row = Mapping[str, str]


def find_in_csv(path: Path, config: DataConfig, structures: Sequence[str]) -> Findings:
    """The cases of a table. Paths are relative to the table; ``not_contoured`` is ``brainstem;mandible``."""
    header, rows = _read(path)
    images, problems = _image_columns(header, config)
    problems += _columns(header, images)
    if problems:
        return Findings(problems=tuple(f"{path}: {problem}" for problem in problems))
    cases: list[Case] = []
    lines: dict[str, int] = {}
    for number, values in rows:
        found = _row(header, values, images, path.parent, structures)
        if isinstance(found, Case) and found.id in lines:
            found = [f"case {found.id} is already on line {lines[found.id]}: give each scan its own name"]
        if isinstance(found, Case):
            lines[found.id] = number
            cases.append(found)
        else:
            problems += [f"{path} line {number}: {problem}" for problem in found]
    return Findings(tuple(cases), tuple(problems))


def _read(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header, and the other lines with their numbers; empty lines are left out."""
    try:
        text = read_regular(path, MAX_BYTES).decode("utf-8-sig")
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        lines = [(reader.line_num, [value.strip() for value in values]) for values in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        told = error.strerror if isinstance(error, OSError) else error
        raise CohortError(
            Code.COHORT_TABLE, f"{path}: cannot be read as CSV in UTF-8 ({told}): save it anew"
        ) from None
    filled = [(number, values) for number, values in lines if any(values)]
    return (filled[0][1] if filled else []), filled[1:]


def _image_columns(header: Sequence[str], config: DataConfig) -> tuple[list[str], list[str]]:
    """The columns that hold images, in the order of the channels."""
    channels = list(config.channels or ())
    if channels and set(channels) <= set(header):
        return channels, []
    numbered = [
        name for name in header if name == "image" or (name.startswith("image") and name[5:].isdecimal())
    ]
    numbered.sort(key=lambda name: int(name[5:] or 1))
    expected = len(channels) or 1
    if numbered and len(numbered) != expected:
        told = (
            f"data.channels has {', '.join(channels)}"
            if channels
            else "data.channels is not set, so one is expected"
        )
        return numbered, [f"{len(numbered)} image columns ({', '.join(numbered)}); {told}"]
    return numbered, []


def _columns(header: Sequence[str], images: Sequence[str]) -> list[str]:
    if len(header) == 1 and any(mark in header[0] for mark in ";\t"):
        return ["the columns are not parted by commas: save the table as CSV with commas"]
    problems = [
        f"column {name} is there twice" for name in sorted({n for n in header if header.count(n) > 1})
    ]
    known = ["case", *(images or ["image"]), "label", *_OPTIONAL]
    problems += [f"no column {name} (found {', '.join(header)})" for name in known[:-2] if name not in header]
    for name in header:
        if name not in known:
            near = difflib.get_close_matches(
                name.lower(), [k for k in known if k not in header], n=1, cutoff=0.75
            )
            if near:
                problems.append(f"column {name}: not known (did you mean {near[0]}?)")
            else:
                log.info("column %s of the cohort is not used", name)
    return problems


def _row(
    header: Sequence[str],
    values: Sequence[str],
    images: Sequence[str],
    folder: Path,
    structures: Sequence[str],
) -> Case | list[str]:
    if len(values) > len(header):
        return [f"{len(values)} values for {len(header)} columns: put a value with a comma in double quotes"]
    cells = [*values, *[""] * (len(header) - len(values))]
    return _case(dict(zip(header, cells, strict=True)), images, folder, structures)


def _case(row: Row, images: Sequence[str], folder: Path, structures: Sequence[str]) -> Case | list[str]:
    name = row["case"]
    problems = []
    if not name:
        problems.append("column case is empty: name the scan")
    elif name != safe_id(name):
        problems.append(f"case {name!r} is not a safe file name: write {safe_id(name)!r}")
    for column in (*images, "label"):
        problem = _path_problem(column, row[column], folder)
        if problem:
            problems.append(f"case {name}: {problem}" if name else problem)
    unseen = [part.strip() for part in row.get("not_contoured", "").split(";") if part.strip()]
    for structure in unseen:
        if structure not in structures:
            near = difflib.get_close_matches(structure, structures, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(structures)}"
            problems.append(f"case {name}: not_contoured {structure!r} is not one of the labels ({hint})")
    if problems:
        return problems
    return Case(
        id=name,
        images=tuple(folder / row[column] for column in images),
        label=folder / row["label"],
        patient=row.get("patient", ""),
        not_contoured=frozenset(unseen),
    )


def _path_problem(column: str, text: str, folder: Path) -> str:
    if not text:
        return f"no {column}: give its path, relative to the table"
    path = folder / text
    if not path.exists():
        return f"{column} {path} does not exist: correct the path (it is relative to the table)"
    if not is_scan(path):
        return f"{column} {path} is neither a volume file nor a DICOM folder"
    return ""

"""Several batches of one cohort as one: every patient once, one table, one list of failures."""

import csv
import io
import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medseg.errors import Code, CohortError
from medseg.files import read_regular, write_json_atomically, write_text_atomically

_MOST_BYTES = 200_000_000
_ORIGIN = ("medseg", "model", "settings")


@dataclass(frozen=True)
class Shard:
    """A folder that ``medseg infer`` wrote."""

    folder: Path
    columns: tuple[str, ...]
    rows: tuple[dict[str, str], ...]
    """Of its summary.csv."""
    failures: tuple[dict[str, Any], ...]
    manifest: dict[str, Any]


@dataclass(frozen=True)
class Merged:
    rows: tuple[dict[str, str], ...]
    """Sorted by patient; ``shard`` names the folder that the mask lies in."""
    failures: tuple[dict[str, Any], ...]
    columns: tuple[str, ...]
    origin: dict[str, Any]
    """Model and settings, which all shards share, and the version of medseg."""

    def with_status(self, status: str) -> int:
        return sum(row["status"] == status for row in self.rows)

    def volumes(self) -> dict[str, dict[str, float]]:
        """Structure to count, mean, median and range of its volume in mL over patients that are done."""
        found = {}
        for column in (column for column in self.columns if column.endswith("_ml")):
            values = [float(row[column]) for row in self.rows if row[column]]
            if values:
                found[column.removesuffix("_ml")] = {
                    "patients": len(values),
                    "mean_ml": statistics.fmean(values),
                    "median_ml": statistics.median(values),
                    "smallest_ml": min(values),
                    "largest_ml": max(values),
                }
        return found


def read_shard(folder: Path) -> Shard:
    """What a batch left.

    Raises:
        CohortError: not a finished batch, or a table that is damaged.
    """
    try:
        table = io.StringIO(_text(folder / "summary.csv"), newline="")
        manifest = json.loads(_text(folder / "manifest.json"))
        failures = json.loads(_text(folder / "failures.json")) if (folder / "failures.json").exists() else []
        reader = csv.DictReader(table, strict=True)
        rows = tuple({name: row[name] or "" for name in reader.fieldnames or ()} for row in reader)
    except (OSError, ValueError, KeyError, RecursionError, csv.Error):
        raise CohortError(
            Code.SHARD, f"{folder}: not a whole batch: run the medseg infer that wrote it again"
        ) from None
    columns = tuple(reader.fieldnames or ())
    whole = {"patient", "status", "mask"} <= set(columns) and isinstance(manifest, dict)
    if not whole or not isinstance(failures, list):
        raise CohortError(Code.SHARD, f"{folder}: its tables are not those of medseg infer: infer it anew")
    return Shard(folder, columns, rows, tuple(failures), manifest)


def merge_shards(shards: Sequence[Shard]) -> Merged:
    """All patients of all ``shards``.

    Raises:
        CohortError: a patient is there twice or not done; or the shards are of different models or settings.
    """
    first = shards[0]
    problems = [
        f"{shard.folder}: another {what} than {first.folder}: infer both with one"
        for shard in shards[1:]
        for what in ("model", "settings")
        if shard.manifest.get(what) != first.manifest.get(what)
    ]
    problems += _patients(shards)
    CohortError.raise_if(Code.SHARD, problems)
    columns = tuple(dict.fromkeys(column for shard in shards for column in shard.columns))
    rows = [
        {"shard": shard.folder.name, **{column: row.get(column, "") for column in columns}}
        for shard in shards
        for row in shard.rows
    ]
    failures = sorted((f for shard in shards for f in shard.failures), key=lambda f: str(f.get("patient")))
    rows.sort(key=lambda row: row["patient"])
    origin = {name: first.manifest[name] for name in _ORIGIN if name in first.manifest}
    return Merged(tuple(rows), tuple(failures), ("shard", *columns), origin)


def _patients(shards: Iterable[Shard]) -> list[str]:
    seen: dict[str, Path] = {}
    problems = []
    for shard in shards:
        for row in shard.rows:
            name = row["patient"]
            if row["status"] == "not done":
                problems.append(f"{shard.folder}: patient {name} is not done: run its medseg infer again")
            if name in seen:
                problems.append(f"patient {name}: in {seen[name]} and in {shard.folder}: leave one")
            seen[name] = shard.folder
    return problems


def write_merged(merged: Merged, out: Path) -> None:
    """Write summary.csv and failures.json (where some failed) into ``out``.

    Raises:
        EnvironmentProblem: the disk is full.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, merged.columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(merged.rows)
    if merged.failures:
        write_json_atomically(out / "failures.json", list(merged.failures))
    else:
        (out / "failures.json").unlink(missing_ok=True)
    write_text_atomically(out / "summary.csv", text.getvalue())


def _text(path: Path) -> str:
    return read_regular(path, _MOST_BYTES).decode("utf-8", "surrogateescape")

"""A batch as one HTML page: who is done, who failed and why, volumes, and which masks to look at first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from medseg.files import write_text_if_other
from medseg.report.marks import add_dots, shortened
from medseg.report.origin import origin_rows
from medseg.report.svg import Drawing, Scale, x_axis
from medseg.report.templating import TABLES, render_page

_ML = "_ml"
_ORDER = {"failed": 0, "not done": 1}
"""What comes first in the table; masks to look at follow, then the rest."""


@dataclass(frozen=True)
class BatchPage:
    """What the page is made of.

    Attributes:
        rows: of summary.csv, cells as they are in the file; a column ``shard`` where there are several.
        volumes: of each structure, numbers by their names, the same for all.
        origin: where the masks come from; mappings may lie in each other.
    """

    title: str
    rows: Sequence[Mapping[str, str]]
    volumes: Mapping[str, Mapping[str, float]]
    origin: Mapping[str, object]


def write_batch_page(path: Path, batch: BatchPage) -> Path:
    """Write the page, unless it is there as it would be; names are escaped, and it needs no other file.

    Raises:
        EnvironmentProblem: the disk is full.
    """
    rows = sorted(
        ({key: cell.removeprefix("'") for key, cell in row.items()} for row in batch.rows),  # inert_text's
        key=lambda row: (_ORDER.get(row["status"], 2 if row.get("review") else 3), row["patient"]),
    )
    status = [row["status"] for row in rows]
    failed = [row for row in rows if row["status"] == "failed"]
    review = sum(bool(row.get("review")) for row in rows)
    structures = list(batch.volumes)
    context: dict[str, object] = {
        "title": batch.title,
        "tiles": (
            ("patients", len(rows), "lead"),
            ("done", status.count("done"), ""),
            ("failed", len(failed), "warn" if failed else ""),
            ("to look at", review, "warn" if review else ""),
        ),
        "structures": structures,
        "volumes": [
            (name, [f"{number:.4g}" for number in told.values()]) for name, told in batch.volumes.items()
        ],
        "numbers": [_words(name) for name in next(iter(batch.volumes.values()), {})],
        "plots": [plot for place, name in enumerate(structures) if (plot := _plot(rows, name, place))],
        "failed": failed,
        "rows": rows,
        "several": any(row.get("shard") for row in rows),
        "judged": any(row.get("expected_dice") for row in rows),
        "measured": [(name, name + _ML) for name in structures],
        "origin": origin_rows(batch.origin),
    }
    text = render_page(len(structures), context, template="batch.html.j2", scripts=TABLES)
    write_text_if_other(path, text)
    return path


def _words(name: str) -> str:
    """``median_ml`` as ``Median, mL``."""
    unit = ", mL" if name.endswith(_ML) else ""
    return name.removesuffix(_ML).capitalize() + unit


def _plot(rows: Sequence[Mapping[str, str]], structure: str, place: int) -> Markup | None:
    """The volume of one structure in each patient, a dot each; None for fewer than two."""
    found = [(row["patient"], float(cell)) for row in rows if (cell := row.get(structure + _ML, ""))]
    if len(found) < 2:
        return None
    left, right, bottom = 16, 404, 74
    x = Scale(0.0, max(value for _, value in found) * 1.04 or 1.0, left, right)
    drawing = Drawing(420, 118, f"{structure}: volume in {len(found)} patients")
    drawing.text((left, 16), shortened(structure, 40), "name", "start")
    x_axis(drawing, x, 26, bottom, x.ticks(5))
    drawing.text(((left + right) / 2, 110), "mL", "label")
    dots = [
        ((x(value), 50 + ((number * 0.618034) % 1.0 - 0.5) * 34), "dot", f"{patient}: {value:.4g} mL")
        for number, (patient, value) in enumerate(found)
    ]
    add_dots(drawing, dots, place)
    return drawing.finish()

"""The check as one HTML file that needs nothing else, and that no name in it can change."""

from base64 import b64encode
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from markupsafe import Markup
from PIL import Image

from medseg.audit.check import Checked
from medseg.audit.cohort import Cohort
from medseg.audit.findings import Severity
from medseg.audit.plots import Strip, plot_ranges, plot_strips
from medseg.audit.thumbnail import Thumbnail
from medseg.files import write_text_atomically
from medseg.report.templating import TABLES, render_page

MOST_PICTURES = 40
_PIXELS = 160


@dataclass(frozen=True)
class _Picture:
    case: str
    told: tuple[str, ...]
    sheets: tuple[tuple[str, str], ...]
    """Plane and data URI."""


def write_check(path: Path, found: Checked) -> Path:
    """Write the page at ``path``, whole or not at all.

    Raises:
        EnvironmentProblem: it cannot be written.
    """
    cohort = found.cohort
    context: dict[str, object] = {
        "title": f"{found.experiment.name}: check of the cohort",
        "tiles": (
            ("cases found", len(cohort.cases), ""),
            ("cases read", len(cohort.facts), "warn" if len(cohort.facts) < len(cohort.cases) else ""),
            *(
                (f"{severity.value}s", found.count(severity), "warn" if _counts(found, severity) else "")
                for severity in Severity
            ),
        ),
        "findings": found.findings,
        "structures": _structures(cohort),
        "plots": _plots(found),
        "ranges": _ranges(found),
        "pictures": _pictures(found),
        "forecast": [] if found.forecast is None else _forecast(found),
    }
    colours = max(3, len(found.experiment.labels))
    page = render_page(colours, context, template="check.html.j2", scripts=TABLES)
    write_text_atomically(path, page)
    return path


def _counts(found: Checked, severity: Severity) -> bool:
    return severity is not Severity.NOTE and found.count(severity) > 0


def _marked(found: Checked) -> frozenset[str]:
    return frozenset(case for finding in found.findings for case in finding.cases)


def _structures(cohort: Cohort) -> list[tuple[str, int, tuple[str, ...]]]:
    """Name, place and cells of each structure: value, cases by part, volume."""
    split = cohort.split
    rows = []
    for place, (name, value) in enumerate(cohort.experiment.labels.items()):
        shown = cohort.drawn(name)
        parts = (split.train, split.validation, split.test) if split else ((), (), ())
        counts = [f"{sum(case.id in shown for case in part)} of {len(part)}" for part in parts]
        volumes = [each.look.values[value].volume_ml for each in shown.values()]
        spread = "–"
        if volumes:
            low, median, high = np.percentile(volumes, (5, 50, 95))
            spread = f"{median:.3g} ({low:.3g} to {high:.3g})"
        rows.append((name, place, (str(value), *counts, spread)))
    return rows


def _plots(found: Checked) -> list[tuple[str, Markup]]:
    cohort, marked = found.cohort, _marked(found)
    axes = ("right", "anterior", "superior")
    spacing = [
        Strip(axis, {name: each.look.spacing_mm[at] for name, each in cohort.facts.items()}, at)
        for at, axis in enumerate(axes)
    ]
    sizes = [
        Strip(axis, {name: each.look.size_mm[at] for name, each in cohort.facts.items()}, at)
        for at, axis in enumerate(axes)
    ]
    volumes = [
        Strip(
            name, {case: each.look.values[value].volume_ml for case, each in cohort.drawn(name).items()}, at
        )
        for at, (name, value) in enumerate(cohort.experiment.labels.items())
    ]
    drawn = [
        ("Spacing of the scans", plot_strips("Spacing by axis", "spacing (mm)", spacing, marked)),
        ("Size of the scans", plot_strips("Size by axis", "size (mm)", sizes, marked)),
        ("Volume of the structures", plot_strips("Volume by structure", "volume (mL)", volumes, marked)),
    ]
    return [(name, plot) for name, plot in drawn if plot is not None]


def _ranges(found: Checked) -> list[tuple[str, Markup]]:
    cohort = found.cohort
    if not cohort.facts:
        return []
    names = list(cohort.experiment.data.channels or ()) or ["image"]
    return [
        (
            f"Intensities of {names[at]}",
            plot_ranges(
                f"Intensities of {names[at]} by case",
                {name: each.channels[at].quantiles for name, each in cohort.facts.items()},
                _marked(found),
            ),
        )
        for at in range(cohort.experiment.channel_count)
    ]


def _pictures(found: Checked) -> list[_Picture]:
    """The cases with findings, the worst first; where there are none, the first ones."""
    facts = found.cohort.facts
    told: dict[str, list[str]] = {}
    for finding in found.findings:
        for case in finding.cases:
            if case in facts:
                told.setdefault(case, []).append(finding.name)
    names = list(told) or list(facts)
    return [
        _Picture(name, tuple(dict.fromkeys(told.get(name, ()))), _sheets(facts[name].thumbnail))
        for name in names[:MOST_PICTURES]
    ]


def _sheets(small: Thumbnail) -> tuple[tuple[str, str], ...]:
    """The middle slice of three planes, as a radiologist sees it: the patient's right on the left."""
    i, j, k = (n // 2 for n in small.cells.shape)
    planes = (
        ("axial", small.cells[::-1, ::-1, k]),
        ("coronal", small.cells[::-1, j, ::-1]),
        ("sagittal", small.cells[i, ::-1, ::-1]),
    )
    return tuple((name, _png(plane.T)) for name, plane in planes)


def _png(rows: np.ndarray) -> str:
    picture = Image.fromarray(np.ascontiguousarray(rows))
    scale = _PIXELS / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    stream = BytesIO()
    picture.resize(size, Image.Resampling.BICUBIC).save(stream, "PNG", optimize=True)
    return "data:image/png;base64," + b64encode(stream.getvalue()).decode()


def _forecast(found: Checked) -> list[tuple[str, str]]:
    told = found.forecast
    if told is None:
        return []
    rows = [
        ("Network", f"{told.network} of {told.parameters / 1e6:.1f} M parameters"),
        (
            "Split",
            f"{told.train} train, {told.validation} validate, {told.test} held out; {told.folds} folds",
        ),
    ]
    if told.minutes is not None:
        rows.append(("Training", f"about {told.minutes:.0f} min on {told.device} in {told.precision}"))
    rows.append(("Preparing", f"about {told.preparing_minutes:.1f} min the first time"))
    rows.append(("Memory", f"about {told.peak_gib:.1f} GiB of RAM"))
    if told.vram_gib is not None:
        rows.append(("GPU memory", f"about {told.vram_gib:.1f} GiB"))
    rows.append(
        ("Disk", f"about {told.cache_gib:.2g} GiB in the cache ({told.cache_free_gib:.0f} GiB are free)")
    )
    return rows

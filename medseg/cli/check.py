"""medseg check"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medseg.cli.options import ConfigFile, Json, Overrides

if TYPE_CHECKING:
    from medseg.audit import Checked
    from medseg.training.forecast import Forecast


def check(
    config: ConfigFile,
    set_: Overrides = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Write a page (HTML) with all findings and pictures of the cohort."),
    ] = None,
    preview: Annotated[
        Path | None, typer.Option(help="Write a picture (PNG) of what augmentation does to a training case.")
    ] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of configurations, for editors.")
    ] = False,
    measure: Annotated[
        bool,
        typer.Option("--measure/--no-measure", help="Time a few steps here, or tell memory and disk alone."),
    ] = True,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 2 for warnings, too; else for faults alone.")
    ] = False,
    json: Json = False,
) -> int:
    """Audit a configuration and its cohort; tell the cost.

    Reads every case and tells all faults at once: files that cannot be read, grids that do not fit, scans
    that are there twice, references that are shifted, turned over, swapped or unlike the others. Each finding
    has a stable name, explained in docs/checking.md. Exits with 2 when there are faults.
    """
    from medseg.cli.printing import print_json, say
    from medseg.config import Experiment, load_experiment

    if schema:
        print_json(Experiment.model_json_schema())
        return 0
    experiment = load_experiment(config, set_ or ())  # its mistakes are told before seconds of imports

    from medseg.audit import Severity, check_experiment
    from medseg.cli.display import Bars
    from medseg.data import PreparedCache
    from medseg.training.forecast import write_preview

    with Bars() as bars:
        found = check_experiment(experiment, bars.show, measure=measure, cache=PreparedCache())
    if out is not None:
        from medseg.audit.page import write_check

        say(f"page: {write_check(out, found)}")
    if preview is not None:
        write_preview(experiment, preview)
        say(f"preview: {preview}")
    if json:
        print_json(found.to_json())
    else:
        _print(found)
    bad = found.count(Severity.FAULT) + (found.count(Severity.WARNING) if strict else 0)
    return 2 if bad else 0


def _print(found: "Checked") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from medseg.audit import Severity

    console = Console(highlight=False)
    colours = {Severity.FAULT: "red", Severity.WARNING: "yellow", Severity.NOTE: "blue"}
    for finding in found.findings:
        head = Text(f"{finding.severity.value:<8}", style=colours[finding.severity])
        console.print(head + Text(str(finding), style="default"), soft_wrap=True)
    told = [_many(found.count(severity), severity.value) for severity in Severity]
    counts = ", ".join(told) if found.findings else "nothing found"
    state = "not ready" if found.count(Severity.FAULT) else "ready"
    console.print(f"[bold]{found.experiment.name}[/bold]: {state} ({counts})")
    if found.forecast is None:
        return
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for name, text in _rows(found.forecast):
        table.add_row(name, text)
    console.print(table)


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _rows(found: "Forecast") -> "Iterator[tuple[str, str]]":
    patch = "x".join(str(n) for n in found.patch_size)
    yield (
        "cases",
        f"{found.cases}: {found.train} train, {found.validation} validate, {found.test} held out; "
        f"{found.folds} folds",
    )
    yield (
        "network",
        f"{found.network} of {found.parameters / 1e6:.1f} M parameters, patch {patch}, {found.precision} "
        f"on {found.device}",
    )
    if found.seconds_per_step is not None and found.minutes is not None:
        waiting = f", of which {100 * found.waiting:.0f} % waiting for data" if found.waiting else ""
        steps = f"{found.steps} steps of {found.seconds_per_step:.2g} s{waiting}"
        yield "training", f"about {_time(found.minutes)}: {steps}, and validation"
    yield "preparing", f"about {_time(found.preparing_minutes)} the first time"
    yield "memory", f"about {found.peak_gib:.1f} GiB of RAM, workers included"
    if found.vram_gib is not None:
        yield "GPU memory", f"about {found.vram_gib:.1f} GiB"
    yield "disk", f"about {found.cache_gib:.2g} GiB in the cache ({found.cache_free_gib:.0f} GiB are free)"


def _time(minutes: float) -> str:
    if minutes >= 90:
        return f"{minutes / 60:.1f} h"
    return f"{minutes:.0f} min" if minutes >= 1.5 else f"{60 * minutes:.0f} s"

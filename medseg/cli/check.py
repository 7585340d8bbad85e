"""medseg check"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medseg.cli.options import ConfigFile, Json, Overrides

if TYPE_CHECKING:
    from medseg.training.audit import Audit


def check(
    config: ConfigFile,
    set_: Overrides = None,
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
    json: Json = False,
) -> int:
    """Audit a configuration and its cohort; tell the cost."""
    from medseg.cli.display import Bars
    from medseg.cli.printing import print_json, say
    from medseg.config import Experiment, load_experiment
    from medseg.training.audit import audit, write_preview

    if schema:
        print_json(Experiment.model_json_schema())
        return 0
    experiment = load_experiment(config, set_ or ())
    with Bars() as bars:
        found = audit(experiment, bars.show, measure=measure)
    if preview is not None:
        write_preview(experiment, preview)
        say(f"preview: {preview}")
    if json:
        print_json(found.to_json())
    else:
        _print(found)
    return 0


def _print(found: "Audit") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for name, text in _rows(found):
        table.add_row(name, text)
    console = Console(highlight=False)
    console.print(f"[bold]{found.name}[/bold]: ready")
    console.print(table)


def _rows(found: "Audit") -> "Iterator[tuple[str, str]]":
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

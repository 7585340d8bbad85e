"""medseg check"""

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
        found = audit(experiment, bars.show)
    if preview is not None:
        write_preview(experiment, preview)
        say(f"preview: {preview}")
    if json:
        print_json(found.to_json())
    else:
        say(_line(found))
    return 0


def _line(found: "Audit") -> str:
    patch = "x".join(str(n) for n in found.patch_size)
    length = f"about {found.minutes:.0f} min" if found.minutes >= 1 else f"about {60 * found.minutes:.0f} s"
    return (
        f"{found.name}: {found.cases} cases ({found.train} train, {found.validation} validate, "
        f"{found.test} held out), "
        f"{found.folds} folds, {found.network} of {found.parameters / 1e6:.1f} M parameters, patch {patch}; "
        f"{length} of training and {found.peak_gib:.1f} GiB on this machine "
        f"({found.seconds_per_step:.2f} s a step): ready"
    )

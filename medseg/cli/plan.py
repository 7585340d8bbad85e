"""medseg plan"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medseg.cli.options import Json, parse_bytes, parse_labels

if TYPE_CHECKING:
    from medseg.config import DataConfig
    from medseg.planning import Budget, Naming, Plan, Subject

CPU_HOURS, GPU_HOURS = 1.0, 12.0
SHARE_OF_MEMORY = 0.7


def plan(  # noqa: PLR0917 - an option each
    cohort: Annotated[
        str,
        typer.Argument(
            metavar="COHORT",
            help="A folder of patients, images/ and labels/, a CSV, a dataset.json folder, or a phantom.",
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="The configuration to write. Default: <cohort>.yaml.")
    ] = None,
    labels: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE", help="What label values mean, as in prostate=1,bladder=2. Repeatable."
        ),
    ] = None,
    missing: Annotated[
        str, typer.Option(help="A structure without a voxel in a reference is: absent, or not_contoured.")
    ] = "absent",
    channels: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=PATTERN",
            help="Images of a case, as in t2=*_t2.nii.gz. Repeatable.",
        ),
    ] = None,
    label_file: Annotated[
        str | None, typer.Option(metavar="PATTERN", help="References, where their names are not usual ones.")
    ] = None,
    modality: Annotated[str, typer.Option(help="auto, ct or mr (whatever has no fixed scale).")] = "auto",
    max_ram: Annotated[
        str | None,
        typer.Option(help="Memory for training, as in 8GB. Default: 70 % of what is free."),
    ] = None,
    max_vram: Annotated[
        str | None,
        typer.Option(help="Memory of the GPU for training. Default: 70 % of it."),
    ] = None,
    hours: Annotated[
        float | None,
        typer.Option(min=0.01, max=10_000, help="Time for training. Default: 1 on a CPU, 12 on a GPU."),
    ] = None,
    device: Annotated[str, typer.Option(help="Which will train: auto, cpu or cuda.")] = "auto",
    measure: Annotated[
        bool, typer.Option("--measure/--no-measure", help="Time steps here, or assume a common speed.")
    ] = True,
    force: Annotated[bool, typer.Option("--force", help="Replace the configuration if it is there.")] = False,
    json: Json = False,
) -> int:
    """Write a configuration that fits a cohort, this machine, and the time there is.

    Reads every case, and chooses spacing, patch, network, intensities and schedule by rules that
    docs/planning.md states; the reason for each stands beside it in the file. Look it over, change what you
    know better, then: medseg check CONFIG, medseg train CONFIG.
    """
    from medseg.cli.display import Bars
    from medseg.cli.plan_display import print_plan
    from medseg.cli.printing import print_json, say
    from medseg.files import write_text_atomically
    from medseg.planning import look_at_cohort, make_plan, plan_text

    budget = _budget(device, max_ram, max_vram, hours)
    data = _data(cohort, missing, channels or [], label_file)
    naming = _naming(labels or [], modality)
    with Bars() as bars:
        subject = look_at_cohort(data, naming, bars.show)
        place = _free_place(out or Path(f"{subject.name}.yaml"), force)
        made = make_plan(subject, budget, _time_step if measure else None)
    write_text_atomically(place, plan_text(made, _heading(subject, place)))
    if json:
        print_json({"config": str(place), "fingerprint": subject.found.to_json(), **_told(made)})
        return 0
    print_plan(subject.found, made, budget)
    for warning in subject.found.warnings:
        say(f"note: {warning}")
    say(f"written: {place}\nnext: medseg check {place}; medseg train {place}")
    return 0


def _budget(device: str, max_ram: str | None, max_vram: str | None, hours: float | None) -> "Budget":
    import psutil
    import torch

    from medseg.inference.device import choose_device, choose_precision
    from medseg.planning import Budget
    from medseg.processes import usable_cores

    chosen = choose_device(device)
    on_gpu = chosen.type == "cuda"
    if on_gpu:
        free = torch.cuda.get_device_properties(chosen).total_memory
        told = parse_bytes(max_vram, "--max-vram")
    else:
        free, told = psutil.virtual_memory().available, parse_bytes(max_ram)
    return Budget(
        memory=told or int(SHARE_OF_MEMORY * free),
        hours=hours or (GPU_HOURS if on_gpu else CPU_HOURS),
        device="cuda" if on_gpu else "cpu",
        precision=choose_precision("auto", chosen),
        cores=usable_cores(),
    )


def _data(cohort: str, missing: str, channels: list[str], label_file: str | None) -> "DataConfig":
    from medseg.config import DataConfig
    from medseg.errors import Code, UsageError

    if missing not in ("absent", "not_contoured"):
        raise UsageError(Code.OPTION, f"--missing {missing}: give absent or not_contoured")
    named: dict[str, str] = {}
    for text in channels:
        name, equals, pattern = text.partition("=")
        if not equals or not name or not pattern:
            raise UsageError(Code.OPTION, f"--channels {text}: write name=pattern, as in t2=*_t2.nii.gz")
        named[name] = pattern
    told: dict[str, Any] = {"cohort": cohort, "missing_structures": missing, "label": label_file}
    return DataConfig.model_validate({**told, "channels": named or None})


def _naming(labels: list[str], modality: str) -> "Naming":
    from medseg.errors import Code, UsageError
    from medseg.planning import Naming

    if modality not in ("auto", "ct", "mr"):
        raise UsageError(Code.OPTION, f"--modality {modality}: give auto, ct or mr")
    told: Any = None if modality == "auto" else modality
    return Naming(parse_labels(labels) if labels else {}, told)


def _free_place(place: Path, force: bool) -> Path:
    from medseg.errors import Code, UsageError

    if place.exists() and not force:
        raise UsageError(Code.OPTION, f"--out {place}: is there already: add --force, or give another name")
    return place


def _time_step(experiment: Any) -> float:
    from medseg.training.cost import measure_step

    return measure_step(experiment).seconds


def _heading(subject: "Subject", place: Path) -> tuple[str, ...]:
    found = subject.found
    return (
        f"{subject.name}: planned by medseg from {found.cases} cases of {found.patients} patients.",
        "Each choice has its reason beside it; docs/planning.md states the rules.",
        f"  medseg train {place.name}",
    )


def _told(made: "Plan") -> dict[str, Any]:
    return {
        "experiment": made.experiment.model_dump(mode="json"),
        "reasons": made.reasons,
        "memory_bytes": made.memory,
        "step_seconds": made.step_seconds,
        "steps": made.steps,
    }

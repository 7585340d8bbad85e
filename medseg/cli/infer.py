"""medseg infer"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medseg.cli.infer_patients import (
    find_inputs,
    parse_reading,
    patients_of_split,
    require_one,
    share_of,
)
from medseg.cli.options import (
    Device,
    Engine,
    Json,
    Precision,
    Split,
    Wait,
    parse_bytes,
)

if TYPE_CHECKING:
    from medseg.batch import BatchModel, BatchOptions
    from medseg.config.inference import InferenceConfig
    from medseg.data import Case, Patients


def infer(  # noqa: PLR0917 - an option each
    inputs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="INPUT...", help="A volume, a DICOM folder, or a folder of patients."),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            help="A model at hand (see medseg models), a model file or a run folder. Default: $MEDSEG_MODEL, "
            "else the newest finished run in runs/."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            help="One scan: the mask's file (default <scan>_seg.nii.gz). Several: a folder (<input>_seg).",
        ),
    ] = None,
    mirror: Annotated[
        bool, typer.Option("--mirror", help="Average over mirrored copies: slower, a little better.")
    ] = False,
    overlap: Annotated[
        float | None, typer.Option(min=0, max=0.9, help="Share of a window covered twice.")
    ] = None,
    geometry: Annotated[
        str, typer.Option(help="Which orientation of a NIfTI holds: agreed, sform, qform or pixdim.")
    ] = "agreed",
    nonfinite: Annotated[
        str, typer.Option(help="NaN and infinite voxels: refuse the scan, or zero.")
    ] = "refuse",
    series_uid: Annotated[
        str | None, typer.Option(help="Which DICOM series of a folder with several.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=64,
            help="Patients read ahead, each by a process of its own. 0: all in one process. Default: 2.",
        ),
    ] = None,
    timeout: Annotated[
        float,
        typer.Option(
            min=0.1, help="Seconds after which reading, segmenting or writing a patient is given up."
        ),
    ] = 1800,
    max_ram: Annotated[
        str | None, typer.Option(help="The most memory to take, workers included, as in 8GB.")
    ] = None,
    max_vram: Annotated[
        str | None, typer.Option(help="The most memory of the graphics card to take, as in 6GB.")
    ] = None,
    split: Split = None,
    shard: Annotated[
        str | None, typer.Option(help="A share of the patients, as in 2/8, the second of eight; see merge.")
    ] = None,
    wait: Wait = False,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Hash finished patients again instead of trusting sizes and times."),
    ] = False,
    crop: Annotated[
        str,
        typer.Option(
            help="What is segmented: as the model was trained (model), the box around the body (body, "
            "for CT), or all of the scan (none)."
        ),
    ] = "model",
    profile: Annotated[bool, typer.Option("--profile", help="Tell where time and memory went.")] = False,
    device: Device = "auto",
    precision: Precision = "auto",
    engine: Engine = "auto",
    json: Json = False,
) -> int:
    """Segment scans; each mask lies on its scan's own grid.

    A folder of patients gives a folder of masks, report.html (failures, masks to look at, volumes),
    summary.csv with each structure's volume, manifest.json with the hashes of all that went in and came out,
    and failures.json for patients that failed (exit code 3; the others are done).

    Whatever stops it (Ctrl-C, a full disk, a power cut), the same command goes on: patients that are done are
    kept; those that are missing, failed, or whose scan, model or settings changed are computed, and it is
    told why.

    With --split, instead of INPUT, the patients are those of the model's own configuration: its validation
    fold, its held-out patients.
    """
    require_one(inputs, split)
    folder = out or _folder_of(inputs or [Path(split or "")])
    _require_free(folder, wait)  # before anything heavy is loaded
    from medseg.batch import BatchModel, BatchOptions
    from medseg.cli.printing import say
    from medseg.inference.profile import Profile

    path = _find_model(model)
    if model is None:
        say(f"model: {path}")
    limit = parse_bytes(max_ram)
    timed = Profile() if profile else None
    found = BatchModel.load(path, device=device, precision=precision, engine=engine)
    _tell_engine(found)
    found = found.with_vram(parse_bytes(max_vram, "--max-vram")).with_crop(crop)
    found = found.with_inference(_changed(found.inference, mirror, overlap))
    reading = parse_reading(geometry, nonfinite, series_uid)
    patients = patients_of_split(found, split) if split else find_inputs(inputs or [], found, reading, folder)
    patients = share_of(patients, shard)
    if (
        inputs
        and not shard
        and len(inputs) == 1
        and len(patients.cases) == 1
        and not patients.problems
        and _is_one_scan(inputs[0])
    ):
        target = _single_target(inputs[0], out)
        return _one(found, patients.cases[0], target, BatchOptions(max_ram_bytes=limit, profile=timed), json)
    return _many(found, patients, folder, BatchOptions(workers, timeout, limit, verify, timed), json)


def _one(model: "BatchModel", case: "Case", target: Path, options: "BatchOptions", json: bool) -> int:
    from medseg.batch import BatchResult, infer_patient
    from medseg.cli.batch_display import print_results
    from medseg.cli.display import Bars
    from medseg.inference.profile import profiled
    from medseg.inference.workspace import gib

    with Bars() as bars, profiled(options.profile):
        result = infer_patient(
            model.segmenter.with_memory(options.max_ram_bytes),
            case,
            target,
            lambda done, windows: bars.show("windows", done, windows, case.id),
            lambda need: bars.line(f"needs about {gib(need)} of memory"),
        )
    print_results(BatchResult((result,)), json, options.profile)
    return 0


def _many(
    model: "BatchModel", patients: "Patients", folder: Path, options: "BatchOptions", json: bool
) -> int:
    from medseg.batch import infer_patients
    from medseg.cli.batch_display import BatchDisplay, print_results
    from medseg.cli.batch_report import write_folder_report
    from medseg.cli.display import Bars
    from medseg.cli.printing import say
    from medseg.errors import EnvironmentProblem

    with Bars() as bars:
        display = BatchDisplay(bars)
        try:
            result = infer_patients(model, patients, folder, options, display)
        except EnvironmentProblem:
            display.stopped()
            raise
    print_results(result, json, options.profile)
    if result.stopped_by is not None:
        return 128 + result.stopped_by
    if result.done or result.failed:
        say(f"report: {write_folder_report(folder)}")
    return 3 if result.failed else 0


def _tell_engine(model: "BatchModel") -> None:
    from medseg.cli.printing import say
    from medseg.inference.quantise import cost_line

    say(f"engine: {model.choice}")
    if model.choice.note is not None:
        say(f"note: {model.choice.note}")
    if model.choice.precision == "int8":
        say(cost_line(model.file.quantisation) or "int8: what it costs was not measured")


def _require_free(folder: Path, wait: bool) -> None:
    from functools import partial

    from medseg.cli.waiting import when_free
    from medseg.lock import require_free

    when_free(partial(require_free, folder, folder / ".medseg"), wait)


def _find_model(given: Path | None) -> Path:
    from medseg.errors import Code, UsageError
    from medseg.shipped import find_model
    from medseg.training import find_runs

    named = given or (Path(os.environ["MEDSEG_MODEL"]) if os.environ.get("MEDSEG_MODEL") else None)
    if named is not None:
        return find_model(named)
    for run in find_runs():
        if run.model.is_file() and run.read_manifest().get("finished"):
            return run.model
    raise UsageError(
        Code.NO_MODEL,
        "no model: give one with --model or $MEDSEG_MODEL (medseg models lists those at hand), "
        "or train one here (medseg train configs/prostate_ct.yaml)",
    )


def _changed(inference: "InferenceConfig", mirror: bool, overlap: float | None) -> "InferenceConfig":
    changes: dict[str, Any] = {"mirror": True} if mirror else {}
    if overlap is not None:
        changes["overlap"] = overlap
    return inference.model_copy(update=changes)


def _is_one_scan(path: Path) -> bool:
    from medseg.io import is_dicom_folder

    return path.is_file() or is_dicom_folder(path)


def _single_target(scan: Path, out: Path | None) -> Path:
    from medseg.io import VOLUME_SUFFIXES, volume_stem

    name = f"{volume_stem(scan) if scan.is_file() else scan.resolve().name}_seg.nii.gz"
    if out is None:
        return scan.resolve().parent / name
    return out if out.name.lower().endswith(VOLUME_SUFFIXES) and not out.is_dir() else out / name


def _folder_of(inputs: list[Path]) -> Path:
    """In the working folder, so that nothing is written beside a cohort unasked."""
    return Path(f"{inputs[0].resolve().name}_seg" if len(inputs) == 1 else "masks")

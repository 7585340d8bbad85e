"""medseg infer"""

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medseg.cli.options import Device, Json, Precision

if TYPE_CHECKING:
    from medseg.batch import BatchResult
    from medseg.config.data import Reading
    from medseg.config.inference import InferenceConfig
    from medseg.data import Patients
    from medseg.inference import Segmenter


def infer(  # noqa: PLR0917 - an option each
    inputs: Annotated[
        list[Path],
        typer.Argument(metavar="INPUT...", help="A volume, a DICOM folder, or a folder of patients."),
    ],
    model: Annotated[
        Path | None,
        typer.Option(
            help="A model file or run folder. Default: $MEDSEG_MODEL, else the newest finished run in runs/."
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
    device: Device = "auto",
    precision: Precision = "auto",
    json: Json = False,
) -> int:
    """Segment scans; each mask lies on its scan's own grid.

    A folder of patients gives a folder of masks, summary.csv with each structure's volume, and failures.json
    for patients that could not be read (exit code 3; the others are done).
    """
    from medseg.cli.printing import say
    from medseg.inference import Segmenter

    path = _find_model(model)
    if model is None:
        say(f"model: {path}")
    segmenter = Segmenter.load(path, device=device, precision=precision)
    segmenter = segmenter.with_inference(_changed(segmenter.inference, mirror, overlap))
    patients = _find(inputs, segmenter, _reading(geometry, nonfinite, series_uid))
    single = (
        len(inputs) == 1 and len(patients.cases) == 1 and not patients.problems and _is_one_scan(inputs[0])
    )
    result = _run(
        segmenter, patients, _single_target(inputs[0], out) if single else None, out or _folder_of(inputs)
    )
    return _tell(result, json)


def _run(segmenter: "Segmenter", patients: "Patients", target: Path | None, folder: Path) -> "BatchResult":
    from medseg.batch import BatchResult, PatientResult, infer_patients
    from medseg.batch.infer import infer_patient
    from medseg.cli.display import Bars

    total = len(patients.cases)
    with Bars() as bars:
        finished = 0

        def on_window(case: str, done: int, windows: int) -> None:
            bars.show("patients" if total > 1 else "windows", finished + done / windows, total, case)

        def on_patient(patient: PatientResult) -> None:
            nonlocal finished
            finished += patient.mask is not None or patient.id in {case.id for case in patients.cases}
            if patient.problem:
                bars.line(f"failed: {patient.id}: {patient.problem}")

        if target is not None:
            return BatchResult((infer_patient(segmenter, patients.cases[0], target, on_window),))
        return infer_patients(segmenter, patients, folder, on_window=on_window, on_patient=on_patient)


def _tell(result: "BatchResult", json: bool) -> int:
    from medseg.cli.printing import print_json, say

    if json:
        print_json([_as_json(patient) for patient in result.patients])
    else:
        for patient in result.done:
            volumes = ", ".join(f"{name} {volume:.1f} mL" for name, volume in patient.volumes_ml.items())
            say(f"{patient.id}: {volumes} ({patient.seconds:.1f} s) -> {patient.mask}")
        if len(result.patients) > 1:
            say(f"{len(result.done)} of {len(result.patients)} patients done, {len(result.failed)} failed")
    if not result.failed:
        return 0
    return 3 if result.done or len(result.patients) > 1 else 2


def _as_json(patient: Any) -> dict[str, Any]:
    return {
        "patient": patient.id,
        "mask": str(patient.mask) if patient.mask else None,
        "volumes_ml": patient.volumes_ml,
        "seconds": patient.seconds,
        "problem": patient.problem or None,
    }


def _find_model(given: Path | None) -> Path:
    from medseg.errors import Code, UsageError
    from medseg.training import find_runs

    named = given or (Path(os.environ["MEDSEG_MODEL"]) if os.environ.get("MEDSEG_MODEL") else None)
    if named is not None:
        path = named / "model.safetensors" if named.is_dir() else named
        if not path.is_file():
            raise UsageError(
                Code.NO_MODEL, f"{path}: no such model: give a model file or a run folder with --model"
            )
        return path
    for run in find_runs():
        if run.model.is_file() and run.read_manifest().get("finished"):
            return run.model
    raise UsageError(
        Code.NO_MODEL,
        "no model: give one with --model or $MEDSEG_MODEL, "
        "or train one here (medseg train configs/prostate_ct.yaml)",
    )


def _reading(geometry: str, nonfinite: str, series_uid: str | None) -> "Reading":
    from medseg.config.data import Reading
    from medseg.errors import Code, UsageError

    for option, value, choices in (
        ("--geometry", geometry, ("agreed", "sform", "qform", "pixdim")),
        ("--nonfinite", nonfinite, ("refuse", "zero")),
    ):
        if value not in choices:
            raise UsageError(Code.OPTION, f"{option} {value}: give one of {', '.join(choices)}")
    return Reading.model_validate({"geometry": geometry, "nonfinite": nonfinite, "series_uid": series_uid})


def _find(inputs: list[Path], segmenter: "Segmenter", reading: "Reading") -> "Patients":
    from medseg.data import Patients, find_patients
    from medseg.errors import Code, UsageError

    channels = segmenter.experiment.data.channels
    found = [find_patients(path, channels) for path in inputs]
    cases = tuple(replace(case, reading=reading) for patients in found for case in patients.cases)
    ids = [case.id for case in cases]
    UsageError.raise_if(
        Code.SAME_NAME,
        (
            f"{case_id}: two inputs have this name, one mask would replace the other: run them apart"
            for case_id in sorted({case_id for case_id in ids if ids.count(case_id) > 1})
        ),
    )
    return Patients(cases, tuple(problem for patients in found for problem in patients.problems))


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

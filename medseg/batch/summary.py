"""The tables of a batch: summary.csv for people and spreadsheets, failures.json for both and for programs."""

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medseg.batch.results import BatchResult, PatientResult
from medseg.evaluation.files import inert_text
from medseg.files import write_json_atomically, write_text_if_other


def write_tables(result: BatchResult, structures: Sequence[str], folder: Path) -> None:
    """Files that would be as they are already are not touched.

    Raises:
        EnvironmentProblem: the disk is full.
    """
    write_text_if_other(folder / "summary.csv", summary_csv(result, structures))
    failures = folder / "failures.json"
    if result.failed:
        write_json_atomically(failures, [failure_json(patient) for patient in result.failed])
    else:
        failures.unlink(missing_ok=True)


def remove_tables(folder: Path) -> None:
    """Old tables beside new masks would mislead whoever finds them after a kill."""
    for name in ("summary.csv", "failures.json", "report.html"):
        (folder / name).unlink(missing_ok=True)


def failure_json(patient: PatientResult) -> dict[str, Any]:
    return {
        "patient": patient.id,
        "code": patient.code,
        "problems": list(patient.problems),
        "inputs": [os.fspath(path) for path in patient.inputs],
    }


def summary_csv(result: BatchResult, structures: Sequence[str]) -> str:
    """One row a patient: status, each structure's volume in mL, mask, code, problem; and of models that were
    calibrated, the expected mean Dice and why somebody should look at the mask (empty: no reason)."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    volumes = [f"{name}_ml" for name in structures]
    table.writerow([inert_text(cell) for cell in _columns(volumes)])
    for patient in result.patients:
        numbers = [
            f"{patient.volumes_ml[name]:.4f}" if name in patient.volumes_ml else "" for name in structures
        ]
        status = "failed" if patient.mask is None else "done"
        mask = patient.mask.name if patient.mask else ""
        row = [patient.id, status, *numbers, mask, patient.code, patient.problem, *_judged(patient)]
        table.writerow([inert_text(cell) for cell in row])
    for name in result.left:
        table.writerow([inert_text(name), "not done", *[""] * (len(structures) + 5)])
    return text.getvalue()


def _columns(volumes: Sequence[str]) -> tuple[str, ...]:
    return ("patient", "status", *volumes, "mask", "code", "problem", "expected_dice", "review")


def _judged(patient: PatientResult) -> tuple[str, str]:
    if patient.review is None:
        return "", ""
    return f"{1 - patient.review.score:.4f}", "; ".join(patient.review.reasons)

"""Inference over patients: a bad one fails alone and is named, the others go on."""

import csv
import io
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from medseg.data import Case, Patients, load_images
from medseg.errors import EnvironmentProblem, MedsegError
from medseg.evaluation.files import inert_text
from medseg.files import write_json_atomically, write_text_atomically
from medseg.inference import Segmenter
from medseg.io import write_volume
from medseg.volume import Volume

logger = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]
"""Called with the patient in hand, its windows done, and its windows in all."""


@dataclass(frozen=True)
class PatientResult:
    """A patient's mask with the volume of each structure, or why there is none."""

    id: str
    mask: Path | None = None
    volumes_ml: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    problem: str = ""


@dataclass(frozen=True)
class BatchResult:
    patients: tuple[PatientResult, ...]

    @property
    def done(self) -> tuple[PatientResult, ...]:
        return tuple(patient for patient in self.patients if not patient.problem)

    @property
    def failed(self) -> tuple[PatientResult, ...]:
        return tuple(patient for patient in self.patients if patient.problem)


def mask_path(folder: Path, case_id: str) -> Path:
    return folder / f"{case_id}_seg.nii.gz"


def infer_patients(
    segmenter: Segmenter,
    patients: Patients,
    out: Path,
    *,
    on_window: Progress | None = None,
    on_patient: Callable[[PatientResult], None] | None = None,
) -> BatchResult:
    """Segment every patient into ``out``: a mask each, ``summary.csv``, ``failures.json`` when some failed.

    Raises:
        EnvironmentProblem: the disk or the device; going on would fail for every patient.
    """
    results = []
    for result in _each(segmenter, patients, out, on_window):
        results.append(result)
        if on_patient is not None:
            on_patient(result)
    batch = BatchResult(tuple(results))
    write_text_atomically(out / "summary.csv", summary_csv(batch, tuple(segmenter.labels)))
    failures = out / "failures.json"
    if batch.failed:
        write_json_atomically(failures, {patient.id: patient.problem for patient in batch.failed})
    else:
        failures.unlink(missing_ok=True)
    return batch


def infer_patient(
    segmenter: Segmenter, case: Case, target: Path, on_window: Progress | None = None
) -> PatientResult:
    """Segment one patient into the file ``target``."""
    start = time.perf_counter()

    def progress(done: int, total: int) -> None:
        if on_window is not None:
            on_window(case.id, done, total)

    mask = segmenter(*load_images(case), progress=progress)
    write_volume(mask, target)
    return PatientResult(
        case.id, target, structure_volumes(mask, segmenter.labels), time.perf_counter() - start
    )


def structure_volumes(mask: Volume, labels: dict[str, int]) -> dict[str, float]:
    """Volume of each structure in millilitres."""
    values, counts = np.unique(mask.array, return_counts=True)
    found = dict(zip(values.tolist(), counts.tolist(), strict=True))
    return {name: found.get(value, 0) * mask.geometry.voxel_ml for name, value in labels.items()}


def summary_csv(batch: BatchResult, structures: tuple[str, ...]) -> str:
    """One row a patient: status, each structure's volume in mL, seconds, mask, problem."""
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(
        ["patient", "status", *(f"{name}_ml" for name in structures), "seconds", "mask", "problem"]
    )
    for patient in batch.patients:
        volumes = [
            f"{patient.volumes_ml[name]:.4f}" if name in patient.volumes_ml else "" for name in structures
        ]
        status = "failed" if patient.problem else "done"
        mask = patient.mask.name if patient.mask else ""
        row = [patient.id, status, *volumes, f"{patient.seconds:.2f}", mask, patient.problem]
        table.writerow([inert_text(cell) for cell in row])
    return text.getvalue()


def _each(
    segmenter: Segmenter, patients: Patients, out: Path, on_window: Progress | None
) -> Iterator[PatientResult]:
    for case_id, problem in patients.problems:
        yield PatientResult(case_id, problem=problem)
    for case in patients.cases:
        try:
            yield infer_patient(segmenter, case, mask_path(out, case.id), on_window)
        except EnvironmentProblem:
            raise
        except MedsegError as error:
            yield PatientResult(case.id, problem="; ".join(error.told))
        except (MemoryError, RuntimeError) as error:
            logger.exception("patient %s failed", case.id)
            yield PatientResult(case.id, problem=f"{type(error).__name__} while segmenting ({error})")

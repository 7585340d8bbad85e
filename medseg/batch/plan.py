"""What has to be computed, and why: the difference between the record and what is there."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medseg.batch.inputs import seen, seen_images
from medseg.batch.model import BatchModel
from medseg.batch.record import Entry, Record
from medseg.batch.tasks import MASK_CHANGED, Known
from medseg.data import Case

NEVER_DONE = "missing"
FAILED_BEFORE = "failed before"
MODEL_CHANGED = "model changed"
SETTINGS_CHANGED = "settings changed"
MASK_MISSING = "mask missing"
RECORD_DAMAGED = "record damaged"
TO_BE_CHECKED = "to be checked"


@dataclass
class Job:
    """A patient to be computed because of ``why``, or, with ``known``, unless its files are as they were."""

    case: Case
    mask: Path
    settings: str
    why: str
    known: Known | None = None
    ours: str | None = None
    """SHA-256 of the mask that this folder's record has for the patient: only that one is overwritten."""
    alone: bool = False
    """Tried for the second time, with nothing beside it."""

    @property
    def id(self) -> str:
        return self.case.id


def mask_path(folder: Path, case_id: str) -> Path:
    return folder / f"{case_id}_seg.nii.gz"


def plan(
    model: BatchModel, cases: Sequence[Case], folder: Path, record: Record, *, verify: bool = False
) -> tuple[list[Job], list[Case]]:
    """The jobs, and the cases whose masks hold.

    Sizes and times that are as they were are trusted, unless ``verify``; files whose times changed are left
    to be hashed by the job.
    """
    jobs, kept = [], []
    for case in cases:
        entry = record.entries.get(case.id)
        mask = mask_path(folder, case.id)
        settings = model.settings_hash(case.reading.model_dump(mode="json"))
        ours = entry.mask.sha256 if entry and entry.mask else None
        why = _why(entry, model.sha256, settings, mask)
        if why:
            if why == NEVER_DONE and record.damaged:
                why = RECORD_DAMAGED
            jobs.append(Job(case, mask, settings, why, ours=ours))
        elif verify or record.seen.get(case.id) != seen_of_patient(case, mask):
            known = Known(tuple(entry.inputs), ours) if entry and ours else None
            jobs.append(Job(case, mask, settings, TO_BE_CHECKED, known, ours))
        else:
            kept.append(case)
    return jobs, kept


def seen_of_patient(case: Case, mask: Path) -> str:
    return f"{seen_images(case.images)} {seen([mask])}"


def _why(entry: Entry | None, model: str, settings: str, mask: Path) -> str:
    if entry is None:
        return NEVER_DONE
    if entry.status == "failed" or entry.mask is None:
        return FAILED_BEFORE
    if entry.model != model:
        return MODEL_CHANGED
    if entry.settings != settings:
        return SETTINGS_CHANGED
    try:
        size = mask.stat().st_size
    except OSError:
        return MASK_MISSING
    return "" if size == entry.mask.bytes else MASK_CHANGED

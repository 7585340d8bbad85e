"""Inference over patients: a bad one fails alone and is named; whatever stops it, a rerun completes it."""

import os
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from medseg.batch.compute import compute
from medseg.batch.ledger import Ledger
from medseg.batch.log import RunLog
from medseg.batch.model import BatchModel
from medseg.batch.plan import Job, mask_path, plan
from medseg.batch.record import Record
from medseg.batch.results import BatchOptions, BatchResult, Listener, Silent
from medseg.batch.stop import Stopped, StopRequest
from medseg.batch.summary import remove_tables, write_tables
from medseg.data import Patients
from medseg.errors import Code, CohortError, UsageError
from medseg.files import cannot_write, sweep_temporary
from medseg.lock import folder_locked


def infer_patients(
    model: BatchModel,
    patients: Patients,
    out: Path,
    options: BatchOptions | None = None,
    listener: Listener | None = None,
) -> BatchResult:
    """Segment every patient into ``out``: a mask each, ``summary.csv``, ``manifest.json``, and
    ``failures.json`` when some failed. What an earlier run finished, and nobody changed, is kept.

    INT and TERM end the batch between two windows of the network; the same call goes on.

    Raises:
        UsageError: ``out`` is a place where scans lie.
        EnvironmentProblem: the folder is in use, the disk is full, or the device is not there; going on would
            fail for every patient. What is finished is kept.
    """
    require_apart(patients, out)
    with StopRequest() as stop, folder_locked(out, out / ".medseg"):
        run = _Run.open(model, patients, out, options or BatchOptions(), listener or Silent())
        try:
            with suppress(Stopped):
                if run.jobs:
                    compute(model, run.jobs, out, run.options, run.ledger, stop)
        finally:
            _sweep(out)  # what writers that were killed left
        return run.finish(stop.signal)


def require_apart(patients: Patients, out: Path) -> None:
    """Refuse an output folder in which scans lie: masks would be taken for scans the next time.

    Raises:
        UsageError: naming a scan that lies there.
    """
    place = _real(out)
    for case in patients.cases:
        for image in case.images:
            folder = _real(image) if image.is_dir() else _real(image).parent
            if folder == place or place in folder.parents or (image.is_dir() and folder in place.parents):
                raise UsageError(
                    Code.OUTPUT_FOLDER,
                    f"{out}: {image} lies there: give an output folder without scans (-o)",
                )


def _sweep(out: Path) -> None:
    """Remove temporary files; no process of this batch writes now, and the lock keeps others out."""
    try:
        sweep_temporary(out)
        sweep_temporary(out / ".medseg")
    except OSError as error:
        raise cannot_write(out, error) from None


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))  # Path.resolve fails for a link to itself


@dataclass(frozen=True)
class _Run:
    """A batch under way, between the lock's being taken and given back."""

    patients: Patients
    folder: Path
    model: BatchModel
    options: BatchOptions
    record: Record
    ledger: Ledger
    jobs: list[Job]

    @classmethod
    def open(
        cls, model: BatchModel, patients: Patients, out: Path, options: BatchOptions, listener: Listener
    ) -> "_Run":
        """See what is there, and what has to be computed."""
        _sweep(out)
        record = Record(out)
        jobs, kept = plan(model, patients.cases, out, record, verify=options.verify)
        total = len(patients.cases) + len(patients.problems)
        listener.planned(total, Counter(job.why for job in jobs))
        ledger = Ledger(record, RunLog(out / ".medseg"), listener, model.sha256, model.rule)
        for case in kept:
            ledger.keep(case.id, mask_path(out, case.id))
        if jobs:
            remove_tables(out)
        run = cls(patients, out, model, options, record, ledger, jobs)
        run._fail_unusable()
        return run

    def finish(self, stopped_by: int | None) -> BatchResult:
        """Write what tells of all patients."""
        results = self.ledger.results
        left = tuple(sorted(job.id for job in self.jobs if job.id not in results))
        result = BatchResult(
            tuple(results[name] for name in sorted(results)), left, stopped_by if left else None
        )
        write_tables(result, tuple(self.model.labels), self.folder)
        self.record.merge({*results, *left}, self.model.sha256, self.model.settings)
        return result

    def _fail_unusable(self) -> None:
        """Patients without one clear scan; they have a row in every table."""
        taken = {case.id.casefold() for case in self.patients.cases}
        for problem in self.patients.problems:
            name, number = problem.id, 1
            while name.casefold() in taken:
                number += 1
                name = f"{problem.id} ({number})"
            taken.add(name.casefold())
            error = CohortError(problem.code, f"{problem.id}: {problem.told}")
            self.ledger.give_up(name, error, mask_path(self.folder, name), problem.paths)

"""Every patient's end, written down the moment it is known: in the record, the log, and to the listener."""

import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch

from medseg.batch.channel import Unexpected, frames_of
from medseg.batch.inputs import seen
from medseg.batch.log import RunLog
from medseg.batch.plan import Job
from medseg.batch.record import Entry, MaskFile, Record
from medseg.batch.results import Listener, PatientResult
from medseg.batch.tasks import ReadScan, Written, set_aside
from medseg.errors import Code, EnvironmentProblem, MedsegError, PatientError
from medseg.inference.review import ReviewRule, review_of

_AGAIN = frozenset({Code.PROCESS_DIED, Code.MEMORY_LIMIT, Code.MEMORY})
"""Another try, with nothing beside it, may end better."""


class Ledger:
    """Any thread may call."""

    def __init__(
        self, record: Record, log: RunLog, listener: Listener, model: str, rule: ReviewRule | None = None
    ) -> None:
        self.results: dict[str, PatientResult] = {}
        self.again: list[Job] = []
        """Jobs that deserve another try, alone."""
        self._record = record
        self.log = log
        self._listener = listener
        self._model = model
        self._rule = rule
        self._lock = threading.Lock()
        self._started: dict[str, float] = {}

    def begin(self, job: Job) -> None:
        self._started.setdefault(job.id, time.monotonic())

    def window(self, patient: str, done: int, total: int) -> None:
        with self._lock:
            self._listener.window(patient, done, total)

    def unchanged(self, job: Job, found: ReadScan) -> None:
        """Its files have other times and the same content: remember the times."""
        entry = self._record.entries[job.id]
        with suppress(OSError):
            self._record.add(job.id, entry, _seen(job, found))
        self._settle(self._result(job.id, job.mask, entry))

    def keep(self, patient: str, mask: Path) -> None:
        """The mask that is there holds, by the record."""
        self._settle(self._result(patient, mask, self._record.entries[patient]))

    def done(self, job: Job, found: ReadScan, written: Written, expected_dice: Mapping[str, float]) -> None:
        entry = Entry(
            status="done",
            model=self._model,
            settings=job.settings,
            inputs=list(found.inputs),
            mask=MaskFile(name=job.mask.name, sha256=written.sha256, bytes=written.bytes),
            volumes_ml=written.volumes_ml,
            expected_dice={name: round(value, 4) for name, value in expected_dice.items()},
        )
        self._record.add(job.id, entry, f"{found.seen} {written.seen}")
        seconds = time.monotonic() - self._started[job.id]
        why = found.why or job.why
        self.log.add("done", patient=job.id, why=why, seconds=round(seconds, 3))
        self._settle(replace(self._result(job.id, job.mask, entry), seconds=seconds, why=why))

    def fail(self, job: Job, stage: str, error: Exception) -> None:
        """Note why ``stage`` gave no mask, or put the job aside for another try.

        Raises:
            EnvironmentProblem: what failed would fail for every patient.
        """
        told = self._named(job.id, stage, error)
        if told.code == Code.DISK_FULL:
            raise told
        if told.code in _AGAIN and not job.alone:
            job.alone = True
            self.log.add("again", patient=job.id, code=str(told.code), problems=told.problems)
            with self._lock:
                self.again.append(job)
                self._listener.again(job.id, told.told[0])
            return
        self.give_up(job.id, told, job.mask, job.case.images)

    def give_up(self, patient: str, error: MedsegError, mask: Path, inputs: Sequence[Path]) -> None:
        """Note that there is no mask. One of an earlier run is moved away: it would mislead."""
        if mask.exists():
            set_aside(mask)
        problems = list(error.problems)
        self.log.add("failed", patient=patient, code=str(error.code), problems=problems)
        self._record.add(patient, Entry(status="failed", code=str(error.code), problems=problems))
        told = PatientResult(patient, code=str(error.code), problems=error.problems, inputs=tuple(inputs))
        self._settle(told)

    def _result(self, patient: str, mask: Path, entry: Entry) -> PatientResult:
        judged = review_of(self._rule, entry.expected_dice, entry.volumes_ml)
        return PatientResult(patient, mask, dict(entry.volumes_ml), review=judged)

    def _settle(self, result: PatientResult) -> None:
        with self._lock:
            self.results[result.id] = result
            self._listener.finished(result)

    def _named(self, patient: str, stage: str, error: Exception) -> MedsegError:
        match error:
            case MedsegError():
                return error
            case MemoryError() | torch.OutOfMemoryError():
                return EnvironmentProblem(
                    Code.MEMORY,
                    f"{patient}: {stage} ran out of memory: close other programs, or use a machine with more",
                )
            case RuntimeError() if stage == SEGMENTING:
                first = (str(error).splitlines() or ["no reason told"])[0][:300]
                where = self.log.dump(patient, frames_of(error))
                return PatientError(
                    Code.NETWORK_FAILED,
                    f"{patient}: the network failed ({first}); where: {where}: try --device cpu",
                )
            case Unexpected():
                kind, frames = error.kind, error.frames
            case _:
                kind, frames = type(error).__name__, frames_of(error)
        where = self.log.dump(patient, frames)
        return PatientError(
            Code.UNEXPECTED,
            f"{patient}: {stage} failed in a way that medseg does not know ({kind}, where: {where}): "
            "please report it with that file",
        )


SEGMENTING = "segmenting"


def _seen(job: Job, found: ReadScan) -> str:
    return f"{found.seen} {seen([job.mask])}"

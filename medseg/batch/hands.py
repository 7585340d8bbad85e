"""Who reads a patient's scan and writes its mask: this process, or one of the patient's own."""

import logging
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from medseg.batch.model import BatchModel
from medseg.batch.plan import Job
from medseg.batch.supervise import Supervisor
from medseg.batch.tasks import (
    ReadScan,
    Written,
    case_to_json,
    grid_to_json,
    read_scan,
    receive_scan,
    voxel_count,
    write_mask,
)
from medseg.data import Case
from medseg.inference.profile import note_beside
from medseg.volume import Volume


@runtime_checkable
class Hands(Protocol):
    """The result is the same whoever does it."""

    def read(self, job: Job) -> ReadScan: ...

    def write(self, job: Job, mask: Volume) -> Written: ...

    def voxels(self, cases: Sequence[Case]) -> list[int]:
        """About how many voxels each mask will have."""
        ...

    def give_up_reading(self) -> None: ...


class OwnHands:
    """In this process: nothing can be killed, so a file that hangs or crashes a reader ends the batch."""

    def __init__(self, model: BatchModel) -> None:
        self._model = model

    def read(self, job: Job) -> ReadScan:
        return read_scan(job.case, self._model.preparation, job.mask, job.known)

    def write(self, job: Job, mask: Volume) -> Written:
        return write_mask(mask, job.mask, self._model.labels, job.ours)

    def voxels(self, cases: Sequence[Case]) -> list[int]:
        return [voxel_count(case) for case in cases]

    def give_up_reading(self) -> None:
        """Nothing goes on beside the caller."""


class OtherHands:
    """In a watched process for each stage of each patient. May be called from several threads."""

    def __init__(self, model: BatchModel, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._labels = model.labels
        self._model = {
            "experiment": model.experiment.model_dump(mode="json"),
            "fitted": model.file.fitted,
        }

    def read(self, job: Job) -> ReadScan:
        known = {"inputs": job.known.inputs, "mask": job.known.mask} if job.known else None
        order = {
            "task": "read",
            "case": case_to_json(job.case),
            "mask": str(job.mask),
            "known": known,
            **self._model,
        }
        with self._supervisor.process(job.id, READING) as channel:
            channel.send(order)
            reply = channel.receive()
            found = receive_scan(channel, reply)
        note_beside(reply["seconds"])
        _log(reply["log"])
        return found

    def write(self, job: Job, mask: Volume) -> Written:
        order = {
            "task": "write",
            "path": str(job.mask),
            "labels": self._labels,
            "ours": job.ours,
            "grid": grid_to_json(mask.geometry),
        }
        with self._supervisor.process(job.id, WRITING) as channel:
            channel.send(order)
            channel.send_array(mask.array)
            reply = channel.receive()
        _log(reply.pop("log"))
        return Written(**reply)

    def voxels(self, cases: Sequence[Case]) -> list[int]:
        with self._supervisor.process("all patients", READING, _LOOK_SECONDS) as channel:
            channel.send({"task": "survey", "cases": [case_to_json(case) for case in cases]})
            return list(channel.receive()["voxels"])

    def give_up_reading(self) -> None:
        self._supervisor.give_up(READING)


READING, WRITING = "reading", "writing"
_LOOK_SECONDS = 120.0
"""For the headers of all patients; without them the batch starts all the same."""


def _log(records: Sequence[Any]) -> None:
    for name, level, text in records:
        logger = logging.getLogger(name)
        if logger.isEnabledFor(level):
            logger.log(level, "%s", text)

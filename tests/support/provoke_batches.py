"""For each code of a batch and of its patients, what brings it about."""

import errno
import os
import socket
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import medseg.batch.tasks
from medseg.batch import BatchOptions
from medseg.batch.infer import require_apart
from medseg.batch.ledger import SEGMENTING, Ledger
from medseg.batch.log import RunLog
from medseg.batch.plan import Job
from medseg.batch.record import Record
from medseg.batch.results import Silent
from medseg.batch.supervise import Supervisor
from medseg.batch.tasks import read_scan
from medseg.data import Case, find_patients
from medseg.errors import Code
from medseg.inference import Segmenter
from medseg.lock import folder_locked
from support.oracle import write_oracle
from support.provoke_others import scan

Provoke = Callable[[Path], object]


def _own_folder(folder: Path) -> object:
    scan(folder / "patients/p0/ct.nii.gz")
    require_apart(find_patients(folder / "patients"), folder / "patients" / "p0")
    return None


def _locked(folder: Path) -> object:
    with folder_locked(folder, folder / ".medseg"), folder_locked(folder, folder / ".medseg"):
        return None


@cache
def supervisor() -> Supervisor:
    """One for all, for it takes seconds to start; ``supervisor().close()`` ends it."""
    return Supervisor(BatchOptions(), RunLog(Path(os.devnull)))


def supervised(end: str, **options: Any) -> Provoke:
    """A process of a batch that is asked for nothing, until its ``end``."""

    def provoke(_: Path) -> object:
        supervise = supervisor()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(supervise, "_options", BatchOptions(**options))
            if end == "not started":
                patch.setattr(socket, "send_fds", _cannot_send)
            with supervise.process("p0", "reading") as channel:
                if end == "killed":
                    next(iter(supervise._watched.values())).send(9)
                channel.receive()
        return None

    return provoke


def _cannot_send(*_: object) -> None:
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def _still_written(folder: Path) -> object:
    path = scan(folder / "ct.nii.gz")
    segmenter = Segmenter.load(write_oracle(folder / "m.safetensors"), device="cpu")
    honest = medseg.batch.tasks.load_images

    def load_while_it_is_copied(case: Case) -> Any:
        images = honest(case)
        path.write_bytes(path.read_bytes() + b"\0")
        return images

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(medseg.batch.tasks, "load_images", load_while_it_is_copied)
        return read_scan(Case("p0", (path,)), segmenter.preparation, folder / "mask.nii.gz", None)


def failed_patient(stage: str, error: Exception) -> Provoke:
    """What a batch tells of a patient whose ``stage`` ended in ``error``: as text, for the others go on."""

    def provoke(folder: Path) -> object:
        (folder / ".medseg").mkdir()
        ledger = Ledger(Record(folder), RunLog(folder / ".medseg"), Silent(), "model")
        job = Job(Case("p0", (folder / "ct.nii.gz",)), folder / "p0_seg.nii.gz", "settings", "missing")
        ledger.fail(job, stage, error)
        return ledger.results["p0"]

    return provoke


BATCHES: dict[Code, Provoke] = {
    Code.OUTPUT_FOLDER: _own_folder,
    Code.STILL_WRITTEN: _still_written,
    Code.LOCKED: _locked,
    Code.NO_PROCESS: supervised("not started"),
    Code.PROCESS_DIED: supervised("killed"),
    Code.TIMED_OUT: supervised("late", timeout_seconds=0.3),
    Code.MEMORY_LIMIT: supervised("large", max_ram_bytes=1 << 20),
    Code.NETWORK_FAILED: failed_patient(
        SEGMENTING, RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    ),
    Code.UNEXPECTED: failed_patient("reading", KeyError("what nobody thought of")),
}

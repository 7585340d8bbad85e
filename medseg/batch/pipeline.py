"""Reading, network and writing side by side: scans are read ahead, masks written behind one loaded model."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import Any

from medseg.batch.hands import READING, WRITING, Hands
from medseg.batch.ledger import SEGMENTING, Ledger
from medseg.batch.plan import Job
from medseg.batch.stop import Stopped, StopRequest
from medseg.batch.tasks import ReadScan
from medseg.errors import Code, PatientError
from medseg.inference import PreparedScan, Segmented, Segmenter
from medseg.inference.profile import Profile, profiled, stage

_LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class Bench:
    """What all stages of a batch share."""

    segmenter: Callable[[], Segmenter]
    """What is wrong with the model is wrong for all patients, so its errors end the batch."""
    hands: Hands
    ledger: Ledger
    stop: StopRequest
    timeout_seconds: float
    profile: Profile | None = None


Room = Callable[[Job], bool]
"""Tells whether memory allows another scan to be read ahead."""


def one_by_one(bench: Bench, jobs: Sequence[Job]) -> None:
    """Each patient from its files to its mask before the next one begins.

    Raises:
        Stopped: a signal came; the patient in hand is left undone.
        EnvironmentProblem: no patient could be written any more.
    """
    for job in jobs:
        bench.stop.check()
        found = _read(bench, job)
        if found is None or found.scan is None:
            continue
        segmented = _segment(bench, job, found.scan)
        if segmented is not None:
            _write(bench, job, found, segmented)


def side_by_side(bench: Bench, jobs: Sequence[Job], workers: int, room: Room) -> None:
    """As ``one_by_one``, with ``workers`` readers and as many writers beside the network.

    At most ``workers + 1`` scans are in memory. The network takes the first that is ready, so a file that
    hangs holds up no other patient.
    """
    with (
        ThreadPoolExecutor(workers, "reader") as readers,
        ThreadPoolExecutor(workers, "writer") as writers,
    ):
        flow = _Flow(bench, deque(jobs), workers, room, readers, writers)
        try:
            flow.run()
        except BaseException:
            flow.leave()
            raise


def _read(bench: Bench, job: Job) -> ReadScan | None:
    """The scan, or None when there is nothing to segment: it failed, or its mask holds."""
    bench.ledger.begin(job)
    try:
        with profiled(bench.profile):  # a thread begins with none
            found = bench.hands.read(job)
    except Stopped:
        raise
    except Exception as error:  # noqa: BLE001 - a patient's border: whatever it is, the others go on
        bench.ledger.fail(job, READING, error)
        return None
    if found.scan is None:
        bench.ledger.unchanged(job, found)
        return None
    return found


def _segment(bench: Bench, job: Job, scan: PreparedScan) -> Segmented | None:
    segmenter = bench.segmenter()
    limit = time.monotonic() + bench.timeout_seconds

    def progress(done: int, total: int) -> None:
        bench.stop.check()
        if time.monotonic() > limit and done < total:
            raise PatientError(
                Code.TIMED_OUT,
                f"{job.id}: segmenting was given up after {bench.timeout_seconds:.0f} s "
                f"({done} of {total} windows): raise --timeout, or use a faster device",
            )
        bench.ledger.window(job.id, done, total)

    try:
        with profiled(bench.profile):
            return segmenter.predict(scan, progress=progress)
    except Stopped:
        raise
    except Exception as error:  # noqa: BLE001 - a patient's border
        bench.ledger.fail(job, SEGMENTING, error)
        return None


def _write(bench: Bench, job: Job, found: ReadScan, segmented: Segmented) -> None:
    try:
        with profiled(bench.profile), stage("writing"):
            written = bench.hands.write(job, segmented.mask)
    except Exception as error:  # noqa: BLE001 - a patient's border
        bench.ledger.fail(job, WRITING, error)
        return
    bench.ledger.done(job, found, written, segmented.expected_dice or {})


class _Flow:
    """The state of a batch that runs side by side; only the caller's thread changes it."""

    def __init__(
        self,
        bench: Bench,
        pending: deque[Job],
        workers: int,
        room: Room,
        readers: ThreadPoolExecutor,
        writers: ThreadPoolExecutor,
    ) -> None:
        self._bench = bench
        self._pending = pending
        self._workers = workers
        self._room = room
        self._readers = readers
        self._writers = writers
        self._reading: dict[Future[ReadScan | None], Job] = {}
        self._ready: deque[tuple[Job, ReadScan]] = deque()
        self._writing: set[Future[Any]] = set()

    def run(self) -> None:
        while self._pending or self._reading or self._ready:
            self._bench.stop.check()
            self._read_ahead()
            self._collect()
            if self._ready:
                self._segment_next()
            else:
                futures: set[Future[Any]] = {*self._reading, *self._writing}
                self._wait(futures)
        while self._writing:
            self._wait(self._writing)
            self._collect()

    def _wait(self, futures: set[Future[Any]]) -> None:
        with profiled(self._bench.profile), stage("waiting"):
            wait(futures, _LOOK_SECONDS, FIRST_COMPLETED)

    def leave(self) -> None:
        """Nothing more begins; what is being read is left undone, what is being written is finished."""
        for future in self._reading:
            future.cancel()
        self._bench.hands.give_up_reading()
        wait(self._writing)

    def _read_ahead(self) -> None:
        while self._pending and len(self._reading) + len(self._ready) <= self._workers:
            if (self._reading or self._ready or self._writing) and not self._room(self._pending[0]):
                return
            job = self._pending.popleft()
            self._reading[self._readers.submit(_read, self._bench, job)] = job

    def _collect(self) -> None:
        for future in [future for future in self._reading if future.done()]:
            job = self._reading.pop(future)
            found = future.result()
            if found is not None:
                self._ready.append((job, found))
        for written in [future for future in self._writing if future.done()]:
            self._writing.remove(written)
            written.result()

    def _segment_next(self) -> None:
        while (
            len(self._writing) >= self._workers
        ):  # a mask waits for its writer: memory, so the network waits
            self._bench.stop.check()
            self._wait(self._writing)
            self._collect()
        job, found = self._ready.popleft()
        if found.scan is None:
            return
        segmented = _segment(self._bench, job, found.scan)
        if segmented is not None:
            self._writing.add(
                self._writers.submit(_write, self._bench, job, replace(found, scan=None), segmented)
            )

"""Cases worked on side by side: as many as there are cores and memory has room for, one at least."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import psutil

from medseg.data import Case
from medseg.errors import MedsegError
from medseg.io import read_geometry
from medseg.processes import usable_cores
from medseg.transforms import single_thread

Result = TypeVar("Result")

SHARE = 0.5
"""Of the memory that is available at the beginning."""

VOXEL_BYTES = 24
"""Of a voxel and channel: as stored, as a number, turned and resampled, its label, and what is between."""


class Room:
    """Bytes that several threads take and give back; who finds too little waits."""

    def __init__(self, free_bytes: int | None = None) -> None:
        self._free = int(SHARE * psutil.virtual_memory().available) if free_bytes is None else free_bytes
        self._inside = 0
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, needed_bytes: int) -> Iterator[None]:
        """Hold ``needed_bytes``; when nobody else is inside, also more than there are."""
        with self._changed:
            self._changed.wait_for(lambda: self._inside == 0 or needed_bytes <= self._free)
            self._free -= needed_bytes
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._free += needed_bytes
                self._inside -= 1
                self._changed.notify_all()


def case_bytes(case: Case) -> int:
    """About what ``case`` takes while it is read and prepared, told from its header; 0 when it has none."""
    told = case.reading
    try:
        native = read_geometry(case.images[0], geometry=told.geometry, series_uid=told.series_uid)
    except MedsegError:  # whoever reads the case will say what is wrong
        return 0
    return len(case.images) * VOXEL_BYTES * int(np.prod(native.shape))


class SideBySide:
    """Threads that work on cases, each case in one thread of torch, within the memory there is.

    When a signal ends the work they are not waited for: what they have in hand appears whole or not at all.
    """

    def __init__(self, workers: int | None = None) -> None:
        workers = workers or usable_cores()
        self._pool = ThreadPoolExecutor(workers)
        self._ahead = 2 * workers
        self._room = Room()

    def __enter__(self) -> "SideBySide":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def each(
        self, cases: Sequence[Case], work: Callable[[Case], Result]
    ) -> Iterator[tuple[Case, Result | MedsegError]]:
        """Each case with what ``work`` made of it or raised, in order; few results wait to be taken."""
        waiting: deque[tuple[Case, Future[Result | MedsegError]]] = deque()
        for case in cases:
            if len(waiting) == self._ahead:
                first, future = waiting.popleft()
                yield first, future.result()
            waiting.append((case, self._pool.submit(self._one, case, work)))
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()

    def _one(self, case: Case, work: Callable[[Case], Result]) -> Result | MedsegError:
        try:
            with self._room.taken(case_bytes(case)), single_thread():
                return work(case)
        except MedsegError as error:
            return error

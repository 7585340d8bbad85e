"""Computing patients: workers beside the network, and a second try alone where it may help."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from medseg.batch.hands import Hands, OtherHands, OwnHands
from medseg.batch.ledger import Ledger
from medseg.batch.model import BatchModel
from medseg.batch.pipeline import Bench, one_by_one, side_by_side
from medseg.batch.plan import TO_BE_CHECKED, Job
from medseg.batch.results import BatchOptions
from medseg.batch.space import require_space
from medseg.batch.stop import StopRequest
from medseg.batch.supervise import Supervisor
from medseg.batch.zygote import POSSIBLE
from medseg.errors import Code, EnvironmentProblem, PatientError
from medseg.inference import Segmenter
from medseg.inference.workspace import gib
from medseg.processes import usable_cores

_READING_BYTES_PER_VOXEL = 20
"""What a reading process takes at most: voxels as stored, converted, and resampled."""


def compute(
    model: BatchModel,
    jobs: Sequence[Job],
    out: Path,
    options: BatchOptions,
    ledger: Ledger,
    stop: StopRequest,
) -> None:
    """Do all ``jobs``; each ends in the ``ledger``, as done or as failed.

    Raises:
        Stopped: a signal came.
        EnvironmentProblem: going on would fail for every patient.
    """

    def segmenter() -> Segmenter:
        return model.segmenter.with_memory(options.max_ram_bytes)

    workers = min(_workers(options.workers), len(jobs))
    if workers == 0:
        bench = Bench(segmenter, OwnHands(model), ledger, stop, options.timeout_seconds, options.profile)
        _require_space(model, out, bench.hands.voxels([job.case for job in _sure(jobs)]))
        one_by_one(bench, jobs)
        one_by_one(bench, ledger.again)
        return
    supervisor = Supervisor(options, ledger.log)
    try:
        bench = Bench(
            segmenter, OtherHands(model, supervisor), ledger, stop, options.timeout_seconds, options.profile
        )
        voxels = _load_and_look(model, bench.hands, jobs, stop)
        _require_space(model, out, list(voxels.values()))
        _require_memory(supervisor, options.max_ram_bytes)
        side_by_side(bench, jobs, workers, _room(supervisor, voxels, options.max_ram_bytes))
        one_by_one(bench, ledger.again)
    finally:
        supervisor.close()


def _workers(asked: int | None) -> int:
    if not POSSIBLE:
        return 0
    if asked is not None:
        return asked
    return min(2, usable_cores())


def _sure(jobs: Sequence[Job]) -> list[Job]:
    return [job for job in jobs if job.why != TO_BE_CHECKED]


def _load_and_look(model: BatchModel, hands: Hands, jobs: Sequence[Job], stop: StopRequest) -> dict[str, int]:
    """Build the network while a process looks at all headers; the voxels of each patient."""
    sure = _sure(jobs)
    if not sure:
        return {}
    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(hands.voxels, [job.case for job in sure])
        try:
            _ = model.segmenter
            while not looking.done():
                stop.check()
                _wait(looking.exception)
        except BaseException:
            hands.give_up_reading()
            raise
        try:
            counts = looking.result()
        except PatientError:  # the patient that did it will be named when its turn comes
            counts = [0] * len(sure)
    return {job.id: count for job, count in zip(sure, counts, strict=True)}


def _wait(exception: Callable[[float], BaseException | None]) -> None:
    try:
        exception(0.2)
    except TimeoutError:
        return


def _require_space(model: BatchModel, out: Path, voxels: Sequence[int]) -> None:
    if voxels:
        largest = max(model.labels.values(), default=1)
        require_space(out, voxels, np.min_scalar_type(largest).itemsize)


def _require_memory(supervisor: Supervisor, limit: int | None) -> None:
    if limit is not None and (taken := supervisor.memory_bytes()) > limit:
        raise EnvironmentProblem(
            Code.MEMORY,
            f"--max-ram {gib(limit)}: the network and its libraries alone take {gib(taken)}: allow more, "
            "or use --workers 0",
        )


def _room(supervisor: Supervisor, voxels: dict[str, int], limit: int | None) -> Callable[[Job], bool]:
    def room(job: Job) -> bool:
        if limit is None:
            return True
        needed = _READING_BYTES_PER_VOXEL * voxels.get(job.id, 0)
        return supervisor.memory_bytes() + needed <= limit

    return room

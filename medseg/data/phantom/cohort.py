"""``phantom:pelvis_ct`` on disk: written once, verified by checksum, completed after an interruption.

    <cache>/phantom-pelvis-ct/<key>/pelvis_000/ct.nii.gz, organs.nii.gz, manifest.json

A patient's folder appears by rename, whole or not at all. The key is made of the simulator's source and the
seed, so a changed simulator never mixes with patients of an earlier one, and a larger cohort keeps the
patients of a smaller one.
"""

import hashlib
import json
import logging
import multiprocessing
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from pathlib import Path

from medseg.data.cache import default_cache
from medseg.data.case import Case
from medseg.data.phantom.simulate import phantom_patient
from medseg.errors import Code, EnvironmentProblem, UsageError
from medseg.io import write_volume
from medseg.processes import end_with, usable_cores

log = logging.getLogger(__name__)

IMAGE, LABEL, MANIFEST = "ct.nii.gz", "organs.nii.gz", "manifest.json"
POOL_PAYS_FROM = 4
"""Fewer patients than this are made in the calling process: starting others takes longer."""

Progress = Callable[[int, int], None]
Job = tuple[Path, int, int, float]


def pelvis_ct_cohort(
    count: int = 30,
    seed: int = 2024,
    cache: Path | None = None,
    progress: Progress | None = None,
    *,
    coarsen: float = 1.0,
) -> tuple[Case, ...]:
    """The simulated cohort, made where it is missing or damaged.

    Args:
        count: number of patients; the first ones of a larger cohort are the same patients.
        seed: of the cohort; another seed gives other patients.
        cache: folder to keep it in; without it ``$MEDSEG_CACHE``, else the user's cache folder.
        progress: called with (patients ready, count), first with those that were there.
        coarsen: multiplies the voxel spacing, for tests and quick looks.

    Raises:
        UsageError: for a count below one or a negative seed.
        EnvironmentProblem: when the cache cannot be written to.
    """
    if count < 1 or seed < 0:
        raise UsageError(
            Code.CALL, f"phantom cohort: count {count} and seed {seed}; at least 1 and at least 0 are needed"
        )
    folder = (default_cache() if cache is None else cache) / "phantom-pelvis-ct" / cohort_key(seed, coarsen)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentProblem(
            Code.CANNOT_WRITE,
            f"{folder}: cannot be made ({error.strerror}); set MEDSEG_CACHE to a folder you may write to",
        ) from None
    missing = [n for n in range(count) if not is_intact(folder / case_id(n))]
    done = count - len(missing)
    if progress:
        progress(done, count)
    if missing:
        log.info("simulating %d of %d phantom patients into %s", len(missing), count, folder)
    for _ in _make([(folder, seed, n, coarsen) for n in missing]):
        done += 1
        if progress:
            progress(done, count)
    return tuple(_case(folder / case_id(n)) for n in range(count))


def case_id(index: int) -> str:
    return f"pelvis_{index:03d}"


def _case(folder: Path) -> Case:
    return Case(id=folder.name, images=(folder / IMAGE,), label=folder / LABEL)


def cohort_key(seed: int, coarsen: float = 1.0) -> str:
    """A name for all that the patients depend on, but for their number."""
    digest = hashlib.sha256(f"seed {seed} coarsen {coarsen:g}".encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.name.encode() + source.read_bytes())
    return digest.hexdigest()[:16]


def is_intact(folder: Path) -> bool:
    """Whether both files of a patient are there with the checksums of the manifest."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return all(manifest["sha256"][name] == _sha256(folder / name) for name in (IMAGE, LABEL))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _make(jobs: list[Job]) -> Iterator[int]:
    """Make all patients; yields the index of each when it is ready."""
    workers = min(usable_cores(), len(jobs), 8)
    left = {job[2]: job for job in jobs}
    if workers > 1 and len(jobs) >= POOL_PAYS_FROM and not multiprocessing.current_process().daemon:
        try:
            for index in _make_in_pool(jobs, workers):
                del left[index]
                yield index
        except BrokenProcessPool:  # a script without a __main__ guard, or a process that was killed
            log.warning("the processes that simulate phantom patients stopped; going on in this one")
    for job in left.values():
        yield make_patient(*job)


def _make_in_pool(jobs: list[Job], workers: int) -> Iterator[int]:
    context = multiprocessing.get_context("spawn")  # fork is not safe once torch has threads
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=end_with, initargs=(os.getpid(),))
    try:
        with _interrupts_held():
            futures = [pool.submit(make_patient, *job) for job in jobs]
        for future in as_completed(futures):
            yield future.result()
    finally:  # not waited for: after a signal, processes finish the patient in hand, or end with this one
        pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Processes started here never see Ctrl-C: their parent does, and each would print a traceback."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def make_patient(folder: Path, seed: int, index: int, coarsen: float) -> int:
    """Simulate one patient and put its files under ``folder``; the index is returned."""
    patient = phantom_patient(seed, index, coarsen=coarsen)
    target = folder / case_id(index)
    try:
        with tempfile.TemporaryDirectory(prefix=".new-", dir=folder) as space:
            fresh = Path(space) / target.name
            write_volume(patient.image, fresh / IMAGE)
            write_volume(patient.label, fresh / LABEL)
            sums = {name: _sha256(fresh / name) for name in (IMAGE, LABEL)}
            text = json.dumps({"seed": seed, "index": index, "coarsen": coarsen, "sha256": sums}, indent=1)
            (fresh / MANIFEST).write_text(text + "\n", encoding="utf-8")
            _put(fresh, target)
    except OSError as error:
        raise EnvironmentProblem(
            Code.CANNOT_WRITE,
            f"{target}: cannot be written ({error.strerror}); free space, or set MEDSEG_CACHE elsewhere",
        ) from None
    return index


def _put(fresh: Path, target: Path) -> None:
    """Give the new folder its name; what another process put there meanwhile stays when it is intact."""
    if target.exists() and not is_intact(target):
        with suppress(OSError):
            shutil.rmtree(target)
    try:
        fresh.rename(target)
    except OSError:
        if not is_intact(target):
            raise

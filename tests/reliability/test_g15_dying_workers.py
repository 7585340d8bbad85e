"""G15: a worker that dies or takes too much memory hurts one patient, named at once and tried again alone."""

import re
import signal
import subprocess
import threading
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import psutil
import pytest

from medseg.batch import BatchModel, BatchOptions, BatchResult, infer_patients
from medseg.data import find_patients
from support.batches import Sniper, Told, at_work, medseg_command, tree_hash, write_patient, write_patients
from support.oracle import write_oracle

pytestmark = [pytest.mark.row("G15"), pytest.mark.nightly]
LARGE = (180, 180, 120)
STAGES = ["reading", "writing"]


class Place:
    """Four tiny patients and one, ``victim``, whose stages take long enough to be hit."""

    def __init__(self, folder: Path) -> None:
        self.model = BatchModel.load(write_oracle(folder / "oracle.safetensors", patch_size=(96, 96, 96)))
        self.patients = write_patients(folder / "patients", 4)
        write_patient(self.patients / "victim", 9, LARGE)
        self.out = folder / "masks"
        self.told = Told()

    def run(self, **options: float) -> BatchResult:
        chosen = BatchOptions(**{"workers": 2, **options})  # type: ignore[arg-type]
        return infer_patients(self.model, find_patients(self.patients), self.out, chosen, self.told)

    def require_as_undisturbed(self) -> None:
        clean = self.out.with_name("clean")
        infer_patients(self.model, find_patients(self.patients), clean, BatchOptions(0))
        assert tree_hash(self.out) == tree_hash(clean)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_killed_once(place: Place, stage: str, number: signal.Signals) -> None:
    with Sniper("victim", stage, at_work(place.out, stage, number)) as sniper:
        result = place.run()
    assert not result.failed
    assert f"{stage} it was killed by {number.name}" in place.told.retried["victim"]
    assert re.search(r"it took up to \d+\.\d\d GiB", place.told.retried["victim"])
    assert 0 < place.told.when["victim"] - sniper.shots[0] < 5
    again = [
        line for line in (place.out / ".medseg" / "log.jsonl").read_text().splitlines() if '"again"' in line
    ]
    assert len(again) == 1
    place.require_as_undisturbed()


@pytest.mark.parametrize("stage", STAGES)
def test_killed_at_each_try(place: Place, stage: str) -> None:
    shoot = at_work(place.out, stage, signal.SIGKILL)
    with Sniper("victim", stage, shoot, limit=2) as sniper:
        result = place.run()
    assert len(sniper.shots) == 2
    assert [(patient.id, patient.code) for patient in result.failed] == [("victim", "E801")]
    assert "was killed by SIGKILL" in result.failed[0].problem
    assert len(result.done) == 4
    assert place.told.when["victim"] - sniper.shots[0] < 5
    assert not (place.out / "victim_seg.nii.gz").exists()
    assert not list(place.out.glob(".medseg-*"))
    assert not place.run().failed, "and the next run completes it"
    place.require_as_undisturbed()


def write_ballast(path: Path, shape: tuple[int, int, int]) -> None:
    """Few bytes on the disk, many in memory."""
    image = nib.Nifti1Image(np.zeros(shape, np.float64), np.diag([2.0, 2, 2, 1]))
    path.parent.mkdir()
    nib.save(image, path)


def test_more_memory_than_allowed_while_reading(place: Place) -> None:
    write_ballast(place.patients / "heavy" / "ct.nii.gz", (512, 512, 300))
    libraries = 500 << 20
    limit = psutil.Process().memory_info().rss + libraries + (900 << 20)
    result = place.run(max_ram_bytes=limit)
    assert [(patient.id, patient.code) for patient in result.failed] == [("heavy", "E803")]
    assert re.search(r"heavy: reading took \d+\.\d\d GiB", result.failed[0].problem)
    assert "--max-ram is" in result.failed[0].problem
    assert "heavy" in place.told.retried, "it was tried once more, alone"
    assert len(result.done) == 5


def test_the_process_that_starts_the_others_is_killed(place: Place) -> None:
    def kill() -> None:
        deadline = time.monotonic() + 60
        while not list(place.out.glob("*_seg.nii.gz")) and time.monotonic() < deadline:
            time.sleep(0.01)
        (starter,) = [p for p in psutil.Process().children() if "zygote" in " ".join(p.cmdline())]
        starter.kill()

    thread = threading.Thread(target=kill)
    thread.start()
    result = place.run()
    thread.join()
    assert not result.failed
    place.require_as_undisturbed()


@pytest.mark.parametrize("stage", STAGES)
def test_stopped_for_good(place: Place, stage: str) -> None:
    with Sniper("victim", stage, signal.SIGSTOP) as sniper:
        result = place.run(timeout_seconds=30)
    assert [(patient.id, patient.code) for patient in result.failed] == [("victim", "E802")]
    assert len(result.done) == 4
    assert place.told.when["victim"] - sniper.shots[0] < 30 + 5
    assert (place.out / ".medseg" / "dumps" / "victim.txt").read_text()
    assert not place.run().failed


@pytest.mark.parametrize("stage", STAGES)
def test_more_memory_than_allowed_once(place: Place, stage: str) -> None:
    """Something else takes the memory meanwhile; alone and later there is enough."""
    limit = psutil.Process().memory_info().rss + (1500 << 20)

    def fill(pid: int) -> None:
        ballast = [np.ones(10 << 20)]
        while psutil.pid_exists(pid) and len(ballast) < 40:
            ballast.append(np.ones(10 << 20))

    with Sniper("victim", stage, fill):
        result = place.run(max_ram_bytes=limit, timeout_seconds=120)
    assert not result.failed
    assert "--max-ram is" in place.told.retried["victim"]
    place.require_as_undisturbed()


def test_no_process_is_left_when_the_batch_is_killed(place: Place) -> None:
    """Killed without any chance to tidy up: its processes notice, and end."""
    root = place.patients.parent
    batch = subprocess.Popen(
        medseg_command("infer", "patients", "--model", "oracle.safetensors", "-o", "masks"),
        cwd=root,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 240
    while not list(place.out.glob("*_seg.nii.gz")) and time.monotonic() < deadline:
        time.sleep(0.01)
    below = psutil.Process(batch.pid).children(recursive=True)
    assert below
    batch.kill()
    batch.wait()
    _, alive = psutil.wait_procs(below, timeout=5)
    assert not alive
    assert not place.run().failed
    place.require_as_undisturbed()

"""G12: a batch that is killed at any moment is completed by the same command: the tree is a clean run's."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from medseg.batch import BatchModel, BatchOptions, infer_patients
from medseg.data import find_patients
from support.batches import medseg, medseg_command, tree_hash, write_patients
from support.oracle import write_oracle

pytestmark = [pytest.mark.row("G12"), pytest.mark.nightly, pytest.mark.timeout(3600)]
COMMAND = ("infer", "patients", "--model", "oracle.safetensors", "-o", "masks")


def clean_run(place: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The hash of the tree that an undisturbed run gives, in one process."""
    with monkeypatch.context() as there:
        there.chdir(place)
        model = BatchModel.load(Path("oracle.safetensors"))
        infer_patients(model, find_patients(Path("patients")), place / "clean", BatchOptions(0))
    return tree_hash(place / "clean")


def finished(out: Path) -> int:
    """Patients that the journal knows to be done."""
    journal = out / ".medseg" / "journal.jsonl"
    if not journal.exists():
        return 0
    entries = {}
    for line in journal.read_text().splitlines():
        try:
            told = json.loads(line)
            entries[told["patient"]] = told["entry"]["status"]
        except ValueError:
            continue
    return list(entries.values()).count("done")


def run_and_kill(place: Path, after: int, delay: float, workers: int) -> int | None:
    """Kill the batch ``delay`` seconds after ``after`` more patients; how many are done, None if it ended."""
    before = finished(place / "masks")
    batch = subprocess.Popen(
        medseg_command(*COMMAND, "--workers", workers),
        cwd=place,
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 240
    while batch.poll() is None and finished(place / "masks") < before + after and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(delay)
    ended = batch.poll() is not None
    if not ended:
        os.killpg(batch.pid, signal.SIGKILL)
    batch.wait()
    return None if ended else finished(place / "masks")


@pytest.mark.parametrize("seed", range(20))
def test_killed_at_a_random_point(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(seed)
    write_oracle(tmp_path / "oracle.safetensors")
    write_patients(tmp_path / "patients", 24, faults=True)
    expected = clean_run(tmp_path, monkeypatch)
    workers = (0, 1, 2)[seed % 3]
    run_and_kill(tmp_path, chance.randrange(0, 12), chance.uniform(0, 0.3), workers)
    done = medseg(*COMMAND, cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    assert tree_hash(tmp_path / "masks") == expected
    assert not list((tmp_path / "masks").glob(".medseg-*")), "no temporary file is left"


def test_200_patients_killed_five_times(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    counts: Callable[[int], None],
) -> None:
    counts(0)  # a figure of its own
    chance = random.Random(time.time_ns())
    write_oracle(tmp_path / "oracle.safetensors")
    write_patients(tmp_path / "patients", 200, faults=True)
    expected = clean_run(tmp_path, monkeypatch)
    told = []
    for kill in range(1, 6):
        done = run_and_kill(tmp_path, chance.randrange(1, 45), chance.uniform(0, 0.5), 2)
        told.append(f"kill {kill}: {done} of 190 done")
        assert done is not None, "it ended before the kill"
    last = medseg(*COMMAND, cwd=tmp_path)
    assert last.returncode == 3, last.stderr
    same = tree_hash(tmp_path / "masks") == expected
    with capsys.disabled():
        end = "the clean tree" if same else "ANOTHER TREE"
        sys.stdout.write("\n" + "\n".join([*told, f"rerun: {end}"]) + "\n")
    assert same

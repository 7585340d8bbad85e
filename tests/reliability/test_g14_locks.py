"""G14: two batches never work in one folder; the second is told who has it, and a dead one's lock is free."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from medseg import lock
from medseg.errors import Code, EnvironmentProblem
from medseg.lock import STALE_SECONDS, folder_locked, require_free
from support.batches import medseg, write_patients
from support.oracle import write_oracle

pytestmark = pytest.mark.row("G14")
HOST = socket.gethostname()
HOLD = """
import sys, time
from pathlib import Path
from medseg.errors import EnvironmentProblem
from medseg.lock import folder_locked
folder = Path(sys.argv[1])
try:
    with folder_locked(folder, folder / ".medseg"):
        print("held", flush=True)
        sys.stdin.readline()
        if sys.argv[2:] == ["fail"]:
            raise SystemExit(9)
except EnvironmentProblem as error:
    print(error, flush=True)
    sys.exit(4)
"""


@contextmanager
def holder(folder: Path, *how: str) -> Iterator[subprocess.Popen[str]]:
    """A process of its own that holds ``folder`` until it reads a line, or is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder), *how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def let_go(process: subprocess.Popen[str]) -> int:
    process.communicate("\n", timeout=20)
    return process.returncode


def take(folder: Path) -> dict[str, Any]:
    """What ``owner.json`` tells while the lock is held."""
    with folder_locked(folder, folder / ".medseg"):
        told: dict[str, Any] = json.loads((folder / ".medseg" / "owner.json").read_text())
        return told


def refused(folder: Path) -> str:
    """How long it takes is part of the promise."""
    start = time.monotonic()
    with pytest.raises(EnvironmentProblem) as caught:
        take(folder)
    assert time.monotonic() - start < 5
    assert caught.value.code == Code.LOCKED
    assert caught.value.exit_code == 4
    assert str(folder) in str(caught.value)
    return str(caught.value)


def write_owner(folder: Path, age_seconds: float = 0, **told: Any) -> None:
    owner = folder / ".medseg" / "owner.json"
    owner.parent.mkdir(parents=True)
    owner.write_text(json.dumps({"pid": 4711, "host": HOST, "started": 1.0, **told}))
    then = time.time() - age_seconds
    os.utime(owner, (then, then))


def test_the_command_line_exits_with_4_at_once_and_names_the_owner(tmp_path: Path) -> None:
    """At once even where libraries load slowly: the lock is looked at before they are."""
    write_patients(tmp_path / "patients", 1)
    write_oracle(tmp_path / "oracle.safetensors")
    with holder(tmp_path / "masks") as process:
        start = time.monotonic()
        done = medseg(
            "infer", "patients", "--model", "oracle.safetensors", "-o", "masks", cwd=tmp_path, timeout=60
        )
        seconds = time.monotonic() - start
        assert done.returncode == 4
        assert done.stderr.startswith("error E707: ")
        assert f"process {process.pid} on {HOST}" in done.stderr
        assert seconds < 5
        assert let_go(process) == 0


def test_another_process_holds_it(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        assert f"process {process.pid} on {HOST}" in refused(tmp_path)


def test_this_process_holds_it(tmp_path: Path) -> None:
    with folder_locked(tmp_path, tmp_path / ".medseg"):
        assert f"process {os.getpid()} on {HOST}" in refused(tmp_path)
    assert take(tmp_path)["pid"] == os.getpid()


def test_a_stopped_process_still_holds_it(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        process.send_signal(signal.SIGSTOP)
        assert f"process {process.pid}" in refused(tmp_path)
        process.send_signal(signal.SIGCONT)


def test_after_an_ordinary_end_nothing_is_left(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        assert let_go(process) == 0
    assert not (tmp_path / ".medseg" / "owner.json").exists()
    assert take(tmp_path)["pid"] == os.getpid()


def test_after_a_failure_nothing_is_left(tmp_path: Path) -> None:
    with holder(tmp_path, "fail") as process:
        assert let_go(process) == 9
    assert not (tmp_path / ".medseg" / "owner.json").exists()
    assert take(tmp_path)["pid"] == os.getpid()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_a_killed_owner_is_taken_over(number: int, tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        process.send_signal(number)
        process.wait(timeout=20)
        assert (tmp_path / ".medseg" / "owner.json").exists(), "what it left"
        assert take(tmp_path)["pid"] == os.getpid()


def test_a_dead_owner_of_this_host(tmp_path: Path) -> None:
    write_owner(tmp_path, pid=2**22 + 1)
    assert take(tmp_path)["pid"] == os.getpid()


def test_its_number_belongs_to_another_process_by_now(tmp_path: Path) -> None:
    write_owner(tmp_path, pid=os.getppid(), started=1.0)
    assert take(tmp_path)["pid"] == os.getpid()


def test_the_file_of_the_lock_was_deleted_and_the_owner_lives(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        (tmp_path / ".medseg" / "lock").unlink()
        assert f"process {process.pid} on {HOST}" in refused(tmp_path)


def test_another_host_that_was_heard_of(tmp_path: Path) -> None:
    write_owner(tmp_path, host="node17", age_seconds=STALE_SECONDS - 60)
    assert "process 4711 on node17" in refused(tmp_path)


def test_another_host_that_was_not_heard_of_for_long(tmp_path: Path) -> None:
    write_owner(tmp_path, host="node17", age_seconds=STALE_SECONDS + 60)
    assert take(tmp_path)["host"] == HOST


def test_a_damaged_owner_file(tmp_path: Path) -> None:
    write_owner(tmp_path)
    for text in ("", "[" * 5000, '{"pid": "x"}', "[1, 2]", '{"pid": 1e400, "host": 3, "started": 0}'):
        (tmp_path / ".medseg" / "owner.json").write_text(text)
        assert take(tmp_path)["pid"] == os.getpid()


def test_looking_at_a_new_folder_makes_nothing(tmp_path: Path) -> None:
    require_free(tmp_path / "masks", tmp_path / "masks" / ".medseg")
    assert list(tmp_path.iterdir()) == []


def test_the_heart_beats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "_BEAT_SECONDS", 0.05)
    owner = tmp_path / ".medseg" / "owner.json"
    with folder_locked(tmp_path, tmp_path / ".medseg"):
        os.utime(owner, (1, 1))
        deadline = time.monotonic() + 10
        while owner.stat().st_mtime < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert time.time() - owner.stat().st_mtime < 5


def test_two_folders_do_not_mind_each_other(tmp_path: Path) -> None:
    with folder_locked(tmp_path / "a", tmp_path / "a" / ".medseg"):
        assert take(tmp_path / "b")["pid"] == os.getpid()


def test_no_folder_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "masks").write_text("a file has the name")
    with pytest.raises(EnvironmentProblem, match="cannot be written") as caught:
        take(tmp_path / "masks")
    assert caught.value.code == Code.CANNOT_WRITE


def test_of_many_that_start_together_one_gets_it(tmp_path: Path) -> None:
    together = [
        subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(6)
    ]
    told = [process.stdout.readline() for process in together if process.stdout]
    for process in together:
        process.communicate("\n", timeout=20)
    assert sorted(process.returncode for process in together) == [0, 4, 4, 4, 4, 4]
    (winner,) = (process.pid for process, line in zip(together, told, strict=True) if line == "held\n")
    assert sum(f"process {winner} on {HOST}" in line for line in told) == 5

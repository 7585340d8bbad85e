"""One process at a time in an output folder; the next one is told who, and a dead one's lock is taken over.

Light to import: the command line looks at a lock before it loads anything heavy.
"""

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout

from medseg.errors import Code, EnvironmentProblem
from medseg.files import cannot_write, write_json_atomically

STALE_SECONDS = 15 * 60.0
"""An owner on another host, whose lock this host may not see, is dead when it was silent for so long."""
_BEAT_SECONDS = 60.0
_CLOCK_SECONDS = 2.0
_PATIENCE_SECONDS = 1.0
"""A killed owner's other processes may take a moment to be gone."""


@contextmanager
def folder_locked(folder: Path, where: Path) -> Iterator[None]:
    """Hold ``folder`` (made if need be) by the files ``lock`` and ``owner.json`` in ``where``.

    The operating system frees the lock of a process that is gone. File systems that do not carry locks from
    one host to another are covered by the owner's heartbeat, the time of ``owner.json``.

    Raises:
        EnvironmentProblem: another process works there, or the folder cannot be written.
    """
    owner = where / "owner.json"
    with _held(folder, where):
        _require_dead(folder, owner)
        write_json_atomically(owner, _myself())
        try:
            with _heartbeat(owner):
                yield
        finally:
            with suppress(OSError):
                owner.unlink(missing_ok=True)


def require_free(folder: Path, where: Path) -> None:
    """Refuse a folder in which another process works, before anything is loaded or written.

    Raises:
        EnvironmentProblem: naming the process and its host.
    """
    if os.path.exists(where / "lock"):  # noqa: PTH110 - False, too, for a name that is too long
        with _held(folder, where):
            _require_dead(folder, where / "owner.json")


@contextmanager
def _held(folder: Path, where: Path) -> Iterator[None]:
    lock = FileLock(where / "lock")
    try:
        where.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=_PATIENCE_SECONDS, poll_interval=0.1)
    except Timeout:
        raise _in_use(folder, _read(where / "owner.json")) from None
    except OSError as error:
        raise cannot_write(folder, error) from None
    try:
        yield
    finally:
        lock.release()


def _require_dead(folder: Path, owner: Path) -> None:
    """The lock could be had; still its owner may live: on another host, or if the file was deleted."""
    told = _read(owner)
    if told is not None and (_lives_here(told) if _is_here(told) else _beats(owner)):
        raise _in_use(folder, told)


def _is_here(told: dict[str, Any]) -> bool:
    return bool(told["host"] == socket.gethostname())


def _lives_here(told: dict[str, Any]) -> bool:
    """Whether it is still the same process that has this number."""
    with suppress(psutil.Error, ValueError, OverflowError):
        started = psutil.Process(told["pid"]).create_time()
        return bool(told["pid"] != os.getpid() and abs(started - told["started"]) < _CLOCK_SECONDS)
    return False


def _beats(owner: Path) -> bool:
    with suppress(OSError):
        return time.time() - owner.stat().st_mtime < STALE_SECONDS
    return False


def _myself() -> dict[str, Any]:
    started = psutil.Process().create_time()
    return {"pid": os.getpid(), "host": socket.gethostname(), "started": started}


def _in_use(folder: Path, told: dict[str, Any] | None) -> EnvironmentProblem:
    who = f"process {told['pid']} on {told['host']}" if told else "another process"
    return EnvironmentProblem(
        Code.LOCKED, f"{folder}: in use by {who}: wait until it ends, stop it, or give another output folder"
    )


def _read(owner: Path) -> dict[str, Any] | None:
    """What ``owner.json`` tells; None when there is none, or it is damaged."""
    try:
        with owner.open("rb") as file:
            told = json.loads(file.read(4096))
        return {"pid": int(told["pid"]), "host": str(told["host"])[:200], "started": float(told["started"])}
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


@contextmanager
def _heartbeat(owner: Path) -> Iterator[None]:
    over = threading.Event()

    def beat() -> None:
        while not over.wait(_BEAT_SECONDS):
            with suppress(OSError):
                os.utime(owner)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()

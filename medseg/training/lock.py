"""One process at a time in a folder; the next one is told who."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from medseg.errors import Code, EnvironmentProblem
from medseg.files import cannot_write, write_json_atomically

_PATIENCE_SECONDS = 2.0
"""A killed owner's other processes may take a moment to be gone."""


class FolderLock:
    """Held by the process, so a killed one holds it no longer; may be taken again by its holder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._owner = folder / ".running.json"
        self._lock = FileLock(folder / ".running.lock")

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Make the folder and lock it.

        Raises:
            EnvironmentProblem: another process holds it, or the folder cannot be written.
        """
        held = self._lock.is_locked
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=_PATIENCE_SECONDS)
        except Timeout:
            raise EnvironmentProblem(
                Code.LOCKED, f"{self._folder}: in use by {self._told()}: wait for it, or give another -o"
            ) from None
        except OSError as error:
            raise cannot_write(self._folder, error) from None
        try:
            if not held:
                write_json_atomically(self._owner, {"pid": os.getpid(), "host": socket.gethostname()})
            yield
        finally:
            if not held:
                with suppress(OSError):
                    self._owner.unlink(missing_ok=True)
            self._lock.release()

    def _told(self) -> str:
        try:
            owner = json.loads(self._owner.read_text(encoding="utf-8"))
            return f"process {int(owner['pid'])} on {str(owner['host'])[:200]}"
        except (OSError, ValueError, KeyError, TypeError):
            return "another process"

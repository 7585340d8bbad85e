"""The command line in processes forked from one that has imported everything: as real, and started at once.

A forked process is killed, traced and looked at like any other; what is spared is seconds of imports.
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_SERVER = Path(__file__)


class WarmStart:
    """One process at a time: ``start``, then ``wait``; or ``run``, which does both."""

    def __init__(self, told: Path, **env: str) -> None:
        self._told = told
        command = [sys.executable, str(_SERVER)]
        self._server = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **env}
        )
        self._process: int | None = None
        assert self._answer(120) == 0

    def start(self, *arguments: object, stopped: bool = False, **env: str) -> int:
        """Run ``medseg ARGUMENTS`` in a process group of its own; its id. ``stopped``: CONT lets it begin."""
        return self._order(arguments, self._told, {"stopped": stopped, "cwd": ".", "env": env})

    def wait(self, timeout: float = 120) -> tuple[int, str]:
        """Exit code (negative: the signal that killed it) and what was told on standard output and error."""
        code = self._answer(timeout)
        self._process = None
        return code, self._told.read_text(encoding="utf-8", errors="replace")

    def run(self, *arguments: object, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
        """``medseg ARGUMENTS`` in the folder ``cwd`` to its end, both outputs apart."""
        said = self._told.with_name("said.txt")
        self._order(arguments, said, {"stopped": False, "cwd": str(cwd), "env": env})
        code, _ = self.wait(280)
        output, errors = (path.read_bytes().decode("utf-8", "replace") for path in (said, self._told))
        return subprocess.CompletedProcess(arguments, code, output, errors)

    def _order(self, arguments: tuple[object, ...], said: Path, how: dict[str, object]) -> int:
        assert self._server.stdin is not None
        self._clear()
        order = {"arguments": [str(a) for a in arguments], "said": str(said), "told": str(self._told), **how}
        self._server.stdin.write(json.dumps(order).encode() + b"\n")
        self._server.stdin.flush()
        self._process = self._answer(60)
        return self._process

    def _clear(self) -> None:
        """End a process that nobody waited for, because a test failed meanwhile."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.kill(self._process, signal.SIGKILL)
            self.wait(60)

    def close(self) -> None:
        self._clear()
        self._server.kill()
        self._server.communicate()

    def _answer(self, timeout: float) -> int:
        stream = self._server.stdout
        assert stream is not None
        ready, _, _ = select.select([stream], [], [], timeout)
        assert ready, f"no answer within {timeout} s: {self._told.read_text() if self._told.exists() else ''}"
        return int(stream.readline())


@contextmanager
def open_door(folder: Path) -> Iterator[str]:
    """A shell command that is ``medseg`` meanwhile, for programs that call it themselves, several at once."""
    path, told = folder / "door", folder / "door.txt"
    command = [sys.executable, str(_SERVER), str(path)]
    with told.open("wb") as log, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == b"0\n", told.read_text()
            yield f"{sys.executable} -I -S {_SERVER.with_name('warm_door.py')} {path}"
        finally:
            server.kill()


def import_all() -> None:
    """What takes long to import."""
    import medseg.batch
    import medseg.cli.display
    import medseg.report.folders
    import medseg.report.run
    import medseg.training  # noqa: F401


def tell(number: int) -> None:
    os.write(1, f"{number}\n".encode())


def serve_at(path: str) -> None:
    """Who knocks sends an order, as lines of JSON, and is sent the exit code."""
    import_all()
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(path)
        door.listen()
        tell(0)
        while True:
            caller, _ = door.accept()
            if os.fork() == 0:
                attend(caller)
            caller.close()
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass


def attend(caller: socket.socket) -> None:
    order = json.loads(caller.makefile("rb").readline())
    pid = os.fork()
    if pid == 0:
        run(order)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    caller.sendall(f"{code if code >= 0 else 128 - code}\n".encode())
    os._exit(0)


def serve() -> None:
    import_all()
    tell(0)
    while line := sys.stdin.buffer.readline():
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            run(order)
        tell(pid)
        tell(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def run(order: dict[str, Any]) -> None:
    from medseg.cli import main

    os.setsid()
    for stream, path in ((2, order["told"]), (1, order["said"])):
        if (stream, path) == (1, order["told"]):
            os.dup2(2, 1)  # both in one file, in the order in which they were told
        else:
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    os.environ.update(order["env"])
    tempfile.tempdir = None  # it may be another one by now
    os.chdir(order["cwd"])
    sys.argv = ["medseg", *order["arguments"]]
    if order["stopped"]:
        os.kill(os.getpid(), signal.SIGSTOP)
    main()


if __name__ == "__main__":
    serve_at(sys.argv[1]) if len(sys.argv) > 1 else serve()

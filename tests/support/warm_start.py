"""The command line in processes forked from one that has imported everything: as real, and started at once.

A forked process is killed, traced and looked at like any other; what is spared is seconds of imports.
"""

import json
import os
import select
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

_SERVER = Path(__file__)


class WarmStart:
    """One process at a time: ``start``, then ``wait``."""

    def __init__(self, told: Path, **env: str) -> None:
        self._told = told
        command = [sys.executable, str(_SERVER)]
        self._server = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **env}
        )
        self._process: int | None = None
        assert self._answer(120) == 0

    def start(self, *arguments: object, stopped: bool = False) -> int:
        """Run ``medseg ARGUMENTS`` in a process group of its own; its id. ``stopped``: CONT lets it begin."""
        assert self._server.stdin is not None
        order = {"arguments": [str(a) for a in arguments], "told": str(self._told), "stopped": stopped}
        self._server.stdin.write(json.dumps(order).encode() + b"\n")
        self._server.stdin.flush()
        self._process = self._answer(60)
        return self._process

    def wait(self, timeout: float = 120) -> tuple[int, str]:
        """Exit code (negative: the signal that killed it) and what was told on standard output and error."""
        code = self._answer(timeout)
        self._process = None
        return code, self._told.read_text()

    def close(self) -> None:
        if self._process is not None:  # a test failed meanwhile
            with suppress(ProcessLookupError):
                os.kill(self._process, signal.SIGKILL)
        self._server.kill()
        self._server.communicate()

    def _answer(self, timeout: float) -> int:
        stream = self._server.stdout
        assert stream is not None
        ready, _, _ = select.select([stream], [], [], timeout)
        assert ready, f"no answer within {timeout} s: {self._told.read_text() if self._told.exists() else ''}"
        return int(stream.readline())


def serve() -> None:
    import medseg.cli.display
    import medseg.report.run
    import medseg.training  # noqa: F401 - what takes long to import

    def tell(number: int) -> None:
        os.write(1, f"{number}\n".encode())

    tell(0)
    while line := sys.stdin.buffer.readline():
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            run(order)
        tell(pid)
        tell(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def run(order: dict[str, object]) -> None:
    from medseg.cli import main

    os.setsid()
    told = os.open(str(order["told"]), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(told, stream)
    arguments = order["arguments"]
    assert isinstance(arguments, list)
    sys.argv = ["medseg", *arguments]
    if order["stopped"]:
        os.kill(os.getpid(), signal.SIGSTOP)
    main()


if __name__ == "__main__":
    serve()

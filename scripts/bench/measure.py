"""One command as a process of its own: wall time, processor time and memory of it and all it starts."""

import contextlib
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

SAMPLE_SECONDS = 0.05


@dataclass(frozen=True)
class Run:
    """``peak_bytes`` of the whole process tree: shared pages count once (PSS), where the system tells it."""

    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int
    stdout: str


class CommandError(RuntimeError):
    """Its message is the end of what the command said."""


def measure(command: Sequence[str], **environment: str) -> Run:
    """Run ``command`` to its end.

    Raises:
        CommandError: its exit code is not 0.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        begin = time.perf_counter()
        process = subprocess.Popen(list(command), stdout=out, stderr=err, env={**os.environ, **environment})
        watch = _Watch(process.pid)
        watch.start()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        watch.stop()
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
    if process.returncode != 0:
        raise CommandError(f"{' '.join(command)[:300]}\nexit code {process.returncode}\n{texts[1][-3000:]}")
    return Run(wall, usage.ru_utime + usage.ru_stime, watch.peak_bytes, texts[0])


class _Watch(threading.Thread):
    """Samples the memory of a process and its descendants."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.peak_bytes = 0
        self._pid = pid
        self._ended = threading.Event()

    def run(self) -> None:
        pause = SAMPLE_SECONDS
        while not self._ended.wait(pause):
            begin = time.perf_counter()
            with contextlib.suppress(psutil.Error):
                parent = psutil.Process(self._pid)
                tree = [parent, *parent.children(recursive=True)]
                alone = len(tree) == 1
                held = parent.memory_info().rss if alone else sum(_bytes(process) for process in tree)
                self.peak_bytes = max(self.peak_bytes, held)
            # looking must not slow down what is measured: a twentieth of one core at most
            pause = max(SAMPLE_SECONDS, 20 * (time.perf_counter() - begin))

    def stop(self) -> None:
        self._ended.set()
        self.join()


def _bytes(process: psutil.Process) -> int:
    with contextlib.suppress(OSError, ValueError, IndexError):
        text = Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="ascii")
        return 1024 * int(text.split("\nPss:")[1].split()[0])
    with contextlib.suppress(psutil.Error):
        return int(process.memory_info().rss)
    return 0

"""One process of a batch, as its supervisor sees it."""

import os
import select
import threading
import time
from contextlib import suppress
from dataclasses import InitVar, dataclass, field

import psutil

from medseg.batch.zygote import Forked


@dataclass
class Watched:
    """A process at work, and what its supervisor knows of it."""

    patient: str
    stage: str
    seconds: float
    """What it may take."""
    forked: InitVar[Forked]
    started: float = field(default_factory=time.monotonic)
    peak_bytes: int = 0
    doom: Exception | None = None
    """Why it was killed by its supervisor."""
    open: bool = True
    pipes: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self, forked: Forked) -> None:
        self.pid, self.stream, self.dump, self.status = forked
        self._process: psutil.Process | None = None
        with suppress(psutil.NoSuchProcess):  # it ended already; its channel tells
            self._process = psutil.Process(self.pid)

    @property
    def processes(self) -> tuple[psutil.Process, ...]:
        return () if self._process is None else (self._process,)

    def rss_bytes(self) -> int:
        with suppress(psutil.Error):
            rss = sum(int(process.memory_info().rss) for process in self.processes)
            self.peak_bytes = max(self.peak_bytes, rss)
            return rss
        return 0

    def send(self, *signals: int) -> None:
        """psutil sees to it that no other process that got the same number is meant."""
        with suppress(psutil.Error):
            for process in self.processes:
                for number in signals:
                    process.send_signal(number)

    def state(self) -> str:
        with suppress(psutil.Error):
            return ", ".join(str(process.status()) for process in self.processes) or "gone"
        return "gone"

    def read_dump(self, seconds: float) -> str:
        """What it wrote of its stack: waits up to ``seconds`` for the beginning, then for a pause."""
        data = b""
        while select.select([self.dump], [], [], 0.2 if data else seconds)[0]:
            piece = os.read(self.dump, 1 << 16)
            if not piece:
                break
            data += piece
        return data.decode("utf-8", "replace")

    def close(self) -> None:
        """From here on the process ends, should it still be there: nobody is at the other end."""
        self.stream.close()
        with self.pipes:
            self.open = False
            os.close(self.dump)
            os.close(self.status)

"""Ctrl-C, and the TERM that clusters send: no new patient starts, and the one in hand is left undone."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class Stopped(Exception):  # noqa: N818 - not an error: the user asked for it
    """Raised between two windows of the network after a signal came."""


class StopRequest:
    """While open, the first INT or TERM is only noted; a second Ctrl-C acts at once."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._previous: dict[int, Any] = {}

    def check(self) -> None:
        """Raises: Stopped: a signal came."""
        if self.signal is not None:
            raise Stopped

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) is not signal.SIG_IGN:  # as for jobs in a shell's background
                    self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = self.signal or number

"""Ctrl-C and the TERM signal that clusters send: leave at once, or finish the step in hand and save."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

_Handler = Callable[[int, FrameType | None], Any]


class Interrupted(BaseException):
    """A signal asked to stop; like KeyboardInterrupt, no ``except Exception`` holds it up."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.exit_code = 128 + number


@contextmanager
def leaving_at_once() -> Iterator[None]:
    """While open, INT and TERM raise :class:`Interrupted` wherever the program is."""

    def leave(number: int, _frame: FrameType | None) -> None:
        raise Interrupted(number)

    previous = _handle(leave)
    try:
        yield
    finally:
        _restore(previous)


class StopSignals:
    """While open, INT and TERM are only noted, for ``check`` to raise; a second Ctrl-C acts at once.

    A second TERM does not: clusters send it to a job as a whole and to its processes.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._previous: dict[int, Any] = {}

    def check(self) -> None:
        """Raises: Interrupted: a signal came."""
        if self.received is not None:
            raise Interrupted(self.received)

    def __enter__(self) -> "StopSignals":
        self._previous = _handle(self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _restore(self._previous)
        if kind is None:
            self.check()

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = number


def _handle(handler: _Handler) -> dict[int, Any]:
    """Install ``handler`` where Python allows it; returns what was there."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    return {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}


def _restore(previous: dict[int, Any]) -> None:
    for number, handler in previous.items():
        signal.signal(number, handler)

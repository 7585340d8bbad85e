"""Processes that never outlive the one that started them, and the cores there are for them."""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
"""A name in Linux's sys/prctl.h."""


def end_with(parent: int) -> None:
    """See to it that this process is killed when ``parent``, which started it, ends in whatever way.

    One that waits for a pipe whose other end it holds itself would wait for ever. Linux only: elsewhere
    nothing is done.
    """
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:  # it ended meanwhile
            os._exit(1)


def usable_cores() -> int:
    """Those that this process may use: a cluster's job has some of its machine's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

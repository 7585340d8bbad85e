"""What glibc does with memory that is freed: keep it for the next step, or give it back to the system."""

import ctypes
import sys
from typing import Any

_MMAP_MAX, _TRIM_THRESHOLD, _TOP_PAD = -4, -1, -2
"""Names in glibc's malloc.h."""


def keep_freed_memory() -> bool:
    """Tell glibc to reuse large blocks instead of returning them; True where that is possible.

    A training step on a CPU allocates and frees gigabytes of activations in blocks of tens of megabytes. By
    default each is mapped and unmapped, and every page of it faults in and is zeroed anew.
    """
    mallopt = _glibc("mallopt")
    if mallopt is None:
        return False
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, 64 * 2**20))
    return all(mallopt(name, value) == 1 for name, value in settings)


def return_freed_memory() -> None:
    """Give back what lies free between blocks in use, before work that takes much."""
    trim = _glibc("malloc_trim")
    if trim is not None:
        trim(0)


def _glibc(name: str) -> Any:
    """A function of the C library; None where that is another one."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        return getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError):
        return None

"""Memory that is freed stays with the process, so that the next step does not ask the system for it again."""

import ctypes
import sys

_MMAP_MAX, _TRIM_THRESHOLD, _TOP_PAD = -4, -1, -2
"""Names in glibc's malloc.h."""


def keep_freed_memory() -> bool:
    """Tell glibc to reuse large blocks instead of returning them; True where that is possible.

    A training step on a CPU allocates and frees gigabytes of activations in blocks of tens of megabytes. By
    default each is mapped and unmapped, and every page of it faults in and is zeroed anew.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, 64 * 2**20))
    return all(mallopt(name, value) == 1 for name, value in settings)

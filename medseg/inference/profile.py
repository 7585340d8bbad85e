"""Where the time of a run goes: seconds and windows by stage, added up by whoever asked for it."""

import re
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import psutil

Stage = Literal[
    "reading",
    "preparing",
    "network",
    "summing",
    "restoring",
    "judging",
    "postprocessing",
    "writing",
    "waiting",
]

STAGES: tuple[Stage, ...] = get_args(Stage)


@dataclass
class Profile:
    """Seconds of each stage, without those of stages inside it. Stages that run side by side (patients of a
    batch) each count their own; ``beside`` tells that there were such."""

    seconds: dict[Stage, float] = field(default_factory=dict)
    scans: int = 0
    windows: int = 0
    voxels: int = 0
    """Of the scans' own grids."""
    needed_bytes: int = 0
    """The most that was predicted for a scan, with what the process held then."""
    beside: bool = False
    _began: float = field(default_factory=time.perf_counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def elapsed(self) -> float:
        """Seconds since the profile began."""
        return time.perf_counter() - self._began

    def add(self, stage: Stage, seconds: float) -> None:
        with self._lock:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds


_current: ContextVar[Profile | None] = ContextVar("profile", default=None)
_inside: ContextVar[list[float] | None] = ContextVar("inside", default=None)


@contextmanager
def profiled(profile: Profile | None) -> Iterator[None]:
    """What runs inside (in this thread) is timed into ``profile``; None times nothing."""
    token = _current.set(profile)
    try:
        yield
    finally:
        _current.reset(token)


@contextmanager
def stage(name: Stage) -> Iterator[None]:
    """Time what runs inside as ``name``, if anybody wants to know."""
    profile = _current.get()
    if profile is None:
        yield
        return
    outer, inner = _inside.get(), [0.0]
    token = _inside.set(inner)
    began = time.perf_counter()
    try:
        yield
    finally:
        _inside.reset(token)
        seconds = time.perf_counter() - began
        profile.add(name, seconds - inner[0])
        if outer is not None:
            outer[0] += seconds


def note_scan(voxels: int) -> None:
    """A scan of so many voxels was segmented."""
    if (profile := _current.get()) is not None:
        profile.scans += 1
        profile.voxels += voxels


def note_windows(count: int) -> None:
    """So many went through the network."""
    if (profile := _current.get()) is not None:
        profile.windows += count


def note_need(need: Callable[[], int]) -> None:
    """What is predicted to be taken beyond what the process holds now."""
    if (profile := _current.get()) is not None:
        held = psutil.Process().memory_info().rss
        profile.needed_bytes = max(profile.needed_bytes, held + need())


def note_beside(seconds: Mapping[Stage, float]) -> None:
    """What a process of its own took, while others worked."""
    if (profile := _current.get()) is not None:
        profile.beside = True
        for name, some in seconds.items():
            profile.add(name, some)


def peak_rss_bytes() -> int:
    """The most memory that this process ever held."""
    with suppress(OSError):
        if told := re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text()):
            return int(told[1]) * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024

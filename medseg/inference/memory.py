"""How much memory a scan takes, told before it is taken, and the ways to take less.

Every way gives the same labels, bit for bit: arrays only lie elsewhere. What cannot lie elsewhere
(preprocessing, one batch of windows in the network, the mask) is the least that segmenting takes.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import psutil

from medseg.errors import Code, EnvironmentProblem
from medseg.inference.engine import Engine
from medseg.inference.head import let_wait
from medseg.inference.postprocess import WORKING_BYTES
from medseg.inference.restore import RESTORED_TOGETHER
from medseg.inference.sums import TOUCHED_VALUES
from medseg.inference.windows import WindowPlan
from medseg.inference.workspace import WAYS, Way, gib
from medseg.transforms.grid import Spacing, canonical_spacing_mm, keeping, respaced
from medseg.transforms.upright import BLOCK
from medseg.volume import Geometry, Shape

LIBRARIES = 64 * 2**20
"""What PyTorch and oneDNN take for themselves when a network runs for the first time."""

SUMS_IN_MEMORY = 2**30
"""Larger sums go to a temporary file, so that memory does not depend on the number of classes. The system
keeps of it what memory has room for."""

_FLOAT = 4
_OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "not enough memory")


@dataclass(frozen=True)
class ScanSize:
    """What the memory of a scan depends on: its own grid, the network's, and what is told apart."""

    native: Shape
    network: Shape
    channels: int
    classes: int
    maps: int = 0
    """Feature maps that windows give in the place of ``classes`` scores, where the head can wait."""
    label_bytes: int = 1
    """Of one voxel of the mask."""
    read_bytes: int = 0
    """Of the scan as it was read, where that is let go of when it is preprocessed."""
    cleaned: bool = False
    """Whether parts are removed from the mask."""
    at_once: bool = False
    """Whether preprocessing needs the whole scan at once, instead of block by block."""
    ranked: bool = False
    """Whether normalising takes another copy of a channel."""

    @property
    def image_bytes(self) -> int:
        return _FLOAT * self.channels * int(np.prod(self.network))


def network_shape(native: Geometry, spacing_mm: Spacing, keep: Sequence[int] = ()) -> Shape:
    """The shape of ``native`` on the network's axes and ``spacing_mm``, before it is cropped to a body;
    ``keep`` names axes (0 to 2) that keep their own spacing."""
    order = ["RLAPSI".index(code) // 2 for code in native.axis_codes]
    shape = [native.shape[order.index(axis)] for axis in range(3)]
    own_mm = canonical_spacing_mm(native)
    upright = Geometry((shape[0], shape[1], shape[2]), np.diag([*own_mm, 1.0]))
    return respaced(upright, keeping(own_mm, spacing_mm, keep)).shape


def preparation_bytes(size: ScanSize) -> int:
    """The most that preprocessing holds beyond the scan as it was read, the result included."""
    read = _FLOAT * size.channels * int(np.prod(size.native))
    if size.at_once:
        longest, shrunk = sorted(size.native), sorted(size.network)
        between = _FLOAT * size.channels * int(np.prod(longest)) * shrunk[0] // longest[0]
        return max(2 * read, read + max(between, size.image_bytes) + size.image_bytes)
    slices = BLOCK * max(1.0, size.native[2] / size.network[2]) + 4
    block = int(slices * 2 * _FLOAT * size.native[0] * size.native[1])
    return size.image_bytes + max(block, size.image_bytes * size.ranked // size.channels)


def sums_bytes(size: ScanSize, plan: WindowPlan) -> int:
    """The sums of all classes (or feature maps), in the planes that a window reaches."""
    axis, inner = _inner(size, plan)
    summed = size.maps if size.maps and plan.average_logits else size.classes
    return _FLOAT * plan.size[axis] * (int(np.prod(inner)) // inner[axis]) * summed


def ways_for(size: ScanSize, plan: WindowPlan) -> tuple[Way, ...]:
    """From the quickest to the one that takes the least memory; large sums never lie in memory."""
    if sums_bytes(size, plan) <= SUMS_IN_MEMORY:
        return WAYS
    return tuple(replace(way, sums_on_disk=True) for way in WAYS[:2])


def prediction_bytes(size: ScanSize, plan: WindowPlan, engine: Engine, way: Way) -> int:
    """The most that is held beyond the preprocessed scan, until the mask is done."""
    axis, inner = _inner(size, plan)
    across = int(np.prod(inner)) // inner[axis]
    window = int(np.prod(plan.size))
    native = int(np.prod(size.native))
    held = native + _FLOAT * size.channels * int(np.prod(inner)) * (inner != list(size.network))
    slice_voxels = native // min(size.native)
    finishing = (
        across * (16 + _FLOAT * size.classes)
        + slice_voxels * 32
        + RESTORED_TOGETHER * (160 + 3 * _FLOAT * size.classes)
    )
    working = 0
    if engine.device.type == "cpu":
        touched = _FLOAT * (TOUCHED_VALUES + across * size.classes)
        held += min(touched, sums_bytes(size, plan)) if way.sums_on_disk else sums_bytes(size, plan)
        held += _FLOAT * across * (plan.size[axis] + 2 * size.classes)
        batch = (plan.batch_size, size.channels, *plan.size)
        given = size.maps or size.classes
        logits = _FLOAT * plan.batch_size * given * window
        held += _FLOAT * window * (1 + plan.batch_size * size.channels)
        runs, _ = let_wait(engine, plan)
        working = max(runs.working_bytes(batch), logits + logits // given * 2)
        if plan.mirror:
            working = max(working + logits, 3 * logits)
    if way.image_on_disk:
        held += size.image_bytes * plan.size[axis] // inner[axis]
    last = native * 2 * size.label_bytes + WORKING_BYTES * size.cleaned  # twice: it is read back
    return max(held + max(finishing, working), last) + LIBRARIES


def _inner(size: ScanSize, plan: WindowPlan) -> tuple[int, list[int]]:
    """The axis of the stream, and the shape of the scan with its padding."""
    return int(np.argmax(size.network)), [max(n, w) for n, w in zip(size.network, plan.size, strict=True)]


def peak_bytes(size: ScanSize, plan: WindowPlan, engine: Engine, way: Way) -> int:
    """The most that is held beyond the scan as it was read, from preprocessing to the mask."""
    image = 0 if way.image_on_disk else size.image_bytes
    return max(preparation_bytes(size), image + prediction_bytes(size, plan, engine, way) - size.read_bytes)


Need = Callable[[ScanSize, WindowPlan, Engine, Way], int]
"""``peak_bytes``, or ``prediction_bytes`` for a scan that is preprocessed already."""


def choose_way(needs: dict[Way, int], max_ram: int | None, subject: str) -> Way:
    """The quickest way that keeps the process within ``max_ram`` bytes, with what it holds already.

    Raises:
        EnvironmentProblem: none does.
    """
    first = next(iter(needs))
    if max_ram is None:
        return first
    held = psutil.Process().memory_info().rss
    for way, need in needs.items():
        if held + need <= max_ram:
            return way
    least = min(needs.values())
    raise EnvironmentProblem(
        Code.MEMORY,
        f"{subject}: needs {gib(least)} beyond the {gib(held)} that are in use, {gib(max_ram)} are allowed: "
        f"raise --max-ram to {gib(held + least, up=True)} or more, or use a model with smaller windows",
    )


@contextmanager
def memory_named(subject: str) -> Iterator[None]:
    """An allocation that fails becomes an error that says so."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not any(words in str(error) for words in _OUT_OF_MEMORY):
            raise
        raise EnvironmentProblem(
            Code.MEMORY, f"{subject}: the memory ran out: end what else runs here, or use --max-ram"
        ) from None

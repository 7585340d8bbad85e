"""How much memory a scan takes, told before it is taken, and the ways to take less.

Every way gives the same labels, bit for bit: arrays only lie elsewhere. What cannot lie elsewhere
(preprocessing, one batch of windows in the network, the mask) is the least that segmenting takes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import psutil

from medseg.errors import Code, EnvironmentProblem
from medseg.inference.engine import Engine
from medseg.inference.postprocess import WORKING_BYTES
from medseg.inference.sums import CHUNK_VALUES
from medseg.inference.windows import WindowPlan
from medseg.inference.workspace import Way, gib
from medseg.transforms.grid import canonical_spacing_mm, respaced
from medseg.volume import Geometry, Shape

LIBRARIES = 64 * 2**20
"""What PyTorch and oneDNN take for themselves when a network runs for the first time."""

_FLOAT = 4
_OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "not enough memory")


@dataclass(frozen=True)
class ScanSize:
    """What the memory of a scan depends on: its own grid, the network's, and what is told apart."""

    native: Shape
    network: Shape
    channels: int
    classes: int
    label_bytes: int = 1
    """Of one voxel of the mask."""
    cleaned: bool = False
    """Whether parts are removed from the mask."""

    @property
    def image_bytes(self) -> int:
        return _FLOAT * self.channels * int(np.prod(self.network))


def network_shape(native: Geometry, spacing_mm: tuple[float, float, float]) -> Shape:
    """The shape of ``native`` on the network's axes and ``spacing_mm``, before it is cropped to a body."""
    order = ["RLAPSI".index(code) // 2 for code in native.axis_codes]
    shape = [native.shape[order.index(axis)] for axis in range(3)]
    upright = Geometry((shape[0], shape[1], shape[2]), np.diag([*canonical_spacing_mm(native), 1.0]))
    return respaced(upright, spacing_mm).shape


def preparation_bytes(size: ScanSize) -> int:
    """The most that preprocessing holds beyond the scan as it was read."""
    read = _FLOAT * size.channels * int(np.prod(size.native))
    longest = sorted(size.native)
    shrunk = sorted(size.network)
    between = _FLOAT * size.channels * max(
        int(np.prod(longest)) * shrunk[0] // longest[0], int(np.prod(shrunk))
    )  # fmt: skip
    return max(2 * read, read + between + size.image_bytes, 2 * size.image_bytes)


def prediction_bytes(size: ScanSize, plan: WindowPlan, engine: Engine, way: Way) -> int:
    """The most that is held beyond the preprocessed scan, until the mask is done."""
    axis = int(np.argmax(size.network))
    inner = [max(n, w) for n, w in zip(size.network, plan.size, strict=True)]
    padded = inner != list(size.network)
    across = int(np.prod(inner)) // inner[axis]
    window = int(np.prod(plan.size))
    native = int(np.prod(size.native))
    held = native + _FLOAT * size.channels * int(np.prod(inner)) * padded
    plane = across * size.classes
    finishing = _FLOAT * (min(CHUNK_VALUES, plane * plan.size[axis]) + 3 * plane)
    if engine.device.type == "cpu":
        sums = across * plan.size[axis] * (size.classes + 1)
        touched = window * (size.classes + 1) if way.sums_on_disk else sums
        held += _FLOAT * (touched + 2 * window)
        batch = (plan.batch_size, size.channels, *plan.size)
        logits = _FLOAT * plan.batch_size * size.classes * window
        working = max(engine.working_bytes(batch), logits + logits // size.classes * 2) + logits * plan.mirror
    else:
        working = 0
    if way.image_on_disk:
        held += size.image_bytes * plan.size[axis] // inner[axis]
    last = native * (1 + (size.label_bytes if size.label_bytes > 1 else 0)) + WORKING_BYTES * size.cleaned
    return max(held + max(finishing, working), last) + LIBRARIES


def peak_bytes(size: ScanSize, plan: WindowPlan, engine: Engine, way: Way) -> int:
    """The most that is held beyond the scan as it was read, from preprocessing to the mask."""
    image = 0 if way.image_on_disk else size.image_bytes
    return max(preparation_bytes(size), image + prediction_bytes(size, plan, engine, way))


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

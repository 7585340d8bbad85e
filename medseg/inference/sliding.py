"""Sliding window over a preprocessed scan, as a stream of finished slabs.

Windows go along one axis in a fixed order. As soon as no later window touches a slab, it is normalised and
handed on, so that memory holds one window's depth of class probabilities, whatever the scan's length.
"""

import logging
from collections.abc import Callable, Iterator
from itertools import chain, combinations

import torch
from jaxtyping import Float32
from torch import Tensor

from medseg.errors import Code, EnvironmentProblem
from medseg.inference.engine import Engine
from medseg.inference.sums import Allocate, RingSums, in_memory
from medseg.inference.windows import Size, WindowPlan, window_grid

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called with windows done and windows in all."""


def stream_probabilities(
    engine: Engine,
    image: Float32[Tensor, "C I J K"],
    plan: WindowPlan,
    *,
    stream_axis: int = 2,
    pairs: tuple[tuple[int, int], ...] = (),
    progress: Progress | None = None,
    allocate: Allocate = in_memory,
) -> Iterator[tuple[int, Float32[Tensor, "L i j k"]]]:
    """Yield (first index along ``stream_axis``, class probabilities of the slab), in increasing order.

    They are logits where the plan averages those.

    When the device's memory is short, fewer windows go through the network at once; then the sums lie in the
    computer's own memory.

    Args:
        image: the preprocessed scan; padded where it is smaller than a window.
        pairs: class indices that swap when the first axis (left/right) is mirrored.
        allocate: gives the array of the sums.

    Raises:
        EnvironmentProblem: the device's memory does not hold a single window.
    """
    shape = (image.shape[1], image.shape[2], image.shape[3])
    padded, lead = _pad_to_window(image, plan)
    inner = (padded.shape[1], padded.shape[2], padded.shape[3])
    groups = window_grid(inner, plan, stream_axis)
    total, done = sum(len(windows) for _, windows in groups), 0
    ends = [first for first, _ in groups[1:]] + [inner[stream_axis]]
    sums = RingSums(inner, plan, stream_axis, engine.device, allocate)
    network = _Network(engine, padded, plan, pairs, make_room=sums.to_host)
    for (first, windows), end in zip(groups, ends, strict=True):
        for start, probabilities in network(windows):
            sums.add(start, probabilities)
            del probabilities
            done += 1
            if progress is not None:
                progress(done, total)
        for begin, slab in sums.finish(first, end):
            yield from _without_padding(slab.to(engine.device), begin, lead, shape, stream_axis)


class _Network:
    """Class probabilities of windows in their order, as many at once as the device's memory holds."""

    def __init__(
        self,
        engine: Engine,
        image: Tensor,
        plan: WindowPlan,
        pairs: tuple[tuple[int, int], ...],
        make_room: Callable[[], bool],
    ) -> None:
        self._engine, self._image, self._plan, self._pairs = engine, image, plan, pairs
        self._make_room = make_room
        self._at_once = plan.batch_size

    def __call__(self, starts: list[Size]) -> Iterator[tuple[Size, Tensor]]:
        waiting = starts
        while waiting:
            batch = waiting[: self._at_once]
            found = self._try(batch)
            if found is None:
                self._take_less()
                continue
            yield from zip(batch, found, strict=True)
            del found  # or it would be there still when the next windows go through the network
            waiting = waiting[len(batch) :]

    def _try(self, starts: list[Size]) -> Tensor | None:
        """None when memory ran out; by then the traceback, and what its frames held, is gone."""
        try:
            return predict_windows(self._engine, self._image, starts, self._plan, self._pairs)
        except torch.OutOfMemoryError:
            return None

    def _take_less(self) -> None:
        device = self._engine.device
        if device.type == "cuda":
            torch.cuda.empty_cache()
        if self._at_once > 1:
            self._at_once //= 2
            logger.warning(
                "device %s is short of memory: %d window(s) at once from here on", device, self._at_once
            )
        elif self._make_room():
            logger.warning("device %s is short of memory: probabilities are summed on the CPU", device)
        else:
            size = "x".join(str(n) for n in self._plan.size)
            raise EnvironmentProblem(
                Code.MEMORY,
                f"device {device}: out of memory with one window of {size} voxels at a time: end what else "
                "runs there, give a smaller inference.window_size, or use --device cpu",
            )


@torch.inference_mode()
def predict_windows(
    engine: Engine, image: Tensor, starts: list[Size], plan: WindowPlan, pairs: tuple[tuple[int, int], ...]
) -> Float32[Tensor, "B L I J K"]:
    """Class probabilities of windows, averaged over mirrorings when the plan asks for them."""
    i, j, k = plan.size
    windows = torch.stack([image[:, a : a + i, b : b + j, c : c + k] for a, b, c in starts])
    scored: Callable[[Tensor], Tensor] = _unchanged if plan.average_logits else _softmax
    total = scored(engine(windows))
    if not plan.mirror:
        return total
    axes = [axis + 2 for axis in plan.mirror_axes]
    mirrorings = list(chain.from_iterable(combinations(axes, n + 1) for n in range(len(axes))))
    for flips in mirrorings:
        probabilities = scored(engine(windows.flip(flips))).flip(flips)
        if 2 in flips and pairs:
            probabilities = probabilities[:, _swapped(probabilities.shape[1], pairs)]
        total += probabilities
    return total.div_(1 + len(mirrorings))


def _softmax(logits: Tensor) -> Tensor:
    """In place over the classes: with a hundred of them, each copy of a window is a gigabyte."""
    logits.sub_(logits.amax(1, keepdim=True)).exp_()
    return logits.div_(logits.sum(1, keepdim=True))


def _unchanged(logits: Tensor) -> Tensor:
    return logits


def _swapped(classes: int, pairs: tuple[tuple[int, int], ...]) -> list[int]:
    order = list(range(classes))
    for left, right in pairs:
        order[left], order[right] = right, left
    return order


def _pad_to_window(image: Tensor, plan: WindowPlan) -> tuple[Tensor, Size]:
    missing = [max(0, w - n) for n, w in zip(image.shape[1:], plan.size, strict=True)]
    lead = (missing[0] // 2, missing[1] // 2, missing[2] // 2)
    if not any(missing):
        return image, lead
    pads = [
        pad for m, first in zip(reversed(missing), reversed(lead), strict=True) for pad in (first, m - first)
    ]
    value = 0.0 if plan.pad_with_zero else float(image.min())
    return torch.nn.functional.pad(image, pads, value=value), lead


def _without_padding(
    slab: Tensor, first: int, lead: Size, shape: Size, axis: int
) -> Iterator[tuple[int, Tensor]]:
    for other in range(3):
        if other != axis:
            slab = slab.narrow(other + 1, lead[other], shape[other])
    begin = max(first, lead[axis])
    end = min(first + slab.shape[axis + 1], lead[axis] + shape[axis])
    if end > begin:
        yield begin - lead[axis], slab.narrow(axis + 1, begin - first, end - begin)

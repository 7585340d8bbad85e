"""Sliding window over a preprocessed scan, as a stream of finished planes.

Windows go along one axis in a fixed order. As soon as no later window touches a plane, it is handed on, so
that memory holds one window's depth of class scores, whatever the scan's length.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, combinations

import torch
from jaxtyping import Float, Float32, Shaped
from torch import Tensor

from medseg.errors import Code, EnvironmentProblem
from medseg.inference.engine import Engine, softmax_
from medseg.inference.head import let_wait
from medseg.inference.profile import note_windows, stage
from medseg.inference.sums import Allocate, RingSums, ScorePlane, in_memory, nothing
from medseg.inference.windows import Size, WindowPlan, window_grid

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called with windows done and windows in all."""


def stream_scores(
    engine: Engine,
    image: Float32[Tensor, "C I J K"],
    plan: WindowPlan,
    *,
    stream_axis: int = 2,
    pairs: tuple[tuple[int, int], ...] = (),
    progress: Progress | None = None,
    allocate: Allocate = in_memory,
    release: Callable[[], None] = nothing,
) -> Iterator[ScorePlane]:
    """Yield the planes of class scores across ``stream_axis``, in increasing order.

    Scores are probabilities, or logits where the plan averages those and does not turn them into
    probabilities after; in the place of logits, the features that a head which can wait takes (``let_wait``).

    When the device's memory is short, fewer windows go through the network at once; then the sums lie in the
    computer's own memory.

    Args:
        image: the preprocessed scan; padded where it is smaller than a window.
        pairs: class indices that swap when the first axis (left/right) is mirrored.
        allocate: gives the array of the sums.
        release: is called when much of that array was touched.

    Raises:
        EnvironmentProblem: the device's memory does not hold a single window.
    """
    padded, lead = pad_to_window(image, plan)
    inner = (padded.shape[1], padded.shape[2], padded.shape[3])
    groups = window_grid(inner, plan, stream_axis)
    total, done = sum(len(windows) for _, windows in groups), 0
    ends = [first for first, _ in groups[1:]] + [inner[stream_axis]]
    runs, head = let_wait(engine, plan)
    at_once = head if not plan.average_logits else None
    sums = RingSums(inner, plan, stream_axis, engine.device, allocate, release, at_once)
    network = _Network(runs, padded, plan, pairs, make_room=sums.to_host)
    softmax = not (plan.mirror or plan.average_logits)
    length, first_row, first_column, *across = _in_stream(image.shape[1:], lead, stream_axis)
    for (first, windows), end in zip(groups, ends, strict=True):
        for start, scores in network(windows):
            with stage("summing"):
                sums.add(start, scores, softmax=softmax)
            del scores
            done += 1
            if progress is not None:
                progress(done, total)
        for plane in sums.finish(first, end):
            index = plane.index - lead[stream_axis]
            if 0 <= index < length:
                inside = plane.inner(index, (first_row, first_column), (across[0], across[1]))
                if plan.softmax_after:
                    scores = inside.scores if head is None else head(inside.scores)
                    inside = ScorePlane(index, scores).softmax()
                yield inside


class _Network:
    """What ``predict_windows`` gives for windows in order, as many at once as the device's memory holds."""

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
            with stage("network"):
                found = self._try(batch)
            if found is None:
                self._take_less()
                continue
            note_windows(len(batch))
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
) -> Float[Tensor, "B L I J K"]:
    """What the engine gives for windows; where the plan mirrors, class scores averaged over mirrorings."""
    i, j, k = plan.size
    windows = torch.stack([image[:, a : a + i, b : b + j, c : c + k] for a, b, c in starts])
    logits = engine(windows)
    if not plan.mirror:
        return logits
    scored: Callable[[Tensor], Tensor] = _unchanged if plan.average_logits else softmax_
    total = scored(logits)
    axes = [axis + 2 for axis in plan.mirror_axes]
    mirrorings = list(chain.from_iterable(combinations(axes, n + 1) for n in range(len(axes))))
    for flips in mirrorings:
        scores = scored(engine(windows.flip(flips))).flip(flips)
        if 2 in flips and pairs:
            scores = scores[:, _swapped(scores.shape[1], pairs)]
        total += scores
    return total.div_(1 + len(mirrorings))


def _unchanged(logits: Tensor) -> Tensor:
    return logits


def _swapped(classes: int, pairs: tuple[tuple[int, int], ...]) -> list[int]:
    order = list(range(classes))
    for left, right in pairs:
        order[left], order[right] = right, left
    return order


def pad_to_window(image: Shaped[Tensor, "C I J K"], plan: WindowPlan) -> tuple[Tensor, Size]:
    """``image`` with what surrounds a scan that is smaller than a window, and how much of it comes first."""
    missing = [max(0, w - n) for n, w in zip(image.shape[1:], plan.size, strict=True)]
    lead = (missing[0] // 2, missing[1] // 2, missing[2] // 2)
    if not any(missing):
        return image, lead
    pads = [
        pad for m, first in zip(reversed(missing), reversed(lead), strict=True) for pad in (first, m - first)
    ]
    if plan.padding == "edge":
        return torch.nn.functional.pad(image[None], pads, mode="replicate")[0], lead
    value = 0.0 if plan.padding == "zero" else float(image.min())
    return torch.nn.functional.pad(image, pads, value=value), lead


def _in_stream(shape: Sequence[int], lead: Size, axis: int) -> tuple[int, int, int, int, int]:
    """Planes along the stream, the padding before a plane's rows and columns, and how many it has of each."""
    rows, columns = (other for other in range(3) if other != axis)
    return shape[axis], lead[rows], lead[columns], shape[rows], shape[columns]

"""Sliding window over a preprocessed scan, as a stream of finished slabs.

Windows go along one axis in a fixed order. As soon as no later window touches a slab, it is normalised and
handed on, so that memory holds one window's depth of class probabilities, whatever the scan's length.
"""

from collections.abc import Callable, Iterator
from itertools import chain, combinations

import torch
from jaxtyping import Float32
from torch import Tensor

from medseg.inference.engine import Engine
from medseg.inference.windows import Size, WindowPlan, blend_weights, window_grid

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
) -> Iterator[tuple[int, Float32[Tensor, "L i j k"]]]:
    """Yield (first index along ``stream_axis``, class probabilities of the slab), in increasing order.

    Args:
        image: the preprocessed scan; padded with its minimum where it is smaller than a window.
        pairs: class indices that swap when the first axis (left/right) is mirrored.
    """
    shape = (image.shape[1], image.shape[2], image.shape[3])
    padded, lead = _pad_to_window(image, plan.size)
    inner = (padded.shape[1], padded.shape[2], padded.shape[3])
    weights = blend_weights(plan.size, plan.blend).to(engine.device)
    groups = window_grid(inner, plan, stream_axis)
    total, done = sum(len(windows) for _, windows in groups), 0
    depth = plan.size[stream_axis]
    ends = [first for first, _ in groups[1:]] + [inner[stream_axis]]
    sums: Tensor | None = None
    norm = torch.zeros(_with(inner, stream_axis, depth), device=engine.device)
    for (first, windows), end in zip(groups, ends, strict=True):
        for batch in _batches(windows, plan.batch_size):
            probabilities = _predict(engine, padded, batch, plan, pairs)
            if sums is None:
                sums = probabilities.new_zeros((probabilities.shape[1], *norm.shape))
            for start, values in zip(batch, probabilities, strict=True):
                place = tuple(
                    slice(0, depth)
                    if axis == stream_axis
                    else slice(start[axis], start[axis] + plan.size[axis])
                    for axis in range(3)
                )
                sums[(slice(None), *place)] += values * weights
                norm[place] += weights
            done += len(batch)
            if progress is not None:
                progress(done, total)
        if sums is None:  # pragma: no cover - a grid always has windows
            continue
        ready = end - first
        slab = sums.narrow(stream_axis + 1, 0, ready) / norm.narrow(stream_axis, 0, ready)
        yield from _without_padding(slab, first, lead, shape, stream_axis)
        sums, norm = _advance(sums, ready, stream_axis + 1), _advance(norm, ready, stream_axis)


def _predict(
    engine: Engine, image: Tensor, starts: list[Size], plan: WindowPlan, pairs: tuple[tuple[int, int], ...]
) -> Tensor:
    """Class probabilities of windows, averaged over mirrorings when the plan asks for them."""
    i, j, k = plan.size
    windows = torch.stack([image[:, a : a + i, b : b + j, c : c + k] for a, b, c in starts])
    axes = (2, 3, 4) if plan.mirror else ()
    mirrorings = list(chain.from_iterable(combinations(axes, n) for n in range(len(axes) + 1)))
    total: Tensor | None = None
    for flips in mirrorings:
        probabilities = torch.softmax(engine(windows.flip(flips) if flips else windows), dim=1)
        if flips:
            probabilities = probabilities.flip(flips)
        if 2 in flips and pairs:
            probabilities = probabilities[:, _swapped(probabilities.shape[1], pairs)]
        total = probabilities if total is None else total + probabilities
    if total is None:  # pragma: no cover - there is always the unmirrored one
        raise ValueError("no mirrorings")
    return total / len(mirrorings)


def _swapped(classes: int, pairs: tuple[tuple[int, int], ...]) -> list[int]:
    order = list(range(classes))
    for left, right in pairs:
        order[left], order[right] = right, left
    return order


def _pad_to_window(image: Tensor, size: Size) -> tuple[Tensor, Size]:
    missing = [max(0, w - n) for n, w in zip(image.shape[1:], size, strict=True)]
    lead = (missing[0] // 2, missing[1] // 2, missing[2] // 2)
    if not any(missing):
        return image, lead
    pads = [
        pad for m, first in zip(reversed(missing), reversed(lead), strict=True) for pad in (first, m - first)
    ]
    return torch.nn.functional.pad(image, pads, value=float(image.min())), lead


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


def _advance(buffer: Tensor, by: int, dim: int) -> Tensor:
    """Drop the first ``by`` planes and open as many empty ones at the end."""
    length = buffer.shape[dim]
    if by >= length:
        return torch.zeros_like(buffer)
    kept = buffer.narrow(dim, by, length - by)
    empty = torch.zeros_like(buffer.narrow(dim, 0, by))
    return torch.cat([kept, empty], dim)


def _with(shape: Size, axis: int, length: int) -> Size:
    changed = [length if index == axis else n for index, n in enumerate(shape)]
    return changed[0], changed[1], changed[2]


def _batches(windows: list[Size], size: int) -> Iterator[list[Size]]:
    for start in range(0, len(windows), size):
        yield windows[start : start + size]

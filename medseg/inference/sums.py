"""Class scores summed over windows: one window's depth of the scan, in a ring of planes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Float32
from torch import Tensor

from medseg.inference.head import Head
from medseg.inference.windows import Size, WindowPlan, blend_weights

TOUCHED_VALUES = 1 << 22
"""Sums are let go of (where they lie in a file) each time about so many were touched: 16 MiB."""

CHUNK_VALUES = 1 << 20
"""Planes of a window are weighed and added together up to so many values: 4 MiB, which a processor's cache
holds, and enough that threads do not wait for each other more than they work."""


@runtime_checkable
class Allocate(Protocol):
    """Gives an array of zeros, float32."""

    def __call__(self, shape: tuple[int, ...], device: torch.device) -> Tensor: ...


def in_memory(shape: tuple[int, ...], device: torch.device) -> Tensor:
    return torch.zeros(shape, device=device)


def nothing() -> None: ...


@dataclass(frozen=True, eq=False)
class ScorePlane:
    """The finished class scores, or feature maps, of one plane across the stream."""

    index: int
    scores: Float32[Tensor, "i j L"]

    @torch.inference_mode()
    def softmax(self) -> "ScorePlane":
        """Logits become their probabilities, in place."""
        self.scores.sub_(self.scores.amax(-1, keepdim=True)).exp_()
        self.scores.div_(self.scores.sum(-1, keepdim=True))
        return self

    def inner(self, index: int, corner: tuple[int, int], shape: tuple[int, int]) -> "ScorePlane":
        """The part of ``shape`` from ``corner`` on, counted as plane ``index``."""
        (i, j), (rows, columns) = corner, shape
        if self.scores.shape[:2] == shape:
            return ScorePlane(index, self.scores)
        return ScorePlane(index, self.scores[i : i + rows, j : j + columns].contiguous())


class RingSums:
    """Sums and weights of the planes that windows in hand reach; plane ``p`` lies at ``p % depth``.

    Stored as (plane, class, across, across): planes each in one piece, and nothing has to move when the
    windows go on. Windows are added in their fixed order, so that every voxel's sum is the same bits wherever
    the array lies. With a ``head``, windows are feature maps, and what is summed are its classes' scores.
    """

    def __init__(
        self,
        shape: Size,
        plan: WindowPlan,
        axis: int,
        device: torch.device,
        allocate: Allocate = in_memory,
        release: Callable[[], None] = nothing,
        head: Head | None = None,
    ) -> None:
        self.device = device
        self._head = head
        self._axis, self._size, self._depth = axis, plan.size, plan.size[axis]
        self._across = tuple(n for other, n in enumerate(shape) if other != axis)
        self._weights = blend_weights(plan.size, plan.blend).to(device)
        self._norm = torch.zeros((self._depth, *self._across), device=device)
        self._sums: Tensor | None = None
        self._allocate = allocate
        self._release = release

    def to_host(self) -> bool:
        """Go on in the computer's own memory; False when the sums lie there already."""
        if self.device.type == "cpu":
            return False
        self.device = torch.device("cpu")
        self._weights, self._norm = self._weights.to(self.device), self._norm.to(self.device)
        if self._sums is not None:
            self._sums = self._sums.to(self.device)
        return True

    @torch.inference_mode()
    def add(self, start: Size, values: Float[Tensor, "N I J K"], *, softmax: bool = False) -> None:
        """Add a window's scores, or the ``softmax`` of its logits, part by part: no copy of it is made."""
        summed = len(values) if self._head is None else self._head.classes
        if self._sums is None:
            with torch.inference_mode(mode=False):  # it outlives this call, and is changed outside it
                self._sums = self._allocate((self._depth, summed, *self._across), self.device)
        touched = 0
        for corner, planes, weights in self._parts(start, values):
            scores = torch.softmax(planes, 1) if softmax else planes
            self._add(corner, scores, weights)
            touched += scores.numel()
            if touched >= TOUCHED_VALUES:
                self._release()
                touched = 0

    def _parts(self, start: Size, values: Float[Tensor, "N I J K"]) -> Iterator[tuple[Size, Tensor, Tensor]]:
        """Corner, scores (n, L, i, j) and weights (n, i, j) of parts of a window."""
        axis = self._axis
        if self._head is None:
            rows = max(1, CHUNK_VALUES // values[:, 0].numel())
            for at in range(0, self._size[0], rows):
                part = values[:, at : at + rows].to(self.device, torch.float32)
                weights = self._weights[at : at + rows].movedim(axis, 0)
                yield (start[0] + at, start[1], start[2]), _plane_by_plane(part, axis), weights
            return
        planes, weights = values.movedim(axis + 1, 0), self._weights.movedim(axis, 0)
        together = max(1, CHUNK_VALUES // (self._head.classes * weights[0].numel()))
        for at in range(0, self._depth, together):
            features = planes[at : at + together].to(self.device, torch.float32).contiguous()
            corner = (
                start[0] + at * (axis == 0),
                start[1] + at * (axis == 1),
                start[2] + at * (axis == 2),
            )
            yield corner, self._head.of_planes(features), weights[at : at + together]

    def _add(
        self, start: Size, scores: Float32[Tensor, "n L i j"], weights: Float32[Tensor, "n i j"]
    ) -> None:
        """Planes from ``start[axis]`` on; they may go round the end of the ring."""
        if self._sums is None:  # pragma: no cover - ``add`` made it
            return
        corner = [start[other] for other in range(3) if other != self._axis]
        first, second = (slice(c, c + n) for c, n in zip(corner, weights.shape[1:], strict=True))
        turn = start[self._axis] % self._depth
        until = self._depth - turn
        for slots, part in (
            (slice(turn, min(turn + len(scores), self._depth)), slice(0, until)),
            (slice(0, max(0, len(scores) - until)), slice(until, None)),
        ):
            self._sums[slots, :, first, second].addcmul_(scores[part], weights[part, None])
            self._norm[slots, first, second] += weights[part]

    @torch.inference_mode()
    def finish(self, first: int, end: int) -> Iterator[ScorePlane]:
        """The planes from ``first`` to ``end``, one by one, averaged; their places are free again."""
        if self._sums is None:  # pragma: no cover - a grid always has windows
            return
        for plane in range(first, end):
            slot = plane % self._depth
            sums = self._sums[slot].div_(self._norm[slot])
            # the classes of a voxel together: a transposed matrix, which torch copies quickly
            copy = sums.flatten(1).T.clone(memory_format=torch.contiguous_format)
            sums.zero_()
            self._norm[slot] = 0
            self._release()
            yield ScorePlane(plane, copy.view(*self._across, len(sums)))
            del copy


def _plane_by_plane(part: Float32[Tensor, "L i j k"], axis: int) -> Float32[Tensor, "n L _ _"]:
    """Planes across ``axis`` first, each in one piece where that makes adding quicker."""
    if part.stride(0) == 1:
        # as engines give them, the classes of a voxel together: turned in two steps, for one is slower
        return part.permute(1, 2, 3, 0).movedim(axis, 0).contiguous().movedim(3, 1).contiguous()
    if axis < 2:
        return part.movedim(axis + 1, 0)
    part = part.contiguous()
    turned = part.flatten(0, 2).T.contiguous()  # a transposed matrix, which torch copies quickly
    return turned.view(part.shape[3], *part.shape[:3])

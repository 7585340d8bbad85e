"""Class probabilities summed over windows: one window's depth of the scan, in a ring of planes."""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float32
from torch import Tensor

from medseg.inference.windows import Size, WindowPlan, blend_weights

CHUNK_VALUES = 1 << 22
"""Finished planes are handed on together up to this many probabilities: 16 MiB."""


@runtime_checkable
class Allocate(Protocol):
    """Gives an array of zeros, float32."""

    def __call__(self, shape: tuple[int, ...], device: torch.device) -> Tensor: ...


def in_memory(shape: tuple[int, ...], device: torch.device) -> Tensor:
    return torch.zeros(shape, device=device)


class RingSums:
    """Sums and weights of the planes that windows in hand reach; plane ``p`` lies at ``p % depth``.

    Stored as (plane, across, across, class): the layout in which networks give their classes, a plane in
    one piece, and nothing has to move when the windows go on. Windows are added in their fixed order, so that
    every voxel's sum is the same bits wherever the array lies.
    """

    def __init__(
        self, shape: Size, plan: WindowPlan, axis: int, device: torch.device, allocate: Allocate = in_memory
    ) -> None:
        self.device = device
        self._axis, self._size, self._depth = axis, plan.size, plan.size[axis]
        self._across = tuple(n for other, n in enumerate(shape) if other != axis)
        weights = blend_weights(plan.size, plan.blend)
        self._weights = weights.to(device)
        self._planes = weights.movedim(axis, 0).to(device)
        self._norm = torch.zeros((self._depth, *self._across), device=device)
        self._sums: Tensor | None = None
        self._allocate = allocate

    def to_host(self) -> bool:
        """Go on in the computer's own memory; False when the sums lie there already."""
        if self.device.type == "cpu":
            return False
        self.device = torch.device("cpu")
        self._weights, self._planes, self._norm = (
            array.to(self.device) for array in (self._weights, self._planes, self._norm)
        )
        if self._sums is not None:
            self._sums = self._sums.to(self.device)
        return True

    @torch.inference_mode()
    def add(self, start: Size, values: Float32[Tensor, "L I J K"]) -> None:
        """Add a window; ``values`` is used up."""
        if self._sums is None:
            with torch.inference_mode(mode=False):  # it outlives this call, and is changed outside it
                self._sums = self._allocate((self._depth, *self._across, len(values)), self.device)
        weighted = values.to(self.device).mul_(self._weights).movedim(self._axis + 1, 0).movedim(1, -1)
        first, second = (
            slice(start[axis], start[axis] + self._size[axis]) for axis in range(3) if axis != self._axis
        )
        turn = start[self._axis] % self._depth
        for slots, planes in (
            (slice(turn, self._depth), slice(0, self._depth - turn)),
            (slice(0, turn), slice(self._depth - turn, self._depth)),
        ):
            self._sums[slots, first, second] += weighted[planes]
            self._norm[slots, first, second] += self._planes[planes]

    def finish(self, first: int, end: int) -> Iterator[tuple[int, Float32[Tensor, "L i j k"]]]:
        """The planes from ``first`` to ``end``, normalised, a few at a time; their slots are free again."""
        if self._sums is None:  # pragma: no cover - a grid always has windows
            return
        most = max(1, CHUNK_VALUES // self._sums[0].numel())
        while first < end:
            turn = first % self._depth
            count = min(most, end - first, self._depth - turn)
            slots = slice(turn, turn + count)
            chunk = self._sums[slots] / self._norm[slots, ..., None]
            self._sums[slots] = 0
            self._norm[slots] = 0
            yield first, chunk.movedim(-1, 0).movedim(1, self._axis + 1)
            first += count

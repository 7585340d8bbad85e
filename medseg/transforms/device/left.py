"""Patches of several sizes put together, and what is left to do to them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, Shaped

from medseg.transforms.device.draws import Drawn


@dataclass(frozen=True)
class Step:
    """What one transform does to some patches of a batch."""

    place: int
    """In the configured list."""
    rows: Int64[np.ndarray, " b"]
    """Which patches of the batch."""
    drawn: Drawn
    """For each of them: stacked along a new first axis."""


@dataclass(frozen=True)
class Left:
    """What the device does to a batch; arrays, since it goes through a pipe."""

    shapes: Int64[np.ndarray, "B 3"]
    """Voxels of each patch before padding."""
    steps: tuple[Step, ...]
    """In the order of the list."""

    @classmethod
    def of(cls, shapes: Sequence[Sequence[int]], left: Sequence[dict[int, Drawn]]) -> "Left":
        """From what is left of each patch."""
        steps = []
        for place in sorted({place for one in left for place in one}):
            rows = [row for row, one in enumerate(left) if place in one]
            each = [left[row][place] for row in rows]
            drawn = {name: np.stack([one[name] for one in each]) for name in each[0]}
            steps.append(Step(place, np.array(rows, dtype=np.int64), drawn))
        return cls(np.array(shapes, dtype=np.int64), tuple(steps))


def put_together(patches: Sequence[Shaped[np.ndarray, "..."]]) -> Shaped[np.ndarray, "..."]:
    """A batch of patches whose last three axes may differ, each in the first corner of the largest.

    A patch ends where it ended: nothing is interpolated from what lies behind. Only its outermost voxels are
    there once more, for places on its edge that rounding moves a hair further.
    """
    shapes = np.array([patch.shape for patch in patches])
    if (shapes == shapes[0]).all():
        return np.stack(patches)
    batch = np.zeros((len(patches), *shapes.max(axis=0)), dtype=patches[0].dtype)
    for row, patch in zip(batch, patches, strict=True):
        i, j, k = (min(n + 1, most) for n, most in zip(patch.shape[-3:], row.shape[-3:], strict=True))
        lead = [(0, 0)] * (patch.ndim - 3)
        more = [(0, n - m) for n, m in zip((i, j, k), patch.shape[-3:], strict=True)]
        row[..., :i, :j, :k] = np.pad(patch, [*lead, *more], mode="edge")
    return batch

"""Planes of scores, as the sliding window streams them, from and to whole arrays."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from medseg.inference.sums import ScorePlane


def whole(planes: Iterable[ScorePlane], axis: int = 2) -> Tensor:
    """Scores (L, I, J, K) of all planes across ``axis``; their indices must be 0, 1, 2, ..."""
    found = []
    for index, plane in enumerate(planes):
        assert plane.index == index
        found.append(plane.scores.permute(2, 0, 1))
    return torch.stack(found, dim=axis + 1)


def planes_of(scores: Tensor, axis: int = 2) -> Iterator[ScorePlane]:
    """The planes of scores (L, I, J, K)."""
    for index, plane in enumerate(scores.movedim(axis + 1, 0)):
        yield ScorePlane(index, plane.permute(1, 2, 0).contiguous())

"""From the network's grid back to the scan's own, plane by plane.

The network's axes are the scan's, permuted, flipped and stretched, so the way back is linear interpolation
along each axis. Where the corners around a voxel have the same best class, that class is the best between
them, too (their weights are not negative); only the other voxels need the scores of all classes. So the cost
hardly grows with the classes, and the labels are those of interpolating everything.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int16, Int64, UInt8
from torch import Tensor

from medseg.errors import Code, GridMismatchError
from medseg.inference.head import Head
from medseg.inference.sums import ScorePlane
from medseg.transforms import axis_maps
from medseg.volume import Geometry

_UNSURE = -1
RESTORED_TOGETHER = 1 << 15
"""Voxels whose scores are interpolated together."""


Decide = Callable[[Float32[Tensor, "*shape L"]], Int16[Tensor, "*shape"]]
"""Classes of voxels by their scores; what all corners of a voxel say must hold between them, too."""


def highest(scores: Float32[Tensor, "*shape L"]) -> Int16[Tensor, "*shape"]:
    return scores.max(-1).indices.to(torch.int16)


def last_above_background(scores: Float32[Tensor, "*shape L"]) -> Int16[Tensor, "*shape"]:
    above = scores[..., 1:] > scores[..., :1]
    order = torch.arange(1, scores.shape[-1], dtype=torch.int16, device=scores.device)
    return (above * order).amax(-1)


class LabelRestorer:
    """Takes planes of class scores in increasing order along ``stream_axis``; gives the label array.

    Voxels of the scan outside the network's grid (cropped away) are background. ``nested``: a voxel gets the
    last class that scores above the background, instead of the one that scores most. ``nearest_axis``: the
    network's axis along which the nearest plane is taken instead of interpolating. ``head``: planes are
    feature maps, which are interpolated in the place of the logits that it gives.
    """

    def __init__(
        self,
        native: Geometry,
        network: Geometry,
        stream_axis: int = 2,
        *,
        nested: bool = False,
        nearest_axis: int | None = None,
        head: Head | None = None,
    ) -> None:
        axes = axis_maps(native, network)
        native_of = {axes[native_axis][0]: native_axis for native_axis in range(3)}
        self._stream, self._rows, self._columns = (
            _Samples.along(
                native.shape[native_of[axis]],
                network.shape[axis],
                *axes[native_of[axis]][1:],
                nearest=axis == nearest_axis,
            )
            for axis in (stream_axis, *(other for other in range(3) if other != stream_axis))
        )
        self._planes = network.shape[stream_axis]
        decide = last_above_background if nested else highest
        self._decide: Decide = decide if head is None else lambda features: decide(head(features))
        # i runs fastest, as in files: the mask is written without being turned
        self._labels = np.zeros(native.shape, dtype=np.uint8, order="F")
        turned = (stream_axis, *(other for other in range(3) if other != stream_axis))
        self._turned = self._labels.transpose([native_of[axis] for axis in turned])
        self._waiting = torch.argsort(self._stream.high, descending=True).tolist()
        self._below: _Labelled | None = None

    @torch.inference_mode()
    def add(self, plane: ScorePlane) -> None:
        """Label the scan's slices that this plane completes."""
        expected = 0 if self._below is None else self._below.plane.index + 1
        if plane.index != expected:
            raise GridMismatchError(Code.CALL, f"plane {plane.index} is given, {expected} was expected")
        above = _Labelled(plane, self._decide(plane.scores))
        between: list[int] = []
        on: list[int] = []
        while self._waiting and int(self._stream.high[self._waiting[-1]]) <= plane.index:
            index = self._waiting.pop()
            (on if int(self._stream.low[index]) == plane.index else between).append(index)
        for below, indices in ((self._below or above, between), (above, on)):
            if indices:
                found = _Between.of(below, above, self._rows, self._columns, self._decide)
                shares = self._stream.share[indices].tolist()
                for index, labels in zip(indices, found.labels(shares), strict=True):
                    self._put(self._stream.first + index, labels)
        self._below = above

    def finish(self) -> UInt8[np.ndarray, "I J K"]:
        given = 0 if self._below is None else self._below.plane.index + 1
        if given != self._planes:
            raise GridMismatchError(Code.CALL, f"{given} of {self._planes} planes were given")
        return self._labels

    def _put(self, index: int, labels: UInt8[Tensor, "m n"]) -> None:
        rows, columns = (slice(axis.first, axis.last) for axis in (self._rows, self._columns))
        self._turned[index, rows, columns] = labels.cpu().numpy()


@dataclass(frozen=True, eq=False)
class _Samples:
    """Where the scan's positions ``first`` to ``last`` of one axis lie between network samples."""

    first: int
    last: int
    low: Int64[Tensor, " n"]
    high: Int64[Tensor, " n"]
    share: Float32[Tensor, " n"]
    """Weight of ``high``."""

    @classmethod
    def along(
        cls, native: int, network: int, scale: float, offset: float, *, nearest: bool = False
    ) -> "_Samples":
        position = scale * np.arange(native) + offset
        inside = np.flatnonzero((position > -0.5 - 1e-6) & (position < network - 0.5 + 1e-6))
        first, last = (int(inside[0]), int(inside[-1]) + 1) if len(inside) else (0, 0)
        clipped = position[first:last].clip(0, network - 1)
        if nearest:
            clipped = np.floor(clipped + 0.5).clip(0, network - 1)
        low = np.floor(clipped + 1e-6).astype(np.int64)
        share = (clipped - low).clip(0)
        share[share < 1e-6] = 0
        high = low + (share > 0)
        return cls(
            first, last, torch.from_numpy(low), torch.from_numpy(high), torch.from_numpy(share).float()
        )

    def to(self, device: torch.device) -> "_Samples":
        low, high, share = (array.to(device) for array in (self.low, self.high, self.share))
        return _Samples(self.first, self.last, low, high, share)


@dataclass(frozen=True, eq=False)
class _Labelled:
    """A plane of scores with the best class of each of its voxels."""

    plane: ScorePlane
    best: Int16[Tensor, "i j"]


@dataclass(frozen=True, eq=False)
class _Between:
    """The scan's slices between two planes: labels where all corners agree, the places where they do not."""

    below: _Labelled
    above: _Labelled
    agreed: Int16[Tensor, "m n"]
    places: Int64[Tensor, "u 2"]
    rows: _Samples
    columns: _Samples
    decide: "Decide"

    @classmethod
    def of(
        cls, below: _Labelled, above: _Labelled, rows: _Samples, columns: _Samples, decide: "Decide"
    ) -> "_Between":
        rows, columns = rows.to(above.best.device), columns.to(above.best.device)
        agreed = _agreed(below.best.to(above.best.device), above.best)
        agreed = _agreed(agreed.index_select(1, columns.low), agreed.index_select(1, columns.high))
        agreed = _agreed(agreed.index_select(0, rows.low), agreed.index_select(0, rows.high))
        return cls(below, above, agreed, (agreed == _UNSURE).nonzero(), rows, columns, decide)

    def labels(self, shares: Sequence[float]) -> list[UInt8[Tensor, "m n"]]:
        """Labels of the slices at ``shares`` of the way from ``below`` to ``above``."""
        slices = [self.agreed.to(torch.uint8) for _ in shares]
        for some in torch.split(self.places, RESTORED_TOGETHER):
            r, c = some.unbind(1)
            for labels, best in zip(slices, self._winners(r, c, shares), strict=True):
                labels[r, c] = best
        return slices

    def _winners(
        self, r: Int64[Tensor, " u"], c: Int64[Tensor, " u"], shares: Sequence[float]
    ) -> Iterator[UInt8[Tensor, " u"]]:
        """The best class at rows ``r`` and columns ``c`` of each slice, all scores interpolated: within both
        planes once, and between them for each slice."""
        down, across = self.rows.share[r], self.columns.share[c]
        width = self.above.best.shape[1]
        rows = [self.rows.low[r] * width, self.rows.high[r] * width]
        columns = [self.columns.low[c], self.columns.high[c]]
        corners = torch.stack([i + j for i in rows for j in columns], 1)
        weights = torch.stack([i * j for i in (1 - down, down) for j in (1 - across, across)], 1)
        above = _weighed(self.above.plane, corners, weights)
        below = above if self.below is self.above else _weighed(self.below.plane, corners, weights)
        for share in shares:
            scores = above if below is above else torch.lerp(below, above, share)
            yield self.decide(scores).to(torch.uint8)


def _weighed(
    plane: ScorePlane, corners: Int64[Tensor, "u 4"], weights: Float32[Tensor, "u 4"]
) -> Float32[Tensor, "u L"]:
    """Sums of the scores at ``corners`` (rows times width, and columns), each times its weight."""
    table = plane.scores.flatten(0, 1).to(corners.device)
    return torch.nn.functional.embedding_bag(corners, table, per_sample_weights=weights, mode="sum")


def _agreed(a: Int16[Tensor, "*shape"], b: Int16[Tensor, "*shape"]) -> Int16[Tensor, "*shape"]:
    return torch.where(a == b, a, _UNSURE)

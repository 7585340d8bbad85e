"""From the network's grid back to the scan's own, slab by slab.

The network's axes are the scan's, permuted, flipped and stretched, so interpolating the class probabilities
is one small matrix an axis. Only the class that wins is kept: memory hardly grows with the classes.
"""

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

from medseg.errors import Code, GridMismatchError
from medseg.transforms import axis_maps
from medseg.volume import Geometry


class LabelRestorer:
    """Takes slabs of class probabilities in increasing order along ``stream_axis``; gives the label array.

    Voxels of the scan outside the network's grid (cropped away) are background.
    """

    def __init__(self, native: Geometry, network: Geometry, stream_axis: int = 2) -> None:
        self._axes = axis_maps(native, network)
        self._network = network
        self._stream_axis = stream_axis
        self._native_of = {self._axes[native_axis][0]: native_axis for native_axis in range(3)}
        self._matrices = {
            axis: _interpolation(native.shape[self._native_of[axis]], network.shape[axis], *self._map(axis))
            for axis in range(3)
            if axis != stream_axis
        }
        self._labels = np.zeros(native.shape, dtype=np.uint8)
        scale, offset = self._map(stream_axis)
        count = native.shape[self._native_of[stream_axis]]
        positions = scale * np.arange(count) + offset
        length = network.shape[stream_axis]
        inside = (positions > -0.5 - 1e-6) & (positions < length - 0.5 + 1e-6)
        self._positions = np.where(inside, positions.clip(0, length - 1), np.nan)
        self._seen = 0
        self._last: Tensor | None = None

    def add(self, start: int, slab: Float32[Tensor, "L i j k"]) -> None:
        """Label the native slices that this slab completes."""
        if start != self._seen:
            raise GridMismatchError(Code.CALL, f"slab starts at {start}, {self._seen} was expected")
        dim = self._stream_axis + 1
        self._seen = start + slab.shape[dim]
        ends_here = self._seen == self._network.shape[self._stream_axis]
        highest = self._seen - 1 if ends_here else np.nextafter(self._seen - 1, 0)
        for index in np.flatnonzero(self._positions <= highest):
            self._label_slice(int(index), self._plane(float(self._positions[index]), slab, start))
        self._positions[self._positions <= highest] = np.nan
        self._last = slab.select(dim, slab.shape[dim] - 1).clone()

    def finish(self) -> UInt8[np.ndarray, "I J K"]:
        if self._seen != self._network.shape[self._stream_axis]:
            raise GridMismatchError(
                Code.CALL, f"{self._seen} of {self._network.shape[self._stream_axis]} planes were given"
            )
        return self._labels

    def _map(self, network_axis: int) -> tuple[float, float]:
        _, scale, offset = self._axes[self._native_of[network_axis]]
        return scale, offset

    def _plane(self, position: float, slab: Tensor, start: int) -> Tensor:
        """Probabilities (L, m, n) at ``position``, between two planes of the slab or of it and the last one.

        The share is taken from the whole scan's position, so that it is the same however slabs are cut.
        """
        low = int(position)
        share = position - low
        dim = self._stream_axis + 1
        plane = self._last if low < start and self._last is not None else slab.select(dim, low - start)
        if share > 1e-6:
            plane = torch.lerp(plane, slab.select(dim, low + 1 - start), share)
        return plane.contiguous()

    def _label_slice(self, native_index: int, plane: Tensor) -> None:
        first, second = (axis for axis in range(3) if axis != self._stream_axis)
        left = self._matrices[first].to(plane.device)
        right = self._matrices[second].to(plane.device)
        labels = _winner(plane, left, right).cpu().numpy()
        if self._native_of[first] > self._native_of[second]:
            labels = labels.T
        place: list[int | slice] = [slice(None)] * 3
        place[self._native_of[self._stream_axis]] = native_index
        self._labels[tuple(place)] = labels


def _winner(plane: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """argmax over classes of ``left @ plane[class] @ right.T``, one class in memory at a time.

    Outside the network's grid the matrices are zero, every class is 0, and background (the first) wins.
    """
    best = left @ plane[0] @ right.T
    label = torch.zeros_like(best, dtype=torch.uint8)
    for index in range(1, plane.shape[0]):
        score = left @ plane[index] @ right.T
        wins = score > best
        label[wins] = index
        best = torch.maximum(best, score)
    return label


def _interpolation(native: int, network: int, scale: float, offset: float) -> Float32[Tensor, "n m"]:
    """Linear interpolation from ``network`` samples to ``native`` positions; rows outside are zero."""
    position = scale * np.arange(native) + offset
    inside = (position > -0.5 - 1e-6) & (position < network - 0.5 + 1e-6)
    position = position.clip(0, network - 1)
    low = np.minimum(position.astype(int), max(network - 2, 0))
    share = position - low
    matrix = np.zeros((native, network), dtype=np.float32)
    rows = np.arange(native)
    matrix[rows, low] = 1 - share
    matrix[rows, np.minimum(low + 1, network - 1)] += share
    matrix[~inside] = 0
    return torch.from_numpy(matrix)

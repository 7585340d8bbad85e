"""Patches out of a prepared case, which may lie on disk."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from jaxtyping import Float32, Int32, UInt8
from scipy import ndimage
from torch import Tensor

from medseg.errors import Code, UsageError

Size = tuple[int, int, int]
Box = tuple[slice, slice, slice]


@dataclass(frozen=True, eq=False)
class ForegroundIndex:
    """Where structures are: for each class present, positions of some of its voxels."""

    classes: tuple[int, ...]
    voxels: tuple[Int32[np.ndarray, "_ 3"], ...]

    @classmethod
    def build(cls, label: UInt8[np.ndarray, "I J K"], voxels_a_class: int = 2000) -> "ForegroundIndex":
        """At most ``voxels_a_class`` positions of each structure; the same for the same label."""
        label = np.asarray(label)
        classes, voxels = [], []
        boxes = cast(list[Box | None], ndimage.find_objects(label))
        for index, box in enumerate(boxes, start=1):
            if box is None:
                continue
            inside = np.flatnonzero(label[box] == index)
            if inside.size > voxels_a_class:
                rng = np.random.default_rng(index)
                inside = np.sort(rng.choice(inside, voxels_a_class, replace=False, shuffle=False))
            shape = [side.stop - side.start for side in box]
            found = np.stack(np.unravel_index(inside, shape), axis=1) + [side.start for side in box]
            classes.append(index)
            voxels.append(found.astype(np.int32))
        return cls(tuple(classes), tuple(voxels))

    def to_array(self) -> Int32[np.ndarray, "_ 4"]:
        """A row a voxel: its class and its position."""
        rows = [
            np.insert(found, 0, index, axis=1) for index, found in zip(self.classes, self.voxels, strict=True)
        ]
        return np.concatenate([np.empty((0, 4), np.int32), *rows], dtype=np.int32)

    @classmethod
    def from_array(cls, rows: Int32[np.ndarray, "_ 4"]) -> "ForegroundIndex":
        """The inverse of :meth:`to_array`."""
        classes, starts = np.unique(rows[:, 0], return_index=True)
        voxels = np.split(np.ascontiguousarray(rows[:, 1:]), starts[1:]) if len(classes) else []
        return cls(tuple(int(index) for index in classes), tuple(voxels))


def sample_patch(
    image: Float32[np.ndarray, "C I J K"],
    label: UInt8[np.ndarray, "I J K"],
    size: Size,
    *,
    foreground: float,
    index: ForegroundIndex,
    rng: np.random.Generator,
    margin: Size = (0, 0, 0),
    weights: Float32[np.ndarray, "L"] | None = None,
) -> tuple[Float32[Tensor, "C i j k"], UInt8[Tensor, "i j k"]]:
    """A patch of ``size`` voxels, of which ``margin`` on each side is context for augmentation.

    With probability ``foreground`` a voxel of a structure lies in the middle half of what is inside the
    margin; else the patch lies anywhere. Each structure of the case is as likely, or as its class's entry of
    ``weights`` has it. What is inside the margin stays in the volume where that is large enough, and is
    centred on it where not. Beyond the volume the image is the lowest value in the patch, channel by channel,
    and the label is background. ``image`` and ``label`` may be memory maps: only the bytes of the patch are
    read.
    """
    inner = [n - 2 * m for n, m in zip(size, margin, strict=True)]
    if min(inner) < 1:
        raise UsageError(
            Code.CALL, f"patch of {size} voxels with a margin of {margin}: nothing is left inside"
        )
    centre = None
    if index.classes and rng.random() < foreground:
        voxels = index.voxels[_turn(index.classes, weights, rng)]
        centre = voxels[int(rng.integers(len(voxels)))]
    start = [
        _inner_start(n, total, None if centre is None else int(centre[axis]), rng) - margin[axis]
        for axis, (n, total) in enumerate(zip(inner, label.shape, strict=True))
    ]
    return _cut(image, start, size), _cut_label(label, start, size)


def _turn(
    classes: tuple[int, ...], weights: Float32[np.ndarray, "L"] | None, rng: np.random.Generator
) -> int:
    """Which of ``classes`` it is this time."""
    if weights is None:
        return int(rng.integers(len(classes)))
    share = weights[list(classes)].astype(float)
    return int(rng.choice(len(classes), p=share / share.sum()))


def _inner_start(size: int, total: int, voxel: int | None, rng: np.random.Generator) -> int:
    """The first voxel of ``size`` along an axis of ``total``."""
    free = total - size
    if voxel is None:
        return int(rng.integers(free + 1)) if free > 0 else free // 2
    jitter = int(rng.integers(-(size // 4), size // 4 + 1))
    return min(max(voxel + jitter - size // 2, 0), free) if free > 0 else free // 2


def _inside(start: Sequence[int], size: Size, shape: Sequence[int]) -> tuple[Box, Box]:
    """The part of the box at ``start`` that lies in the volume: in the volume, and in the box."""
    low = [max(s, 0) for s in start]
    high = [min(s + n, total) for s, n, total in zip(start, size, shape, strict=True)]
    i, j, k = (slice(a, max(a, b)) for a, b in zip(low, high, strict=True))
    u, v, w = (slice(side.start - s, side.stop - s) for side, s in zip((i, j, k), start, strict=True))
    return (i, j, k), (u, v, w)


def _cut(
    image: Float32[np.ndarray, "C I J K"], start: Sequence[int], size: Size
) -> Float32[Tensor, "C i j k"]:
    source, target = _inside(start, size, image.shape[1:])
    part = np.asarray(image[(slice(None), *source)])
    if part.shape[1:] == size:
        return torch.from_numpy(part.copy())
    patch = np.empty((len(image), *size), dtype=np.float32)
    patch[...] = part.min(axis=(1, 2, 3), keepdims=True)
    patch[(slice(None), *target)] = part
    return torch.from_numpy(patch)


def _cut_label(label: UInt8[np.ndarray, "I J K"], start: Sequence[int], size: Size) -> UInt8[Tensor, "i j k"]:
    source, target = _inside(start, size, label.shape)
    patch = np.zeros(size, dtype=np.uint8)
    patch[target] = label[source]
    return torch.from_numpy(patch)

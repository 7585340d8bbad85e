"""What is removed from a mask, by configuration."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Int64, Shaped, UInt8
from scipy import ndimage

from medseg.config.inference import PostprocessingConfig

SLAB_VOXELS = 1 << 22
WORKING_BYTES = 32 * SLAB_VOXELS
"""The most that postprocessing holds beside the mask."""

_NEIGHBOURS_26 = np.ones((3, 3, 3), dtype=bool)


def postprocess(
    labels: UInt8[np.ndarray, "I J K"],
    config: PostprocessingConfig,
    classes: Mapping[str, int],
    voxel_ml: float,
) -> None:
    """Remove parts as configured, in place; voxels that fall become background.

    Args:
        labels: class indices.
        classes: structure to class index.
        voxel_ml: volume of a voxel in millilitres.
    """
    names = dict.fromkeys((*config.largest_component, *config.minimum_volume_ml))
    boxes = ndimage.find_objects(labels) if names else []
    for name in names:
        index = classes[name]
        box = boxes[index - 1] if index <= len(boxes) else None
        if box is None:
            continue
        parts = _Parts.of(labels[box], index)
        keep = np.ones(len(parts.sizes), dtype=bool)
        if name in config.largest_component:
            keep[:] = False
            keep[int(np.argmax(parts.sizes))] = True
        keep &= parts.sizes * voxel_ml >= config.minimum_volume_ml.get(name, 0.0)
        if not keep.all():
            parts.remove(labels[box], index, keep)


@dataclass(frozen=True, eq=False)
class _Parts:
    """Connected parts of one class, found slab by slab: no array of the whole box is needed.

    ``sizes`` in voxels, in the order of the parts' first voxels; ``part_of`` for each slab: the part of each
    of its own pieces (numbered from 1).
    """

    sizes: Int64[np.ndarray, " n"]
    part_of: list[Int64[np.ndarray, " _"]] = field(default_factory=list)

    @classmethod
    def of(cls, region: UInt8[np.ndarray, "i j k"], index: int) -> "_Parts":
        parent: list[int] = []
        firsts, sizes = [], []
        last: Shaped[np.ndarray, "j k"] | None = None
        for slab in _slabs(region):
            pieces, count = _pieces(slab, index)
            firsts.append(len(parent))
            parent += range(len(parent), len(parent) + count)
            sizes.append(np.bincount(pieces.ravel(), minlength=count + 1)[1:])
            if last is not None:
                _join(parent, last, np.where(pieces[0] > 0, pieces[0] + firsts[-1], 0))
            last = np.where(pieces[-1] > 0, pieces[-1] + firsts[-1], 0)
        roots, part = np.unique([_root(parent, piece) for piece in range(len(parent))], return_inverse=True)
        whole = np.zeros(len(roots), dtype=np.int64)
        np.add.at(whole, part, np.concatenate(sizes))
        ends = [*firsts[1:], len(parent)]
        return cls(whole, [part[first:end] for first, end in zip(firsts, ends, strict=True)])

    def remove(self, region: UInt8[np.ndarray, "i j k"], index: int, keep: Bool[np.ndarray, " n"]) -> None:
        for slab, part in zip(_slabs(region), self.part_of, strict=True):
            kept = keep[part]
            if not kept.all():
                pieces, _ = _pieces(slab, index)
                slab[np.concatenate([[False], ~kept])[pieces]] = 0


def _slabs(region: UInt8[np.ndarray, "i j k"]) -> list[UInt8[np.ndarray, "m j k"]]:
    thickness = max(1, SLAB_VOXELS // (region[0].size or 1))
    return [region[start : start + thickness] for start in range(0, len(region), thickness)]


def _pieces(slab: UInt8[np.ndarray, "m j k"], index: int) -> tuple[Shaped[np.ndarray, "m j k"], int]:
    pieces, count = ndimage.label(slab == index, structure=_NEIGHBOURS_26)
    return pieces, int(count)


def _join(parent: list[int], above: Shaped[np.ndarray, "j k"], below: Shaped[np.ndarray, "j k"]) -> None:
    """Join pieces that touch across two slabs: their last and first plane, pieces numbered from 1."""
    high = np.pad(above, 1)
    rows, columns = below.shape
    for row in range(3):
        for column in range(3):
            near = high[row : row + rows, column : column + columns]
            both = (near > 0) & (below > 0)
            for pair in np.unique(np.stack([near[both], below[both]]), axis=1).T - 1:
                one, other = sorted(_root(parent, int(piece)) for piece in pair)
                parent[other] = one


def _root(parent: list[int], piece: int) -> int:
    while parent[piece] != piece:
        parent[piece] = parent[parent[piece]]
        piece = parent[piece]
    return piece

"""Which slices tell most about a prediction, and the part of the volume worth showing."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64, Shaped

from medseg.volume import Volume

MARGIN_MM, SMALLEST_MM = (25.0, 25.0, 15.0), 70.0
"""Surroundings shown beyond the structures (left, back, head), and the least extent shown."""

_LARGEST_TABLE = 1 << 16
_SLAB_VOXELS = 1 << 19

Box = tuple[slice, slice, slice]


def to_lps(volume: Volume) -> tuple[Shaped[np.ndarray, "X Y Z"], tuple[float, float, float]]:
    """A view with axes to the patient's left, posterior, superior (by closest axes), and its spacing in mm.

    ``view[:, :, k].T`` is then an axial picture in radiological convention: the patient's right on the left
    side, anterior up.
    """
    codes = volume.geometry.axis_codes
    order = [next(a for a, code in enumerate(codes) if code in pair) for pair in ("LR", "PA", "SI")]
    view = volume.array.transpose(order)
    flipped = tuple(axis for axis, voxel_axis in enumerate(order) if codes[voxel_axis] in "RAI")
    x, y, z = (volume.geometry.spacing_mm[a] for a in order)
    return np.flip(view, flipped), (x, y, z)


def to_classes(array: Shaped[np.ndarray, "*shape"], values: Sequence[int]) -> Int64[np.ndarray, "*shape"]:
    """Place (from 1) of each voxel's value in ``values``; 0 for every other value."""
    lowest, highest = min(values) - 1, max(values) + 1
    if highest - lowest > _LARGEST_TABLE:
        ordered = np.argsort(values)
        place = np.searchsorted(np.asarray(values)[ordered], array).clip(max=len(values) - 1)
        return np.where(np.asarray(values)[ordered][place] == array, ordered[place] + 1, 0).astype(np.int64)
    table = np.zeros(highest - lowest + 1, dtype=np.int64)
    table[np.asarray(values) - lowest] = np.arange(1, len(values) + 1)
    return np.asarray(table[array.astype(np.int64).clip(lowest, highest) - lowest], dtype=np.int64)


def foreground_box(masks: Sequence[Shaped[np.ndarray, "X Y Z"]]) -> Box | None:
    """The smallest box around all voxels that are not 0 in one of ``masks``; None when there are none."""
    flat = np.logical_or.reduce([mask.any(axis=2) for mask in masks])
    if not flat.any():
        return None
    rows, columns = _ends(flat.any(axis=1)), _ends(flat.any(axis=0))
    return (
        rows,
        columns,
        _ends(np.logical_or.reduce([mask[rows, columns].any(axis=(0, 1)) for mask in masks])),
    )


def _ends(line: Bool[np.ndarray, " n"]) -> slice:
    found = np.flatnonzero(line)
    return slice(int(found[0]), int(found[-1]) + 1)


@dataclass(frozen=True)
class SliceCounts:
    """Voxels of each structure in each slice.

    ``areas``: one table a mask. ``wrong``: where two masks differ, summed over both; zeros for one mask.
    """

    areas: tuple[Int64[np.ndarray, "Z L"], ...]
    wrong: Int64[np.ndarray, "Z L"]

    @property
    def disagreement(self) -> Float64[np.ndarray, " Z"]:
        """For each slice the wrong voxels, each structure as a share of its own size.

        By shares a missed small organ weighs as much as a missed large one.
        """
        sizes = sum((area.sum(axis=0) for area in self.areas), np.zeros(self.wrong.shape[1]))
        return np.asarray((self.wrong / np.maximum(sizes, 1)).sum(axis=1), dtype=np.float64)


def count_slices(masks: Sequence[Shaped[np.ndarray, "X Y Z"]], values: Sequence[int]) -> SliceCounts:
    """Count the structures of one or two masks, slab by slab, so that memory stays small."""
    width, _, depth = masks[0].shape
    classes = len(values) + 1
    cells = depth * classes
    offsets = np.arange(depth) * classes
    areas = [np.zeros(cells, dtype=np.int64) for _ in masks]
    wrong = np.zeros(cells, dtype=np.int64)
    step = max(1, _SLAB_VOXELS * width // masks[0].size)
    for start in range(0, width, step):
        found = [to_classes(mask[start : start + step], values) + offsets for mask in masks]
        for total, place in zip(areas, found, strict=True):
            np.add(total, np.bincount(place.ravel(), minlength=cells), out=total)
        differs = found[0] != found[-1]
        for place in found:
            wrong += np.bincount(place[differs], minlength=cells)
    by_slice = [counts.reshape(depth, classes)[:, 1:] for counts in (*areas, wrong)]
    return SliceCounts(tuple(by_slice[:-1]), by_slice[-1])


def telling_slice(counts: SliceCounts) -> int:
    """The slice with the most disagreement; without any, the one of the largest area, or the middle."""
    for told in (counts.disagreement, counts.areas[-1].sum(axis=1), counts.areas[0].sum(axis=1)):
        if told.any():
            return int(np.argmax(told))
    return len(counts.wrong) // 2


def widen(box: Box | None, shape: Sequence[int], spacing_mm: Sequence[float]) -> Box:
    """The box and its margin, at least ``SMALLEST_MM`` along each axis, inside the volume."""
    if box is None:
        box = (slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2]))
    parts = []
    for part, size, mm, margin in zip(box, shape, spacing_mm, MARGIN_MM, strict=True):
        extent = (part.stop - part.start) * mm + 2 * margin
        want = min(size, round(max(extent, SMALLEST_MM) / mm))
        start = min(max(0, (part.start + part.stop - want) // 2), size - want)
        parts.append(slice(start, start + want))
    return parts[0], parts[1], parts[2]

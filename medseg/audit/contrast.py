"""How each structure stands out from its surroundings, where it is drawn, and were it drawn elsewhere.

The contrast of a structure is the mean intensity inside minus that of a shell around it, as a share of the
scan's own spread. A reference that has come apart from its image loses it, and another place would have it
back: by correlation (Fourier) all shifts near by are tried at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Shaped, UInt8
from scipy import fft, ndimage

REACH = 6
"""Shifts that are tried to each side along each axis, in cells."""

SIDE = 2 * REACH + 1
_SHELL = 2
_MOST_CELLS = 150_000
Boxes = Sequence[tuple[slice, slice, slice] | None]


@dataclass(frozen=True, eq=False)
class Contrast:
    """Of all structures of a case, in the order of the labels; NaN where a structure is not drawn.

    ``shifted[s, i, j, k]``: of structure s moved by (i, j, k) - ``REACH`` cells along right, anterior,
    superior; ``mirrored[s, axis]``: were the reference turned over along an axis of the scan.
    """

    shifted: Float32[np.ndarray, "S 13 13 13"]
    mirrored: Float32[np.ndarray, "S 3"]
    cell_mm: tuple[float, float, float]

    @property
    def here(self) -> Float32[np.ndarray, " S"]:
        found: Float32[np.ndarray, " S"] = self.shifted[:, REACH, REACH, REACH]
        return found


def contrast(
    image: Shaped[np.ndarray, "R A S"],
    classes: UInt8[np.ndarray, "R A S"],
    boxes: Boxes,
    spacing_mm: np.ndarray,
    spread: float,
) -> Contrast:
    """``boxes``: of each structure, None where it is not drawn; ``spread``: of the scan's intensities."""
    step = _step(boxes, spacing_mm)
    every = (slice(None, None, step[0]), slice(None, None, step[1]), slice(None, None, step[2]))
    image, classes = image[every], classes[every]
    shifted = np.full((len(boxes), SIDE, SIDE, SIDE), np.nan, np.float32)
    mirrored = np.full((len(boxes), 3), np.nan, np.float32)
    for place, box in enumerate(boxes):
        if box is None:
            continue
        wide = tuple(
            slice(max(0, side.start // s - _SHELL), min(n, -(-side.stop // s) + _SHELL))
            for side, s, n in zip(box, step, classes.shape, strict=True)
        )
        kernel = _kernel(classes[wide] == place + 1)
        if kernel is None:  # too thin to be met by the cells
            continue
        shifted[place] = _everywhere(image, kernel, wide) / spread
        for axis in range(3):
            mirrored[place, axis] = _turned_over(image, kernel, wide, axis) / spread
    x, y, z = (float(s * mm) for s, mm in zip(step, spacing_mm, strict=True))
    return Contrast(shifted, mirrored, (x, y, z))


def _step(boxes: Boxes, spacing_mm: np.ndarray) -> tuple[int, int, int]:
    """Every how many voxels one is taken: more along the finest axes, until the largest box is small."""
    step = np.ones(3, dtype=int)
    sizes = np.array([[side.stop - side.start for side in box] for box in boxes if box is not None])
    while len(sizes) and (-(-sizes // step)).prod(axis=1).max() > _MOST_CELLS:
        step[np.argmin(step * spacing_mm)] += 1
    i, j, k = (int(s) for s in step)
    return i, j, k


def _kernel(inside: Bool[np.ndarray, "i j k"]) -> Float32[np.ndarray, "i j k"] | None:
    """Its correlation with an image is the mean inside minus the mean of the shell."""
    shell = ndimage.binary_dilation(inside, iterations=_SHELL) & ~inside
    if not inside.any() or not shell.any():
        return None
    return np.asarray(inside / inside.sum() - shell / shell.sum(), dtype=np.float32)


def _everywhere(
    image: Shaped[np.ndarray, "I J K"], kernel: Float32[np.ndarray, "i j k"], place: tuple[slice, ...]
) -> Float32[np.ndarray, "13 13 13"]:
    """The correlation at all shifts; beyond its border a scan goes on as it ends."""
    index = [
        np.arange(side.start - REACH, side.stop + REACH).clip(0, n - 1)
        for side, n in zip(place, image.shape, strict=True)
    ]
    around = image[np.ix_(*index)].astype(np.float32)
    shape = [fft.next_fast_len(n, real=True) for n in around.shape]
    found = fft.irfftn(fft.rfftn(around - around.mean(), shape) * np.conj(fft.rfftn(kernel, shape)), shape)
    return np.asarray(found[:SIDE, :SIDE, :SIDE], dtype=np.float32)


def _turned_over(
    image: Shaped[np.ndarray, "I J K"],
    kernel: Float32[np.ndarray, "i j k"],
    place: tuple[slice, ...],
    axis: int,
) -> float:
    n = image.shape[axis]
    there = list(place)
    there[axis] = slice(n - place[axis].stop, n - place[axis].start)
    return float((image[tuple(there)] * np.flip(kernel, axis)).sum())

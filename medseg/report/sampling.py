"""A part of a volume on a coarser grid, small enough to be sent along with a page."""

from math import ceil, prod

import numpy as np
from jaxtyping import Float32, Shaped
from PIL import Image

Box = tuple[slice, slice, slice]
Triple = tuple[int, int, int]


def coarse_shape(shape: Triple, spacing_mm: tuple[float, float, float], most_voxels: int) -> Triple:
    """The finest grid of at most ``most_voxels`` over the same space.

    The finest axes give way first: an axis that is coarser than the new spacing keeps all its slices.
    """
    if prod(shape) <= most_voxels:
        return shape
    low, high = 0.0, max(n * mm for n, mm in zip(shape, spacing_mm, strict=True))
    for _ in range(40):
        middle = (low + high) / 2
        if prod(_at_spacing(shape, spacing_mm, middle)) > most_voxels:
            low = middle
        else:
            high = middle
    return _at_spacing(shape, spacing_mm, high)


def _at_spacing(shape: Triple, spacing_mm: tuple[float, float, float], wanted_mm: float) -> Triple:
    sizes = (
        n if wanted_mm <= mm else max(1, ceil(n * mm / wanted_mm - 1e-9))
        for n, mm in zip(shape, spacing_mm, strict=True)
    )
    x, y, z = sizes
    return x, y, z


def mean_values(array: Shaped[np.ndarray, "X Y Z"], box: Box, shape: Triple) -> Float32[np.ndarray, "x y z"]:
    """Means over the voxels of ``box`` that fall together; one slice of the volume in memory at a time."""
    part = array[box]
    depth = part.shape[2]
    out = np.empty(shape, dtype=np.float32)
    for k in range(shape[2]):
        first, stop = k * depth // shape[2], max(ceil((k + 1) * depth / shape[2]), k * depth // shape[2] + 1)
        total = np.zeros(part.shape[:2], dtype=np.float32)
        for at in range(first, stop):
            total += np.nan_to_num(part[:, :, at].astype(np.float32), posinf=0.0, neginf=0.0)
        mean = total / (stop - first)
        if mean.shape != shape[:2]:  # Pillow's size is (columns, rows)
            picture = Image.fromarray(mean).resize((shape[1], shape[0]), Image.Resampling.BOX)
            mean = np.asarray(picture)
        out[:, :, k] = mean
    return out


def nearest_values(
    array: Shaped[np.ndarray, "X Y Z"], box: Box, shape: Triple
) -> Shaped[np.ndarray, "x y z"]:
    """The value at the centre of each coarse voxel; no label is mixed with another."""
    part = array[box]
    places = [(2 * np.arange(m) + 1) * n // (2 * m) for n, m in zip(part.shape, shape, strict=True)]
    return part[np.ix_(*places)]

"""A scan made small, for pictures and to tell the same scan again under another name."""

import hashlib
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Shaped, UInt8
from scipy import ndimage

from medseg.audit.canonical import Canonical

LONGEST = 64
"""Cells along the longest axis, at most."""

_LADDER = 2.0**0.25
_SAMPLED = 200_000


@dataclass(frozen=True, eq=False)
class Thumbnail:
    """``cells``: intensities from the 1st to the 99th percentile as 0 to 255, along right, anterior,
    superior; cubes of ``cell_mm`` whose centres lie at whole multiples of it from ``first_mm`` on."""

    cells: UInt8[np.ndarray, "i j k"]
    cell_mm: float
    first_mm: tuple[float, float, float]

    @property
    def size_mm(self) -> tuple[float, float, float]:
        i, j, k = (n * self.cell_mm for n in self.cells.shape)
        return i, j, k

    def at(self, cell_mm: float) -> Float32[np.ndarray, "i j k"]:
        """Sampled at the whole multiples of another cell, so that what two scans share falls on the same
        places whatever each was cropped to."""
        spacing = np.full(3, self.cell_mm)
        found, _ = on_lattice(self.cells.astype(np.float32), spacing, np.array(self.first_mm), cell_mm)
        return found


def thumbnail(array: Shaped[np.ndarray, "I J K"], canonical: Canonical) -> Thumbnail:
    """Averaged over the cells; neither contrast nor brightness matters."""
    view = canonical.view(array)
    size = float((np.array(view.shape) * canonical.spacing_mm).max())
    step = np.ceil(np.log(max(size / LONGEST, float(canonical.spacing_mm.min()))) / np.log(_LADDER))
    cell_mm = float(_LADDER**step)
    means, spacing, origin = _block_means(view, canonical, cell_mm)
    low, high = (float(p) for p in np.percentile(means.ravel()[:: max(1, means.size // _SAMPLED)], (1, 99)))
    scaled = (means.clip(low, high) - low) * (255.0 / max(high - low, 1e-12))
    cells, first = on_lattice(scaled, spacing, origin, cell_mm)
    i, j, k = (float(x) for x in first)
    return Thumbnail(np.rint(cells).astype(np.uint8), cell_mm, (i, j, k))


def content_hash(array: Shaped[np.ndarray, "I J K"], canonical: Canonical) -> str:
    """sha256 over shape and values in canonical order: the same voxels under any name, file format,
    compression, number type or order of axes."""
    view = canonical.view(array)
    digest = hashlib.sha256(str(view.shape).encode())
    for plane in view:
        digest.update(np.ascontiguousarray(plane, dtype=np.float32).tobytes())
    return digest.hexdigest()


def on_lattice(
    array: Float32[np.ndarray, "I J K"],
    spacing_mm: Float64[np.ndarray, "3"],
    origin_mm: Float64[np.ndarray, "3"],
    cell_mm: float,
) -> tuple[Float32[np.ndarray, "i j k"], Float64[np.ndarray, "3"]]:
    """Linear samples at the multiples of ``cell_mm`` inside the array, and where the first one lies."""
    smooth = np.where(cell_mm > spacing_mm, 0.5 * cell_mm / spacing_mm, 0.0)
    array = ndimage.gaussian_filter(array, smooth, mode="nearest")
    first = np.ceil((origin_mm - 0.5 * spacing_mm) / cell_mm) * cell_mm
    places, last = [], origin_mm + (np.array(array.shape) - 0.5) * spacing_mm
    for axis in range(3):
        count = max(1, int(np.floor((last[axis] - first[axis]) / cell_mm)) + 1)
        places.append((first[axis] + cell_mm * np.arange(count) - origin_mm[axis]) / spacing_mm[axis])
    grid = np.meshgrid(*places, indexing="ij")
    found = ndimage.map_coordinates(array, grid, order=1, mode="nearest", output=np.float32)
    return found, first


def _block_means(
    view: Shaped[np.ndarray, "I J K"], canonical: Canonical, cell_mm: float
) -> tuple[Float32[np.ndarray, "i j k"], Float64[np.ndarray, "3"], Float64[np.ndarray, "3"]]:
    """Means over blocks of at most half a cell: a large scan becomes small slab by slab."""
    factor = np.maximum(1, (cell_mm / 2 / canonical.spacing_mm).astype(int))
    factor = np.minimum(factor, view.shape)
    fi, fj, fk = (int(f) for f in factor)
    i, j, k = (n // f for n, f in zip(view.shape, (fi, fj, fk), strict=True))
    means = np.empty((i, j, k), np.float32)
    for row in range(i):
        slab = view[row * fi : (row + 1) * fi, : j * fj, : k * fk]
        means[row] = slab.reshape(fi, j, fj, k, fk).mean(axis=(0, 2, 4), dtype=np.float32)
    origin = canonical.origin_mm + (factor - 1) / 2 * canonical.spacing_mm
    return means, canonical.spacing_mm * factor, origin

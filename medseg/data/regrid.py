"""A label map put onto the grid of a scan or of a reference: nearest neighbour, never an invented value."""

import logging
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Shaped

from medseg.errors import Code, GridMismatchError
from medseg.volume import Geometry, Volume, allowed_mm, require_same_grid

log = logging.getLogger(__name__)

_ROUNDING_MM = 1e-3  # float32 headers move corners by less, and nobody needs to hear of it
_TIE = 1e-6  # voxels; rounding errors must not decide which of two equally near voxels is taken


@dataclass(frozen=True, eq=False)
class PlacedLabel:
    """A label map that may be compared with a grid voxel by voxel, and how far from it it was."""

    label: Volume
    apart_mm: float
    resampled: bool

    @property
    def noteworthy(self) -> bool:
        return self.resampled or self.apart_mm > _ROUNDING_MM

    def __str__(self) -> str:
        how = "resampled by nearest neighbour" if self.resampled else "taken as one grid"
        return f"corners up to {self.apart_mm:.4g} mm apart, {how}"


def place_label(
    label: Volume, grid: Geometry, subject: str, *, resample: bool = False, option: str
) -> PlacedLabel:
    """``label`` as it is when it lies on ``grid``, to a tenth of a voxel; else resampled if that is allowed.

    What is not exactly on the grid is logged, in millimetres.

    Args:
        subject: both names in errors, as in ``"case 017: image and label"``.
        option: what allows resampling, named by the error.

    Raises:
        GridMismatchError: the label is on another grid and ``resample`` is off, or nothing of it is left.
    """
    if not resample:
        fix = f"allow resampling of the label with {option}, or correct the path"
        require_same_grid(grid, label.geometry, subject, fix)
    apart = grid.corner_distance_mm(label.geometry)
    if grid.displacement_mm(label.geometry) <= allowed_mm(grid, label.geometry):
        placed = PlacedLabel(label, apart, resampled=False)
        if placed.noteworthy:
            log.info("%s are %.3g mm apart, below a tenth of a voxel: taken as one grid", subject, apart)
        return placed
    placed = PlacedLabel(label_on_grid(label, grid), apart, resampled=True)
    before, after = _labelled_ml(label), _labelled_ml(placed.label)
    if before and not after:
        raise GridMismatchError(
            Code.GRID_MISMATCH,
            f"{subject} have nothing in common ({grid} and {label.geometry}, corners up to {apart:.4g} mm "
            f"apart; of {before:.4g} mL labelled none would be left): correct the path",
        )
    log.warning(
        "%s are on different grids (corners up to %.4g mm apart): label resampled by nearest neighbour, "
        "%.4g mL labelled before and %.4g mL after",
        *(subject, apart, before, after),
    )
    return placed


def label_on_grid(label: Volume, grid: Geometry) -> Volume:
    """Each voxel of ``grid`` takes the value of the label's voxel that holds its centre; 0 outside the label.

    A centre on the border of two voxels belongs to the one of higher index. Works slice by slice, so that
    little memory is needed beside the result.
    """
    if label.geometry == grid:
        return label
    matrix = np.linalg.inv(label.geometry.affine) @ grid.affine
    result = np.zeros(grid.shape, dtype=label.array.dtype, order="F")
    for k in range(grid.shape[2]):
        result[:, :, k] = _slice_on_grid(label.array, matrix, grid.shape, k)
    return Volume(result, grid)


def _slice_on_grid(
    array: Shaped[np.ndarray, "I J K"],
    matrix: Float64[np.ndarray, "4 4"],
    shape: tuple[int, int, int],
    k: int,
) -> Shaped[np.ndarray, "i j"]:
    """Slice ``k`` of a grid whose voxels lie at ``matrix @ (i, j, k, 1)`` of ``array``."""
    i, j = np.arange(shape[0])[:, None], np.arange(shape[1])[None]
    inside = np.ones(shape[:2], dtype=bool)
    index = []
    for row, length in zip(matrix[:3], array.shape, strict=True):
        nearest = np.floor(row[0] * i + (row[1] * j + (row[2] * k + row[3] + 0.5 + _TIE)))
        inside &= (nearest >= 0) & (nearest < length)
        index.append(nearest.clip(0, length - 1).astype(np.intp))
    found: np.ndarray = array[index[0], index[1], index[2]]
    return np.where(inside, found, found.dtype.type(0))


def _labelled_ml(label: Volume) -> float:
    return float(np.count_nonzero(label.array)) * label.geometry.voxel_ml

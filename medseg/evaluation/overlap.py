"""Shares read from voxel counts. None is undefined (nothing to divide by).

Dice 1945, doi:10.2307/1932409; Jaccard 1912; pixel accuracies as in Long 2015, arXiv:1411.4038, section 5.
"""

import numpy as np
from jaxtyping import Int64

from medseg.evaluation.confusion import Confusion


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def dice(c: Confusion) -> float | None:
    """2 |A and B| / (|A| + |B|) = 2 IoU / (1 + IoU)."""
    return _share(2 * c.tp, 2 * c.tp + c.fp + c.fn)


def iou(c: Confusion) -> float | None:
    """Jaccard index: |A and B| / |A or B|."""
    return _share(c.tp, c.tp + c.fp + c.fn)


def precision(c: Confusion) -> float | None:
    """Share of the prediction that is right; undefined for an empty prediction."""
    return _share(c.tp, c.tp + c.fp)


def recall(c: Confusion) -> float | None:
    """Share of the reference that was found (sensitivity); undefined for an empty reference."""
    return _share(c.tp, c.tp + c.fn)


def f1(c: Confusion) -> float | None:
    """Harmonic mean of precision and recall. For masks this *is* Dice; it is told because papers tell it."""
    return dice(c)


def pixel_accuracy(c: Confusion) -> float | None:
    """Share of the volume's voxels that are right, structure against all else."""
    return _share(c.tp + c.tn, c.tp + c.tn + c.fp + c.fn)


def mean_pixel_accuracy(c: Confusion) -> float | None:
    """Mean of the recalls of the structure and of all else, of those that the reference has."""
    recalls = [r for r in (recall(c), _share(c.tn, c.tn + c.fp)) if r is not None]
    return sum(recalls) / len(recalls) if recalls else None


def overall_pixel_accuracy(matrix: Int64[np.ndarray, "C C"]) -> float | None:
    """Share of voxels with the right class, background included (Long 2015: sum n_ii / sum t_i)."""
    return _share(int(np.trace(matrix)), int(matrix.sum()))


def overall_mean_pixel_accuracy(matrix: Int64[np.ndarray, "C C"]) -> float | None:
    """Mean of the classes' recalls, background included, over the classes of the reference (Long 2015)."""
    sizes = matrix.sum(axis=1)
    present = sizes > 0
    return float(np.mean(np.diag(matrix)[present] / sizes[present])) if present.any() else None

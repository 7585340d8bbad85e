"""Tumours one by one: which lesions of the reference were found, and what was invented.

A lesion is a connected part of a mask (26 neighbours). Parts below the minimum volume are taken out of both
masks before anything is compared.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy.ndimage import label
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from medseg.config.inference import LesionConfig
from medseg.errors import Code, ConfigError
from medseg.evaluation.case import LESION_COUNTS, LESION_SHARES

_NEIGHBOURS_26 = np.ones((3, 3, 3), dtype=bool)

Values = dict[str, float | None]


@dataclass(frozen=True)
class LesionCounts:
    """Lesions of a case: ``found`` of the reference's, ``right`` of the predicted (equal if matched 1:1)."""

    in_reference: int
    in_prediction: int
    found: int
    right: int


def count_lesions(
    prediction: Bool[np.ndarray, "I J K"],
    reference: Bool[np.ndarray, "I J K"],
    voxel_mm3: float,
    config: LesionConfig,
) -> LesionCounts:
    """Match the lesions of two masks (or of a box cut from them that holds both wholly).

    ``iou``: as many pairs of one reference and one predicted lesion as can be made of those whose
    intersection over union reaches ``config.iou`` (threshold as in nnDetection, Baumgartner 2021,
    arXiv:2106.00817; one-to-one as in Metrics Reloaded, doi:10.1038/s41592-023-02151-z). ``any_voxel``: a
    lesion is found, or right, when it shares a voxel with any lesion of the other mask (lesion-wise true and
    false positive rate of Carass 2017, doi:10.1016/j.neuroimage.2016.12.064).

    Args:
        voxel_mm3: volume of a voxel.
    """
    referred, reference_sizes = _parts(reference, config.minimum_volume_mm3 / voxel_mm3)
    predicted, prediction_sizes = _parts(prediction, config.minimum_volume_mm3 / voxel_mm3)
    both = (referred > 0) & (predicted > 0)
    width = len(prediction_sizes) + 1
    pairs, shared = np.unique(referred[both] * width + predicted[both], return_counts=True)
    rows, columns = pairs // width - 1, pairs % width - 1
    if config.match == "any_voxel":
        found, right = len(np.unique(rows)), len(np.unique(columns))
    else:
        union = reference_sizes[rows] + prediction_sizes[columns] - shared
        near = shared >= config.iou * union * (1 - 1e-9)  # a share equal to the threshold agrees
        found = right = _most_pairs(rows[near], columns[near], (len(reference_sizes), len(prediction_sizes)))
    return LesionCounts(len(reference_sizes), len(prediction_sizes), found, right)


def _parts(
    mask: Bool[np.ndarray, "I J K"], fewest_voxels: float
) -> tuple[Int64[np.ndarray, "I J K"], Float64[np.ndarray, " n"]]:
    """Parts numbered from 1 without gaps, and their voxels; the small ones are 0."""
    found, count = label(mask, structure=_NEIGHBOURS_26)
    sizes = np.bincount(found.ravel(), minlength=count + 1)
    kept = sizes >= fewest_voxels * (1 - 1e-9)
    kept[0] = False
    numbers = np.where(kept, np.cumsum(kept), 0)
    return numbers[found], sizes[kept].astype(np.float64)


def _most_pairs(
    rows: Int64[np.ndarray, " m"], columns: Int64[np.ndarray, " m"], shape: tuple[int, int]
) -> int:
    """Size of the largest matching: the same whichever of several largest ones is meant."""
    if not len(rows):
        return 0
    graph = csr_array((np.ones(len(rows)), (rows, columns)), shape=shape)
    return int(np.count_nonzero(maximum_bipartite_matching(graph, perm_type="column") >= 0))


def lesion_values(counts: LesionCounts) -> Values:
    """Shares and counts of a case; None where there is nothing to divide by.

    With lesions on one side only, F1 is 0. Without any on either side the shares are undefined, and the false
    positives are 0: a healthy scan counts in the false positives per scan.
    """
    sensitivity = counts.found / counts.in_reference if counts.in_reference else None
    precision = counts.right / counts.in_prediction if counts.in_prediction else None
    if sensitivity is not None and precision is None:
        precision = 0.0  # an empty prediction gains nothing by it
    f1 = None
    if counts.in_reference or counts.in_prediction:
        f1 = _harmonic_mean(sensitivity or 0.0, precision or 0.0)
    return {
        "lesion_f1": f1,
        "lesion_sensitivity": sensitivity,
        "lesion_precision": precision,
        "lesion_false_positives": float(counts.in_prediction - counts.right),
        "lesions_in_reference": float(counts.in_reference),
    }


def _harmonic_mean(a: float, b: float) -> float:
    return 2 * a * b / (a + b) if a + b else 0.0


def unmeasured_lesions() -> Values:
    """Values of a structure that nobody drew, or whose lesions are not counted."""
    return dict.fromkeys((*LESION_SHARES, *LESION_COUNTS))


def require_structures(lesions: Mapping[str, LesionConfig], labels: Mapping[str, int]) -> None:
    """Raise a ConfigError when lesions of a structure are wanted that there is not."""
    if strangers := sorted(set(lesions) - set(labels)):
        raise ConfigError(
            Code.CONFIG_VALUE,
            f"lesions: {', '.join(strangers)} not in labels ({', '.join(labels)}); correct the name",
        )


def lesion_rules(lesions: Mapping[str, LesionConfig]) -> tuple[str, ...]:
    """What is printed beside the means: a line a structure."""
    return tuple(f"Lesions of {name}: {_told(config)}" for name, config in lesions.items())


def _told(config: LesionConfig) -> str:
    how = (
        "a lesion is found, or right, when it shares a voxel with a lesion of the other mask (Carass 2017)."
        if config.match == "any_voxel"
        else f"one reference and one predicted lesion are paired when their IoU is at least {config.iou:g}, "
        "as many pairs as can be made."
    )
    small = (
        f"; parts below {config.minimum_volume_mm3:g} mm3 are taken out of both masks"
        if config.minimum_volume_mm3
        else ""
    )
    return f"connected parts (26 neighbours){small}; {how}"

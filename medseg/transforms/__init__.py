"""Preprocessing, augmentation and patches, on TorchIO."""

from medseg.transforms.augmentation import Augment, build_augmentation
from medseg.transforms.fitting import (
    Fitted,
    IntensityStatistics,
    Seen,
    fit_preprocessing,
    fit_to,
    look_at,
    needs_cases,
)
from medseg.transforms.grid import AxisMap, axis_maps
from medseg.transforms.preprocessing import Prepared, Preprocessing
from medseg.transforms.randomness import seeded, single_thread, stable_seed
from medseg.transforms.sampling import ForegroundIndex, sample_patch

__all__ = [
    "Augment",
    "AxisMap",
    "Fitted",
    "ForegroundIndex",
    "IntensityStatistics",
    "Prepared",
    "Preprocessing",
    "Seen",
    "axis_maps",
    "build_augmentation",
    "fit_preprocessing",
    "fit_to",
    "look_at",
    "needs_cases",
    "sample_patch",
    "seeded",
    "single_thread",
    "stable_seed",
]

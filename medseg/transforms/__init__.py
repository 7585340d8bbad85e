"""Preprocessing, augmentation and patches.

``augmentation`` and ``preprocess_subject`` are built on TorchIO and imported by name where they are used:
inference does without, which saves it a second and 100 MiB.
"""

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
    "AxisMap",
    "Fitted",
    "ForegroundIndex",
    "IntensityStatistics",
    "Prepared",
    "Preprocessing",
    "Seen",
    "axis_maps",
    "fit_preprocessing",
    "fit_to",
    "look_at",
    "needs_cases",
    "sample_patch",
    "seeded",
    "single_thread",
    "stable_seed",
]

"""Patients: how they are found, parted, loaded, and kept prepared on disk."""

from medseg.data.cache import DEFAULT_CACHE, PreparedCache, default_cache
from medseg.data.case import Case
from medseg.data.cohort import find_cases
from medseg.data.loading import LoadedCase, load_case, load_images
from medseg.data.patients import Patients, find_patients
from medseg.data.splits import Split, split_cases
from medseg.data.subject import as_tensor, geometry_of, to_subject

__all__ = [
    "DEFAULT_CACHE",
    "Case",
    "LoadedCase",
    "Patients",
    "PreparedCache",
    "Split",
    "as_tensor",
    "default_cache",
    "find_cases",
    "find_patients",
    "geometry_of",
    "load_case",
    "load_images",
    "split_cases",
    "to_subject",
]

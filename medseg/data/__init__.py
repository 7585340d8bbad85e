"""Patients: how they are found, parted, loaded, and kept prepared on disk.

``medseg.data.subject``, the bridge to TorchIO, is imported by name where it is used: it loads slowly, and the
processes that simulate patients do without.
"""

from medseg.data.cache import DEFAULT_CACHE, PreparedCache, default_cache
from medseg.data.case import Case
from medseg.data.cohort import find_cases
from medseg.data.fingerprint import files_of_cases
from medseg.data.loading import LoadedCase, load_case, load_images
from medseg.data.patients import Patients, Problem, find_patients
from medseg.data.splits import Part, Split, fold_of_each, split_cases

__all__ = [
    "DEFAULT_CACHE",
    "Case",
    "LoadedCase",
    "Part",
    "Patients",
    "PreparedCache",
    "Problem",
    "Split",
    "default_cache",
    "files_of_cases",
    "find_cases",
    "find_patients",
    "fold_of_each",
    "load_case",
    "load_images",
    "split_cases",
]

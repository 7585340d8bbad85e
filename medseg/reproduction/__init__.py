"""A run made again: what differs from then, the same steps once more, and whether the same came out."""

from medseg.reproduction.differences import Difference, differences
from medseg.reproduction.recorded import Recorded, read_recorded
from medseg.reproduction.results import TOLERANCE, Verdict, compare_runs

__all__ = [
    "TOLERANCE",
    "Difference",
    "Recorded",
    "Verdict",
    "compare_runs",
    "differences",
    "read_recorded",
]

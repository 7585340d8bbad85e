"""Paired comparison of evaluations: which run is better, by how much, and how sure that is."""

from medseg.comparison.compare import Comparison, PairComparison, Row, compare
from medseg.comparison.files import write_comparison
from medseg.comparison.sources import Evaluated, read_evaluations

__all__ = [
    "Comparison",
    "Evaluated",
    "PairComparison",
    "Row",
    "compare",
    "read_evaluations",
    "write_comparison",
]

"""How far a case is from the rest of its cohort, by measures that the case itself cannot move."""

import numpy as np
from jaxtyping import Float64, Num

ENOUGH = 8
"""Cases that a comparison needs; with fewer none is made."""

FAR = 8.0
"""Robust standard deviations from the median that count as far."""

_NORMAL = 1.4826
"""MAD to standard deviation, where values are normal."""


def centre_and_spread(values: Num[np.ndarray, " n"], floor: float) -> tuple[float, float]:
    """Median, and the median absolute deviation scaled to a standard deviation, ``floor`` at least."""
    centre = float(np.median(values))
    return centre, max(_NORMAL * float(np.median(np.abs(values - centre))), floor)


def deviations(values: Num[np.ndarray, " n"], floor: float) -> Float64[np.ndarray, " n"]:
    """Signed robust deviations; all 0 where there are too few values to compare."""
    if len(values) < ENOUGH:
        return np.zeros(len(values))
    centre, spread = centre_and_spread(values, floor)
    return np.asarray((values - centre) / spread, dtype=np.float64)

"""Intervals of means by resampling patients: several scans of one person are not several people.

Bias-corrected and accelerated bootstrap (BCa): Efron 1987, doi:10.1080/01621459.1987.10478410.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from jaxtyping import Bool, Float64
from scipy.special import ndtr, ndtri, stdtrit

RESAMPLES = 2000
INTERVAL = "95 % interval of the mean: BCa bootstrap over patients, {} resamples, seeded, tails expanded"
_TAILS = (0.025, 0.975)

Interval = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Resampled:
    """Means of ``m`` columns: over all patients, over each resample, with each patient left out (jackknife).

    NaN where no value is left.
    """

    mean: Float64[np.ndarray, " m"]
    resampled: Float64[np.ndarray, "b m"]
    left_out: Float64[np.ndarray, "p m"]


def resample_patients(
    patients: Sequence[str],
    values: Float64[np.ndarray, "n m"],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Resampled:
    """Column means under resampling of whole patients; the order of the cases does not change the draws.

    Args:
        patients: the patient of each row.
        values: one row a case, one column a quantity; NaN is no value.
    """
    names, row = np.unique(np.array(patients, dtype=str), return_inverse=True)
    sums, sizes = np.zeros((len(names), values.shape[1])), np.zeros((len(names), values.shape[1]))
    there: Bool[np.ndarray, "n m"] = ~np.isnan(values)
    np.add.at(sums, row, np.where(there, values, 0.0))
    np.add.at(sizes, row, there.astype(np.float64))
    draws = np.random.default_rng(seed).multinomial(
        len(names), np.full(len(names), 1 / len(names)), resamples
    )
    weights = draws.astype(np.float64)
    return Resampled(
        _ratio(sums.sum(axis=0), sizes.sum(axis=0)),
        _ratio(weights @ sums, weights @ sizes),
        _ratio(sums.sum(axis=0) - sums, sizes.sum(axis=0) - sizes),
    )


def _ratio(sums: Float64[np.ndarray, "*s"], sizes: Float64[np.ndarray, "*s"]) -> Float64[np.ndarray, "*s"]:
    return np.asarray(np.divide(sums, sizes, out=np.full_like(sums, np.nan), where=sizes > 0.5))


def bca_interval(
    mean: float,
    resampled: Float64[np.ndarray, " b"],
    left_out: Float64[np.ndarray, " p"],
    *,
    expanded: bool = True,
) -> Interval | None:
    """The 95 % interval of ``mean``; None with fewer than two patients that have a value.

    Resamples without any value are left out. ``expanded`` reaches as much further out as Student's t does for
    so few patients (Hesterberg 2015, doi:10.1080/00031305.2015.1089789, section 4.2); without, it is Efron's.
    """
    drawn, jackknife = resampled[~np.isnan(resampled)], left_out[~np.isnan(left_out)]
    if len(jackknife) < 2 or not len(drawn) or np.isnan(mean):
        return None
    spread = 1e-12 * max(1.0, abs(mean))  # resampled means that differ by rounding only are the same
    below = float(np.mean(drawn < mean - spread) + 0.5 * np.mean(np.abs(drawn - mean) <= spread))
    half = 0.5 / len(drawn)
    bias = float(ndtri(min(max(below, half), 1 - half)))
    slopes = jackknife.mean() - jackknife
    squares = float((slopes**2).sum())
    skew = float((slopes**3).sum()) / (6 * squares**1.5) if squares > spread**2 else 0.0
    people = len(jackknife)
    wider = sqrt(people / (people - 1)) if expanded else 1.0
    ends = (wider * float(stdtrit(people - 1, tail) if expanded else ndtri(tail)) for tail in _TAILS)
    at = [_adjusted(end, bias, skew) for end in ends]
    low, high = (float(bound) for bound in np.quantile(drawn, at))
    return low, high


def _adjusted(z: float, bias: float, skew: float) -> float:
    scale = 1 - skew * (bias + z)
    if scale <= 0:  # so few patients, and so skewed, that the formula has no answer: as far as it goes
        return 1.0 if bias + z > 0 else 0.0
    return float(ndtr(bias + (bias + z) / scale))

"""Wilcoxon's signed-rank test, the effect sizes that go with it, and Holm's correction."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from scipy.stats import rankdata, wilcoxon

EXACT_UP_TO = 50
"""Pairs up to which the distribution is counted out; beyond, the normal approximation with ties corrected."""
DECIMALS = 10
"""Differences that agree to so many decimals are tied; those that are 0 then are zeros."""

Differences = Float64[np.ndarray, " n"]


@dataclass(frozen=True)
class SignedRank:
    """Two-sided test that the differences lie symmetrically about zero.

    ``rank_biserial``: rank sum of the positive minus that of the negative differences, over all ranks
    (Kerby 2014, doi:10.2466/11.IT.3.1); zeros have ranks and count for neither side. ``smallest_p``: what the
    test gives when all differences that are not zero have one sign.
    """

    p: float
    method: str
    rank_biserial: float
    smallest_p: float


def signed_rank(differences: Differences) -> SignedRank | None:
    """Wilcoxon 1945 (doi:10.2307/3001968), zeros by Pratt 1959 (doi:10.1080/01621459.1959.10501526).

    Pratt: zeros are ranked with the others and then left out, so that they do not make a difference look
    surer. With ties the exact distribution is that of the ranks as they are (every sign as likely as not).

    Returns:
        None without differences.
    """
    rounded = np.round(differences, DECIMALS)
    if not len(rounded):
        return None
    ranks = rankdata(np.abs(rounded))
    plus, minus = float(ranks[rounded > 0].sum()), float(ranks[rounded < 0].sum())
    biserial = (plus - minus) / float(ranks.sum())
    counted = ranks[rounded != 0]
    smallest = min(1.0, 2.0 * 0.5 ** len(counted))
    if not len(counted):
        return SignedRank(1.0, "no pair differs", biserial, smallest)
    if len(rounded) <= EXACT_UP_TO:
        return SignedRank(_exact_p(counted, max(plus, minus)), "exact", biserial, smallest)
    found = wilcoxon(rounded, zero_method="pratt")  # beyond 50 pairs always by the normal approximation
    return SignedRank(float(found.pvalue), "normal approximation", biserial, smallest)


def _exact_p(ranks: Float64[np.ndarray, " n"], larger_sum: float) -> float:
    """Share of all 2^n signs whose larger rank sum reaches this one; midranks are whole when doubled."""
    steps = np.rint(2 * ranks).astype(int)
    share = np.zeros(int(steps.sum()) + 1)
    share[0] = 1.0
    for step in steps:
        share /= 2
        share[step:] += share[:-step].copy()
    return min(1.0, 2.0 * float(share[round(2 * larger_sum) :].sum()))


def cohen_dz(differences: Differences) -> float | None:
    """Mean over standard deviation (n - 1) of the differences (Cohen 1988); None when that is 0."""
    rounded = np.round(differences, DECIMALS)
    spread = float(rounded.std(ddof=1)) if len(rounded) > 1 else 0.0
    return float(rounded.mean()) / spread if spread > 10.0**-DECIMALS else None


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values that keep the family-wise error (Holm 1979, Scand J Stat 6:65)."""
    adjusted, highest = [0.0] * len(p_values), 0.0
    order = sorted(range(len(p_values)), key=lambda at: p_values[at])
    for place, at in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[at]))
        adjusted[at] = highest
    return adjusted

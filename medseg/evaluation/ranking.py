"""How well a score finds the worst cases."""

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata

WORST = 0.2


def worst(dice: Sequence[float], share: float = WORST) -> list[bool]:
    """The ``share`` of cases with the lowest Dice, at least one; ties with the last of them belong, too."""
    count = max(1, math.ceil(share * len(dice) - 1e-9))
    limit = sorted(dice)[count - 1]
    return [value <= limit for value in dice]


def auroc(scores: Sequence[float], positive: Sequence[bool]) -> float | None:
    """The chance that a positive case scores higher than another one; a draw counts half.

    The area under the receiver operating characteristic (Hanley and McNeil 1982,
    doi:10.1148/radiology.143.1.7063747). None where there are only cases of one kind.
    """
    chosen = np.array(positive, dtype=bool)
    some, others = int(chosen.sum()), int((~chosen).sum())
    if not some or not others:
        return None
    ranks = rankdata(np.array(scores, dtype=np.float64))
    return float((ranks[chosen].sum() - some * (some + 1) / 2) / (some * others))


def auroc_interval(
    scores: Sequence[float], dice: Sequence[float], *, seed: int = 0, resamples: int = 2000
) -> tuple[float, float] | None:
    """95 % interval (percentiles, cases drawn again) of the AUROC for the worst fifth, fixed before."""
    rng, values, bad = np.random.default_rng(seed), np.array(scores), np.array(worst(dice))
    drawn = [rng.integers(0, len(values), len(values)) for _ in range(resamples)]
    found = [auroc(values[some].tolist(), bad[some].tolist()) for some in drawn]
    kept = [value for value in found if value is not None]
    if len(kept) < resamples // 2:
        return None
    low, high = (float(bound) for bound in np.quantile(kept, (0.025, 0.975)))
    return low, high

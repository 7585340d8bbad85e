"""What a comparison means, in the words that are printed beside it."""

from medseg.comparison.signed_rank import EXACT_UP_TO
from medseg.evaluation.bootstrap import RESAMPLES

RULES: tuple[str, ...] = (
    "Differences are the other evaluation minus the baseline, of the same structure of the same case. Higher "
    "is better in shares, lower in millimetres and false positives; volume errors are compared without their "
    "sign.",
    "A missed structure, and each structure of a failed case, counts with its worst value (0 in shares, the "
    "scan's diagonal in mm), as in the evaluation. A structure that is rightly absent in one and invented in "
    "the other has the best value in the first. Where neither has a value nothing is measured, and the case "
    "is counted.",
    "Cases without a partner are listed and take no part.",
    f"p: Wilcoxon's signed-rank test, two-sided, over patients (the mean difference of each), exact up to "
    f"{EXACT_UP_TO} patients, then the normal approximation; zeros by Pratt's rule (ranked, then left out).",
    "p (Holm): corrected for all rows here: structures, metrics and evaluations. Better or worse is said at "
    "5 % of it, mixed where most patients go one way and the mean goes the other; not shown does not mean "
    "equal.",
    f"95 % interval of the mean difference: BCa bootstrap over patients, {RESAMPLES} resamples, seeded, "
    "its tails drawn out as Student's t for few patients. It is not corrected for several rows.",
    "Rank-biserial: rank sum of the positive minus that of the negative differences, over all ranks; from -1 "
    "to 1. Cohen's dz: mean over standard deviation of the differences. Both have its sign.",
)

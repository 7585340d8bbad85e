"""The rules behind the numbers, in the words that are printed beside the means."""

from medseg.config.inference import EvaluationConfig
from medseg.evaluation.lesions import lesion_rules

RULES: tuple[str, ...] = (
    "Missed (the reference has it, the prediction is empty): 0 in every share (Dice, IoU, precision, recall, "
    "F1, pixel accuracies, NSD) and the scan's diagonal, the worst possible, in HD95 and ASSD; so a missed "
    "structure never improves a mean.",
    "False positive (the reference is empty, the prediction is not): 0 in every share, the scan's diagonal "
    "in HD95 and ASSD; recall is undefined and left out.",
    "Both empty (correctly absent): nothing is measured; counted, and left out of the means.",
    "Not contoured in the reference: nothing is measured; counted, and left out of the means. Voxels of such "
    "a structure, in prediction or reference, are left out of the accuracies of the whole volume.",
    "A failed case counts as missed for every structure that its reference has, and as 0 in the accuracies "
    "of the whole volume. Where its reference could not be read it is counted but cannot lower a structure's "
    "mean.",
    "A mean over structures is the mean of the structures' means: a structure that few cases have weighs as "
    "much as any other.",
    "F1 of a mask is its Dice. Pixel accuracy is mostly background and close to 1 for anything small: do not "
    "rank by it. The whole volume's pixel accuracies are plain shares of voxels and know no penalty.",
    "HD95 is the larger of the two directed 95th percentiles (as MONAI, Metrics Reloaded); ASSD pools both "
    "directions; NSD counts boundary voxels (Nikolov 2018). Surfaces are boundary voxels (six neighbours), "
    "distances between their centres in mm.",
    "Volume errors are prediction minus reference: a bias, best at 0, not a score.",
)


def rules_for(config: EvaluationConfig) -> tuple[str, ...]:
    """``RULES`` and what the configuration adds to them."""
    tolerance = (f"NSD tolerance: {config.nsd_tolerance_mm:g} mm.",) if "nsd" in config.metrics else ()
    return (*RULES, *tolerance, *lesion_rules(config.lesions))

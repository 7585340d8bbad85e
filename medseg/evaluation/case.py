"""What is known of one case after scoring: plain frozen records, no computation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Status = Literal["scored", "missed", "false_positive", "both_empty", "not_contoured"]
"""How a structure of a case stands.

scored: reference and prediction both have it. missed: the reference has it, the prediction is empty.
false_positive: the reference is empty, the prediction is not. both_empty: correctly absent.
not_contoured: nobody drew it in this reference, so nothing is measured.
"""

STATUSES: tuple[Status, ...] = ("scored", "missed", "false_positive", "both_empty", "not_contoured")

ALWAYS_TOLD: tuple[str, ...] = ("volume_error_ml", "volume_error_relative")
"""Values that every structure has beside the configured metrics (prediction minus reference)."""

LOWER_IS_BETTER: frozenset[str] = frozenset({"hd95", "assd"})
"""Metrics in millimetres; all other metrics are shares between 0 and 1, the larger the better. The signed
volume errors are neither: best at 0. The counts of ``LESION_COUNTS`` are no shares either."""

LESION_SHARES: tuple[str, ...] = ("lesion_f1", "lesion_sensitivity", "lesion_precision")
LESION_COUNTS: tuple[str, ...] = ("lesion_false_positives", "lesions_in_reference")
"""Values of the structures whose parts are counted one by one (``evaluation.lesions``)."""


@dataclass(frozen=True)
class StructureScore:
    """One structure of one case.

    ``values`` maps a metric's name (and the ``ALWAYS_TOLD``) to its value; None is undefined, and the
    key stays. ``reference_ml`` is None when the structure was not contoured, ``prediction_ml`` when there was
    no prediction. ``reference_hash`` tells two references apart (empty: not known, or not contoured).
    """

    structure: str
    status: Status
    reference_ml: float | None
    prediction_ml: float | None
    values: Mapping[str, float | None]
    reference_hash: str = ""


@dataclass(frozen=True)
class CaseScore:
    """One case that has a prediction.

    ``overall`` has ``pixel_accuracy`` and ``mean_pixel_accuracy`` over all classes of the volume (background
    included), those of them that are configured.
    """

    case: str
    patient: str
    structures: tuple[StructureScore, ...]
    overall: Mapping[str, float | None]


@dataclass(frozen=True)
class FailedCase:
    """One case without a usable prediction, and why in one line.

    ``structures`` holds what its reference has, each as missed; empty when no reference was at hand, and then
    the case is counted as failed but cannot lower a mean.
    """

    case: str
    patient: str
    reason: str
    structures: tuple[StructureScore, ...] = ()

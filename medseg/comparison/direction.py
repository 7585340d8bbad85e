"""Which way each metric is better, and what it is at its best."""

from collections.abc import Sequence
from typing import get_args

from medseg.config.inference import Metric
from medseg.errors import Code, UsageError
from medseg.evaluation.case import LESION_SHARES, LOWER_IS_BETTER

OVERALL = "overall_"
_SIGNED = ("volume_error_ml", "volume_error_relative")
_LOWER = (*LOWER_IS_BETTER, *_SIGNED, "lesion_false_positives")
_HIGHER = (*(name for name in get_args(Metric) if name not in LOWER_IS_BETTER), *LESION_SHARES)
_WHOLE = (f"{OVERALL}pixel_accuracy", f"{OVERALL}mean_pixel_accuracy")


def require_known(metrics: Sequence[str]) -> None:
    """Raise a UsageError for a metric whose direction is not known."""
    known = (*_HIGHER, *_WHOLE, *sorted(_LOWER))
    UsageError.raise_if(
        Code.OPTION,
        (
            f"--metric {metric}: not a metric that can be compared; give one of {', '.join(known)}"
            for metric in metrics
            if metric not in known
        ),
    )


def higher_is_better(metric: str) -> bool:
    return metric not in _LOWER


def as_error(metric: str, value: float) -> float:
    """Signed volume errors without their sign: too much is as wrong as too little."""
    return abs(value) if metric in _SIGNED else value


def best(metric: str) -> float:
    """The value of a structure that is rightly absent, where the other run invented it."""
    return 1.0 if higher_is_better(metric) else 0.0

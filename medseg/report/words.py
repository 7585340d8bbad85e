"""Names and numbers of metrics as a reader sees them."""

from medseg.evaluation.case import Status
from medseg.evaluation.statistics import MetricSummary

NONE = "–"

_LABELS = {
    "dice": "Dice",
    "iou": "IoU",
    "pixel_accuracy": "Pixel accuracy",
    "mean_pixel_accuracy": "Mean pixel accuracy",
    "precision": "Precision",
    "recall": "Recall",
    "f1": "F1",
    "hd95": "HD95 (mm)",
    "assd": "ASSD (mm)",
    "nsd": "NSD",
    "volume_error_ml": "Volume error (mL)",
    "volume_error_relative": "Volume error (%)",
    "lesion_f1": "Lesion F1",
    "lesion_sensitivity": "Lesion sensitivity",
    "lesion_precision": "Lesion precision",
    "lesion_false_positives": "False lesions per scan",
    "lesions_in_reference": "Lesions per scan",
}
_SIGNED = ("volume_error_ml", "volume_error_relative")
_MM = ("hd95", "assd")

STATUS_WORDS: dict[Status, str] = {
    "scored": "scored",
    "missed": "missed",
    "false_positive": "false positive",
    "both_empty": "absent",
    "not_contoured": "not contoured",
}


def metric_label(metric: str) -> str:
    """Column heading, with the unit."""
    return _LABELS.get(metric, metric.replace("_", " "))


def format_value(metric: str, value: float | None, *, signed: bool | None = None) -> str:
    """Shares with three decimals, millimetres with two, volume errors with a sign; a dash for undefined."""
    if value is None:
        return NONE
    sign = "+" if (metric in _SIGNED if signed is None else signed) else ""
    if metric == "volume_error_relative":
        return _minus(f"{100 * value:{sign}.1f}")
    if metric == "volume_error_ml":
        return _minus(f"{value:{sign}.2f}" if abs(value) < 100 else f"{value:{sign}.0f}")
    return _minus(f"{value:{sign}.{2 if metric in _MM else 3}f}")


def format_spread(metric: str, summary: MetricSummary | None) -> str:
    """Mean and standard deviation, as in ``0.873 ± 0.041``."""
    if summary is None or summary.mean is None:
        return NONE
    spread = "" if summary.sd is None else f" ± {format_value(metric, summary.sd, signed=False)}"
    return format_value(metric, summary.mean) + spread


def format_interval(metric: str, summary: MetricSummary | None) -> str:
    """The interval of the mean, as in ``0.85 to 0.89``."""
    if summary is None or summary.low is None or summary.high is None:
        return NONE
    return f"{format_value(metric, summary.low)} to {format_value(metric, summary.high)}"


def _minus(text: str) -> str:
    return text.replace("-", "\N{MINUS SIGN}")

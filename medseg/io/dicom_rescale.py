"""Stored values to real ones: what a header says of slope and intercept, or has to say and does not."""

import math

from pydicom import uid as uids
from pydicom.dataset import Dataset

from medseg.errors import Code
from medseg.io.dicom_fault import Fault, FaultError

_RESCALE_REQUIRED = frozenset({uids.CTImageStorage, uids.EnhancedCTImageStorage})
"""Classes whose header must have both tags (PS3.3 C.8.2.1): without them, HU are a guess."""


def rescale_of(dataset: Dataset, values: Dataset) -> tuple[bool, float, float]:
    """Whether there is a rescale, its slope and its intercept.

    Raises:
        FaultError: for a lookup table, a slope or an intercept alone, and numbers that are none.
    """
    if values.get("ModalityLUTSequence"):
        raise FaultError(Fault(Code.UNSUPPORTED, "a modality lookup table", "convert the series to .nii.gz"))
    slope, intercept = (_number(values.get(name)) for name in ("RescaleSlope", "RescaleIntercept"))
    if slope is None and intercept is None:
        if dataset.get("SOPClassUID") in _RESCALE_REQUIRED:
            raise FaultError(
                Fault(
                    Code.SLOPE, "no RescaleSlope (0028,1053) and RescaleIntercept (0028,1052), needed for CT"
                )
            )
        return False, 1.0, 0.0
    if slope is None or intercept is None:
        raise FaultError(
            Fault(Code.SLOPE, "one of RescaleSlope (0028,1053) and RescaleIntercept (0028,1052)")
        )
    if slope == 0 or not math.isfinite(slope) or not math.isfinite(intercept):
        raise FaultError(Fault(Code.SLOPE, f"rescale slope {slope:g} and intercept {intercept:g}"))
    return True, slope, intercept


def _number(value: object) -> float | None:
    return None if value in (None, "") else float(str(value))

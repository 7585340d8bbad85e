"""What a series says of its own length: slices missing where even steps cannot show it.

A slice lost at an end leaves even steps, and so do all the odd slices lost. Numbers alone prove nothing, as
parts of series are passed on and renumbered; numbers and a declared total, or a declared distance, do.
"""

import logging
from collections.abc import Sequence
from itertools import pairwise

from medseg.errors import Code, VolumeError
from medseg.io.dicom_series import Series

log = logging.getLogger(__name__)

_WHOLE = 0.02


def require_complete(series: Series, step_mm: float, subject: str) -> None:
    """Refuse a series that announces more slices than it has, or twice as close ones.

    Raises:
        VolumeError: naming the instance numbers that are missing, where they tell.
    """
    if len(series.headers) != len(series.slices):  # multi-frame: the frames were counted when read
        return
    numbers = sorted(header.instance for header in series.headers if header.instance is not None)
    if len(set(numbers)) != len(series.slices):
        return
    announced = {header.announced for header in series.headers}
    total = announced.pop() if len(announced) == 1 else None
    if total is not None and len(numbers) < total and numbers[0] >= 1 and numbers[-1] <= total:
        lost = sorted(set(range(1, total + 1)) - set(numbers))
        raise VolumeError(
            Code.DICOM_UNEVEN,
            f"{subject}: {total} slices announced and {len(numbers)} here, instance number "
            f"{_ranges(lost)} missing; export the whole series",
        )
    _require_every_slice(series, numbers, step_mm, subject)
    if numbers[0] not in {0, 1}:
        log.warning(
            "%s: instance numbers run from %d to %d: slices may be missing at an end",
            subject,
            numbers[0],
            numbers[-1],
        )


def _require_every_slice(series: Series, numbers: Sequence[int], step_mm: float, subject: str) -> None:
    declared = {header.between_mm for header in series.headers}
    between_mm = declared.pop() if len(declared) == 1 else None
    if between_mm is None or not between_mm > 0:
        return
    factor = round(step_mm / between_mm)
    skips = {after - before for before, after in pairwise(numbers)}
    if factor >= 2 and abs(step_mm / between_mm - factor) < _WHOLE and skips == {factor}:
        raise VolumeError(
            Code.DICOM_UNEVEN,
            f"{subject}: slices {step_mm:.3g} mm apart and {between_mm:.3g} mm declared, their instance "
            f"numbers {factor} apart: only one of {factor} slices is here; export the whole series",
        )


def _ranges(numbers: Sequence[int], most: int = 6) -> str:
    """``1, 2, 7-9``"""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    told = [str(a) if a == b else f"{a}-{b}" for a, b in runs[:most]]
    return ", ".join(told) + (", ..." if len(runs) > most else "")

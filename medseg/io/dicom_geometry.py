"""The grid of a DICOM series, and the refusal of series whose slices leave no clear one."""

from collections import Counter

import numpy as np
from jaxtyping import Float64

from medseg.errors import Code, VolumeError
from medseg.io.dicom_complete import require_complete
from medseg.io.dicom_privacy import listed_files, shown
from medseg.io.dicom_series import Series
from medseg.volume import Geometry

_LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])
_TOLERANCE_MM = 0.05
_TOLERANCE_OF_STEP = 0.01
_SAME_PLACE_MM = 1e-3
_SHOWN = 5


def series_geometry(series: Series, subject: str) -> Geometry:
    """The grid of sorted slices; a uniform gantry tilt is kept as a sheared affine.

    Source: DICOM PS3.3 C.7.6.2.1.1 (Image Plane), turned from LPS to RAS, rows flipped (see ``dicom``).

    Raises:
        VolumeError: when positions are doubled, missing or uneven, or pixel spacings differ.
    """
    first = series.slices[0]
    _require_one_spacing(series, subject)
    positions = np.array([plane.position_mm for plane in series.slices], dtype=np.float64)
    normal = np.cross(first.row_cosine, first.column_cosine)
    along = np.asarray(positions @ normal, dtype=np.float64)
    _require_distinct(along, series, subject)
    tolerance = _require_even_steps(along, series, subject)
    _require_one_line(positions, tolerance, series, subject)
    step = (positions[-1] - positions[0]) / (len(positions) - 1)
    require_complete(series, float(step @ normal), subject)
    right = np.array(first.row_cosine) * first.spacing_mm[1]
    down = np.array(first.column_cosine) * first.spacing_mm[0]
    lps = np.column_stack([right, -down, step, positions[0] + down * (first.rows - 1)])
    affine = np.eye(4)
    affine[:3] = lps * _LPS_TO_RAS[:, None]
    try:
        return Geometry((first.columns, first.rows, len(positions)), affine)
    except VolumeError as error:
        raise error.about(subject) from None


def _require_one_spacing(series: Series, subject: str) -> None:
    spacings = Counter(plane.spacing_mm for plane in series.slices)
    if np.ptp(np.array(list(spacings)), axis=0).max() > 1e-4:
        listed = ", ".join(f"{rows:g}x{columns:g} mm ({n} slices)" for (rows, columns), n in spacings.items())
        rarest = min(spacings, key=lambda spacing: spacings[spacing])
        odd = listed_files([p.file for p in series.slices if p.spacing_mm == rarest], series.root)
        raise VolumeError(
            Code.DICOM_SPACING,
            f"{subject}: slices of different pixel spacing, {listed}, the fewest in {odd}; give one series",
        )


def _require_distinct(along: Float64[np.ndarray, " n"], series: Series, subject: str) -> None:
    close = np.flatnonzero(np.diff(along) < _SAME_PLACE_MM)
    if len(close):
        pairs = [series.slices[n : n + 2] for n in close[:_SHOWN]]
        names = shown([plane.file for pair in pairs for plane in pair], series.root)
        where = "; ".join(
            f"{along[n]:.2f} mm: {names[2 * m]}, {names[2 * m + 1]}" for m, n in enumerate(close[:_SHOWN])
        )
        more = f" and {len(close) - _SHOWN} more" if len(close) > _SHOWN else ""
        raise VolumeError(
            Code.DICOM_DOUBLED,
            f"{subject}: {len(along)} slices at only {len(along) - len(close)} positions "
            f"(doubled at {where}{more}): copies, or several phases, echoes or b-values in one series; "
            "give one slice a position",
        )


def _require_even_steps(along: Float64[np.ndarray, " n"], series: Series, subject: str) -> float:
    """The tolerance in mm within which the steps are even."""
    gaps = np.diff(along)
    usual = float(np.median(gaps))
    tolerance = max(_TOLERANCE_MM, _TOLERANCE_OF_STEP * usual)
    uneven = [n for n, gap in enumerate(gaps) if abs(gap - usual) > tolerance]
    if uneven:
        pairs = [series.slices[n : n + 2] for n in uneven[:_SHOWN]]
        names = shown([plane.file for pair in pairs for plane in pair], series.root)
        listed = "; ".join(
            f"{_missing(float(gaps[n]), usual)} between {names[2 * m]} at {along[n]:.2f} mm and "
            f"{names[2 * m + 1]} at {along[n + 1]:.2f} mm ({gaps[n]:.3g} mm apart, {usual:.3g} mm expected)"
            for m, n in enumerate(uneven[:_SHOWN])
        )
        more = f"; and {len(uneven) - _SHOWN} more" if len(uneven) > _SHOWN else ""
        raise VolumeError(
            Code.DICOM_UNEVEN,
            f"{subject}: uneven slices: {listed}{more}; export the whole series, or resample it",
        )
    return tolerance


def _require_one_line(
    positions: Float64[np.ndarray, "n 3"], tolerance: float, series: Series, subject: str
) -> None:
    steps = np.arange(len(positions)) / (len(positions) - 1)
    straight = positions[0] + np.outer(steps, positions[-1] - positions[0])
    off = np.linalg.norm(positions - straight, axis=1)
    if off.max() > 2 * tolerance:
        worst = listed_files([series.slices[int(off.argmax())].file], series.root)
        raise VolumeError(
            Code.DICOM_UNEVEN,
            f"{subject}: slices not on one line, {worst} is {off.max():.3g} mm off; export the series anew",
        )


def _missing(gap: float, usual: float) -> str:
    count = round(gap / usual) - 1
    if count < 1 or abs(gap / usual - count - 1) > 0.1:
        return "an uneven step"
    return "1 slice missing" if count == 1 else f"{count} slices missing"

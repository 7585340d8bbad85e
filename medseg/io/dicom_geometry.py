"""The grid of a DICOM series, and the refusal of series whose slices leave no clear one."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from medseg.errors import Code, VolumeError
from medseg.io.dicom_series import Series
from medseg.io.dicom_slices import Slice
from medseg.volume import Geometry

_LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])
_TOLERANCE_MM = 0.05
_TOLERANCE_OF_STEP = 0.01
_SAME_PLACE_MM = 1e-3
_SHOWN = 5


def series_geometry(series: Series, name: str) -> Geometry:
    """The grid of sorted slices; a uniform gantry tilt is kept as a sheared affine.

    Source: DICOM PS3.3 C.7.6.2.1.1 (Image Plane), turned from LPS to RAS, rows flipped (see ``dicom``).

    Raises:
        VolumeError: when positions are doubled, missing or uneven, or pixel spacings differ.
    """
    first = series.slices[0]
    _require_one_spacing(series.slices, name)
    positions = np.array([plane.position_mm for plane in series.slices], dtype=np.float64)
    _require_even_steps(positions, series.slices, name)
    right = np.array(first.row_cosine) * first.spacing_mm[1]
    down = np.array(first.column_cosine) * first.spacing_mm[0]
    step = (positions[-1] - positions[0]) / (len(positions) - 1)
    lps = np.column_stack([right, -down, step, positions[0] + down * (first.rows - 1)])
    affine = np.eye(4)
    affine[:3] = lps * _LPS_TO_RAS[:, None]
    try:
        return Geometry((first.columns, first.rows, len(positions)), affine)
    except VolumeError as error:
        raise error.about(name) from None


def _require_one_spacing(slices: Sequence[Slice], name: str) -> None:
    spacings = Counter(plane.spacing_mm for plane in slices)
    if np.ptp(np.array(list(spacings)), axis=0).max() > 1e-4:
        listed = ", ".join(f"{rows:g}x{columns:g} mm ({n} slices)" for (rows, columns), n in spacings.items())
        raise VolumeError(
            Code.DICOM_SPACING, f"{name}: slices of different pixel spacing, {listed}; give one series"
        )


def _require_even_steps(positions: Float64[np.ndarray, "n 3"], slices: Sequence[Slice], name: str) -> None:
    normal = np.cross(slices[0].row_cosine, slices[0].column_cosine)
    along = np.asarray(positions @ normal, dtype=np.float64)
    gaps = np.diff(along)
    _require_distinct(along, gaps, name)
    usual = float(np.median(gaps))
    tolerance = max(_TOLERANCE_MM, _TOLERANCE_OF_STEP * usual)
    problems = [
        f"{_missing(gap, usual)} between {slices[n].file.name} at {along[n]:.2f} mm and "
        f"{slices[n + 1].file.name} at {along[n + 1]:.2f} mm ({gap:.3g} mm apart, {usual:.3g} mm expected)"
        for n, gap in enumerate(float(g) for g in gaps)
        if abs(gap - usual) > tolerance
    ]
    if problems:
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        listed = "; ".join(problems[:_SHOWN])
        raise VolumeError(
            Code.DICOM_UNEVEN,
            f"{name}: uneven slices: {listed}{more}; export the whole series, or resample it",
        )
    straight = positions[0] + np.outer(
        np.arange(len(positions)), (positions[-1] - positions[0]) / (len(positions) - 1)
    )
    off = np.linalg.norm(positions - straight, axis=1)
    if off.max() > 2 * tolerance:
        worst = slices[int(off.argmax())].file.name
        raise VolumeError(
            Code.DICOM_UNEVEN,
            f"{name}: slices not on one line, {worst} is {off.max():.3g} mm off; export the series anew",
        )


def _require_distinct(along: Float64[np.ndarray, " n"], gaps: Float64[np.ndarray, " m"], name: str) -> None:
    doubled = int((gaps < _SAME_PLACE_MM).sum())
    if doubled:
        places = 1 + int((gaps >= _SAME_PLACE_MM).sum())
        where = ", ".join(f"{along[n]:.2f}" for n in np.flatnonzero(gaps < _SAME_PLACE_MM)[:_SHOWN])
        raise VolumeError(
            Code.DICOM_DOUBLED,
            f"{name}: {len(along)} slices at only {places} positions (doubled at {where} mm): copies, or "
            "several phases, echoes or b-values in one series; give one slice a position",
        )


def _missing(gap: float, usual: float) -> str:
    count = round(gap / usual) - 1
    if count < 1 or abs(gap / usual - count - 1) > 0.1:
        return "an uneven step"
    return "1 slice missing" if count == 1 else f"{count} slices missing"

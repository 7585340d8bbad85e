"""Where structures lie: to each other, to the left and right, and to what the image shows."""

from collections.abc import Iterator
from itertools import combinations
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64
from scipy import ndimage

from medseg.audit.cohort import AXES, Cohort
from medseg.audit.contrast import REACH
from medseg.audit.findings import Finding, of_case
from medseg.audit.robust import ENOUGH, centre_and_spread, deviations

MOST = 0.9
"""Share of the cases that must agree before one that does not is told."""

CLEAR = 4.0
"""Two structures have an order along an axis when they are this many deviations apart in the cohort."""

STANDS_OUT, STRONG = 2.0, 6.0
"""A structure's contrast counts when its median is this many deviations of the cohort from 0; references are
judged by it when all together reach ``STRONG``."""

LOST, LOST_FAR, BACK = 0.35, 3.5, 0.65
"""Contrast where it is drawn, of what is usual: lost below ``LOST`` and ``LOST_FAR`` deviations; back above
``BACK`` at another place."""

TURNED = 0.05
_COARSE = 12


def left_right(cohort: Cohort) -> Iterator[Finding]:
    """Left lies left of right, or the other way round in the whole cohort."""
    names = list(cohort.experiment.labels)
    pairs = [(names[left - 1], names[right - 1]) for left, right in cohort.experiment.class_pairs]
    across: dict[str, list[float]] = {}
    for name, each in cohort.facts.items():
        both = [(each.drawn[a], each.drawn[b]) for a, b in pairs if a in each.drawn and b in each.drawn]
        if both:
            across[name] = [right.centre_mm[0] - left.centre_mm[0] for left, right in both]
    if not across:
        return
    told = {name: float(np.median(values)) for name, values in across.items()}
    backwards = [name for name, value in told.items() if value < 0]
    usual = len(backwards) <= len(told) / 2
    if not usual and len(backwards) >= MOST * len(told):
        text = f"left structures lie to the patient's right in {len(backwards)} of {len(told)} cases"
        yield Finding("left-is-right", "cohort", text, "look whether names or affines are meant so")
    for name, value in told.items():
        if (value < 0) == usual:
            text = (
                f"{_pair(pairs)} lie the wrong way round (left {abs(value):.0f} mm to the "
                f"{'right' if value < 0 else 'left'} of right; {len(told) - 1} others compared)"
            )
            fix = "exchange the label values, or correct the affine if the image is mirrored"
            yield of_case("left-right-swapped", name, text, fix)


def _pair(pairs: list[tuple[str, str]]) -> str:
    return " and ".join(pairs[0]) if len(pairs) == 1 else f"{len(pairs)} left/right pairs"


def order(cohort: Cohort) -> Iterator[Finding]:
    """What lies above, before or beside what, where the whole cohort agrees."""
    labels = list(cohort.experiment.labels)
    sides = {frozenset((labels[a - 1], labels[b - 1])) for a, b in cohort.experiment.class_pairs}
    reversed_in: dict[tuple[str, int], list[str]] = {}
    for a, b in combinations(labels, 2):
        both = [name for name, each in cohort.facts.items() if a in each.drawn and b in each.drawn]
        if len(both) < ENOUGH:
            continue
        apart = np.array(
            [
                np.subtract(cohort.facts[n].drawn[a].centre_mm, cohort.facts[n].drawn[b].centre_mm)
                for n in both
            ]
        )
        for axis in range(3):
            if axis == 0 and frozenset((a, b)) in sides:
                continue
            centre, spread = centre_and_spread(apart[:, axis], 1.0)
            if abs(centre) < CLEAR * spread:
                continue
            for name, value in zip(both, apart[:, axis], strict=True):
                if value * centre < 0 and abs(value) > spread:
                    reversed_in.setdefault((name, axis), []).append(f"{a} and {b}")
    for (name, axis), pairs in reversed_in.items():
        told = f"{', '.join(pairs[:3])} are in the other order {AXES[axis]} than in the rest of the cohort"
        fix = "look whether the reference, or its order of slices, is turned over"
        yield of_case("structures-out-of-order", name, told, fix)


class _Fit(NamedTuple):
    """Of a case's reference: contrast of what is usual, here, at its best shift, and mirrored."""

    here: float
    best: float
    shift_mm: tuple[float, float, float]
    mirrored: tuple[float, float, float]


def shifted(cohort: Cohort) -> Iterator[Finding]:
    """References whose structures do not stand out where they are drawn, and would elsewhere."""
    fits = _fits(cohort)
    if len(fits) < ENOUGH:
        return
    off = deviations(np.array([fit.here for fit in fits.values()]), 0.1)
    for (name, fit), far in zip(fits.items(), off, strict=True):
        if fit.here >= LOST or far > -LOST_FAR:
            continue
        lost = (
            f"its structures show {100 * max(0.0, fit.here):.0f} % of the usual contrast where they are drawn"
        )
        axis = int(np.argmax(fit.mirrored))
        if fit.mirrored[axis] > max(BACK, fit.best):
            told = f"{lost}, and {100 * fit.mirrored[axis]:.0f} % with the reference turned over {AXES[axis]}"
            yield of_case("label-mirrored", name, told, "correct the order of its slices, or its affine")
        elif fit.best > BACK:
            by = ", ".join(f"{mm:+.3g}" for mm in fit.shift_mm)
            told = f"{lost}, and {100 * fit.best:.0f} % moved by ({by}) mm right, anterior, superior"
            yield of_case("label-shifted", name, told, "correct the reference's origin, or draw it anew")
        else:
            fix = "look whether it belongs to this image"
            yield of_case("label-shifted", name, f"{lost}, and nowhere near more than half", fix)


def _fits(cohort: Cohort) -> dict[str, _Fit]:
    """Each case whose drawn structures usually stand out; structures are weighed by how surely they do."""
    if not cohort.comparable:
        return {}
    here = np.array([each.contrast.here for each in cohort.facts.values()], np.float64)
    usual, spread = np.zeros(here.shape[1]), np.ones(here.shape[1])
    for place in range(here.shape[1]):
        known = here[np.isfinite(here[:, place]), place]
        if len(known) >= ENOUGH:
            usual[place], spread[place] = centre_and_spread(known, 0.02)
    sure = np.abs(usual) / spread
    weight = np.where(sure >= STANDS_OUT, usual / spread**2, 0.0)
    found = {}
    for (name, each), contrasts in zip(cohort.facts.items(), here, strict=True):
        use = np.isfinite(contrasts) & (weight != 0)
        if float(np.sqrt((sure[use] ** 2).sum())) < STRONG:
            continue
        share = weight[use] / (weight[use] * usual[use]).sum()
        moved = np.tensordot(share, each.contrast.shifted[use].astype(np.float64), 1)
        top = np.unravel_index(int(np.argmax(moved)), moved.shape)
        x, y, z = ((int(p) - REACH) * mm for p, mm in zip(top, each.contrast.cell_mm, strict=True))
        a, b, c = (float(m) for m in share @ each.contrast.mirrored[use])
        found[name] = _Fit(float((share * contrasts[use]).sum()), float(moved[top]), (x, y, z), (a, b, c))
    return found


def mirrored(cohort: Cohort) -> Iterator[Finding]:
    """Scans that look like the mean of the others only when they are turned over along an axis."""
    if not cohort.comparable:
        return
    small = np.array([_coarse(each.thumbnail.cells) for each in cohort.facts.values()])
    total = small.sum(axis=0)
    for axis in range(3):
        gaps = np.array([_gap(each, total - each, axis) for each in small])
        if np.mean(gaps > TURNED) < MOST - 1 / len(gaps):
            continue
        for name, gap in zip(cohort.ids, gaps, strict=True):
            if gap < -TURNED:
                told = f"it is like the other scans when it is turned over {AXES[axis]}, and not as it lies"
                yield of_case("mirrored", name, told, "correct its affine, or its order of slices")


def _coarse(cells: np.ndarray) -> Float64[np.ndarray, "12 12 12"]:
    """All of a scan in few cells, whatever its size, without brightness and contrast."""
    factor = [_COARSE / n for n in cells.shape]
    found = ndimage.zoom(cells.astype(np.float64), factor, order=1, mode="nearest", grid_mode=True)
    return np.asarray((found - found.mean()) / max(float(np.linalg.norm(found - found.mean())), 1e-9))


def _gap(one: np.ndarray, others: np.ndarray, axis: int) -> float:
    """How much more like the others it is as it lies, in correlation."""
    other = others / max(float(np.linalg.norm(others)), 1e-9)
    return float((one * other).sum() - (np.flip(one, axis) * other).sum())


RULES = (left_right, order, shifted, mirrored)

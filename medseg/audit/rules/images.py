"""Scans by themselves: their spacing, and the scale and kind of their intensities."""

from collections.abc import Iterator
from itertools import combinations

import numpy as np
from jaxtyping import Float64

from medseg.audit.cohort import Cohort
from medseg.audit.findings import Finding, of_case
from medseg.audit.look import FEW_VALUES, CaseFacts
from medseg.audit.robust import ENOUGH, centre_and_spread, deviations

FAR = 8.0

SMALLEST_MM, LARGEST_MM = 10.0, 5000.0
"""Of the longest side of a scan; beyond, its unit is not the millimetre."""

SPACING_FLOOR = float(np.log(2)) / FAR
RANGE_FLOOR, SHIFT_FLOOR, SHAPE_FLOOR, INSIDE_FLOOR = 0.1, 0.03, 0.01, 0.1
"""Of the logarithm of the range of intensities; of their shift, as a share of the usual range; of 1 minus the
correlation of their percentiles with the usual ones; of the median inside a structure."""

ALIKE, SAME_SCALE = 0.97, 0.15
EXCHANGED, UNLIKE = 0.5, 3.0


def flat(cohort: Cohort) -> Iterator[Finding]:
    masks: list[tuple[str, int, int]] = []
    for name, each in cohort.facts.items():
        for number, channel in enumerate(each.channels, start=1):
            if channel.distinct == 1:
                told = f"every voxel of {_named(cohort, number)} is {channel.quantiles[0]:g}"
                yield of_case("constant-image", name, told, "export it anew, or take the case out")
            elif channel.distinct < FEW_VALUES:
                masks.append((name, number, channel.distinct))
    for name, number, distinct in masks:
        if len({case for case, *_ in masks}) <= len(cohort.facts) / 2:
            told = (
                f"{_named(cohort, number)} has {distinct} different values, as a mask has and the others not"
            )
            yield of_case("image-is-a-mask", name, told, "exchange image and reference, or correct the path")


def spacing(cohort: Cohort) -> Iterator[Finding]:
    sizes = np.array([each.look.size_mm for each in cohort.facts.values()])
    steps = np.array([each.look.spacing_mm for each in cohort.facts.values()])
    if not len(sizes):
        return
    powers = np.log10(sizes / np.median(sizes, axis=0)) if cohort.comparable else np.zeros_like(sizes)
    far = np.stack([deviations(np.log(steps[:, axis]), SPACING_FLOOR) for axis in range(3)], axis=1)
    for at, name in enumerate(cohort.ids):
        size, step = _by(sizes[at], "x"), _by(steps[at], "x")
        power = float(np.median(powers[at]))
        alike = np.ptp(powers[at]) < 0.5 and abs(power - round(power)) < 0.35
        if (round(power) != 0 and alike) or not SMALLEST_MM < sizes[at].max() < LARGEST_MM:
            usual = _by(np.median(sizes, axis=0), "x")
            told = f"the scan is {size} mm large by its header, the median is {usual} mm"
            fix = "its spacing is in another unit: write millimetres"
            yield of_case("spacing-unit", name, told, fix)
        elif (np.abs(far[at]) > FAR).any():
            told = f"voxels of {step} mm, the median is {_by(np.median(steps, axis=0), 'x')} mm"
            yield of_case("spacing-outlier", name, told, "look whether its header is right")


def intensities(cohort: Cohort) -> Iterator[Finding]:
    """Where preprocessing brings each scan to its own range, as in MR, the scale does not matter."""
    for channel in range(cohort.experiment.channel_count if cohort.comparable else 0):
        told = cohort.experiment.preprocessing.intensity
        own_range = told[min(channel, len(told) - 1)].kind in ("zscore", "percentile", "minmax")
        found = cohort.quantiles(channel)
        usual = np.median(found, axis=0)
        wide = max(float(usual[-1] - usual[0]), 1e-12)
        ranges = np.log(np.maximum(found[:, -2] - found[:, 1], 1e-9))
        moved = np.median(found - usual, axis=1) / wide
        like = np.array([_correlation(each, usual) for each in found])
        far = np.stack(
            [
                np.abs(deviations(ranges, RANGE_FLOOR)),
                np.abs(deviations(moved, SHIFT_FLOOR)),
                deviations(1 - like, SHAPE_FLOOR),
            ]
        )
        for at, name in enumerate(cohort.ids):
            if (far[2 if own_range else 0 :, at] > FAR).any():
                yield _scale(name, _named(cohort, channel + 1), found[at], usual)


def _scale(case: str, image: str, found: np.ndarray, usual: np.ndarray) -> Finding:
    """What the percentiles of ``found`` are beside the usual ones: shifted, rescaled, or of another kind."""
    told = f"the middle of {image} is {found[3]:.4g} ({found[0]:.4g} to {found[-1]:.4g}); usual are "
    told += f"{usual[3]:.4g} ({usual[0]:.4g} to {usual[-1]:.4g})"
    slope = float(np.polyfit(usual, found, 1)[0])
    if _correlation(found, usual) < ALIKE:
        fix = "another modality, sequence or region: take it out, or correct the path"
        return of_case("other-modality", case, told, fix)
    if abs(slope - 1) < SAME_SCALE:
        by = float(np.median(found - usual))
        return of_case("intensity-shifted", case, f"{told}, shifted by about {by:+.4g}", "shift it back")
    text = f"{told}, about {slope:.3g} times the usual scale"
    return of_case("intensity-rescaled", case, text, "bring all to one unit, as Hounsfield units")


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def inside(cohort: Cohort) -> Iterator[Finding]:
    """The intensities inside a structure are unusual, both as they are and as a share of the scan's range."""
    for structure in cohort.experiment.labels:
        shown = cohort.drawn(structure)
        if len(shown) < ENOUGH:
            continue
        values = np.array([_share(each, structure, 0) for each in shown.values()])
        plain = np.array([each.drawn[structure].inside[0][1] for each in shown.values()])
        wide = float(np.median([np.ptp(each.channels[0].quantiles) for each in shown.values()]))
        far = np.minimum(
            np.abs(deviations(values, INSIDE_FLOOR)), np.abs(deviations(plain / wide, INSIDE_FLOOR / 2))
        )
        for name, value, off in zip(shown, plain, far, strict=True):
            if off > FAR:
                usual = float(np.median(plain))
                told = f"inside {structure} the image is {value:.4g} in the middle, usual is {usual:.4g}"
                yield of_case("label-intensity", name, told, "look whether the reference fits the image")


def channels(cohort: Cohort) -> Iterator[Finding]:
    """Each channel of a case is compared with that channel, and with the others, of the cohort."""
    count = cohort.experiment.channel_count
    if count < 2 or not cohort.comparable:
        return
    features = np.array(
        [[_features(cohort, each, channel) for channel in range(count)] for each in cohort.facts.values()]
    )
    flat = features.reshape(len(features), -1)
    told = [centre_and_spread(column[np.isfinite(column)], 0.1) for column in flat.T]
    centre = np.array([c for c, _ in told]).reshape(features.shape[1:])
    spread = np.array([s for _, s in told]).reshape(features.shape[1:])
    names = list(cohort.experiment.data.channels or ())
    for name, each in zip(cohort.ids, features, strict=True):
        cost = np.array(
            [
                [np.nanmean(np.abs(each[i] - centre[j]) / spread[j]) for j in range(count)]
                for i in range(count)
            ]
        )
        for i, j in combinations(range(count), 2):
            own, other = cost[i, i] + cost[j, j], cost[i, j] + cost[j, i]
            if own > 2 * UNLIKE and other < EXCHANGED * own:
                text = f"{names[i]} looks like the others' {names[j]}, and {names[j]} like their {names[i]}"
                yield of_case("channels-exchanged", name, text, "exchange the two files")


def _features(cohort: Cohort, each: CaseFacts, channel: int) -> Float64[np.ndarray, " f"]:
    """The form of a channel's intensities, and where structures lie in it; NaN for what is not drawn."""
    q = np.array(each.channels[channel].quantiles)
    wide = max(float(q[-2] - q[1]), 1e-9)
    drawn = [
        _share(each, structure, channel) if structure in each.drawn else np.nan
        for structure in cohort.experiment.labels
    ]
    return np.array([*((q - q[3]) / wide), np.log(wide), *drawn])


def _share(each: CaseFacts, structure: str, channel: int) -> float:
    q = each.channels[channel].quantiles
    return (each.drawn[structure].inside[channel][1] - q[3]) / max(q[-2] - q[1], 1e-9)


def _named(cohort: Cohort, number: int) -> str:
    names = list(cohort.experiment.data.channels or ())
    return f"channel {names[number - 1]}" if len(names) > 1 else "the image"


def _by(values: np.ndarray, mark: str) -> str:
    return mark.join(f"{value:.3g}" for value in values)


RULES = (flat, intensities, inside, channels)

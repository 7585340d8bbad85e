"""Grid, patch and stages from the fingerprint: pure functions; docs/planning.md has the reasons."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from medseg.models.layout import SHORTEST, Layout, total_stride
from medseg.planning.fingerprint import Fingerprint
from medseg.transforms.grid import Spacing
from medseg.volume import Shape

THICK = 3.0
"""Slices this many times as thick as their pixels are wide are thick."""
CONTEXT = 0.25
"""A patch sees at least this share of the median scan, where voxels can be made larger for it."""
SMALLEST_STRUCTURE_VOXELS = 8
"""The smallest structure keeps this many voxels across, along each axis, when voxels are made larger."""
KEPT_BY_CROP = 0.75
"""A crop is worth it where it leaves less than this of the median scan."""
DEEPEST = 6
MOST_CHANNELS = 320
_ALIKE = 2.0  # spacings closer than this are pooled together


@dataclass(frozen=True)
class Chosen:
    """A value of the configuration and why."""

    value: object
    reason: str


def crop(found: Fingerprint) -> tuple[Chosen | None, Spacing]:
    """The crop, if one pays, and the size of the median scan after it (mm)."""
    if found.nonzero_share < KEPT_BY_CROP:
        share = f"{100 * found.nonzero_share:.0f} %"
        return Chosen("nonzero", f"what is not 0 fills {share} of the median scan"), found.nonzero_size_mm
    if found.modality == "ct" and found.body_share < KEPT_BY_CROP and not found.body_loses:
        value = {"above": found.body_above, "margin_mm": 5}
        return Chosen(
            value, f"the body fills {100 * found.body_share:.0f} % of the median scan; no label is cut"
        ), found.body_size_mm
    return None, found.size_mm


def spacing(found: Fingerprint) -> Chosen:
    """The median; across thick slices the 10th percentile, so that the thinner half loses no slices."""
    values = list(found.spacing_mm)
    thick = int(np.argmax(values))
    if values[thick] / min(values) >= THICK:
        others = [value for axis, value in enumerate(values) if axis != thick]
        values[thick] = max(found.spacing_p10_mm[thick], *others)
        return Chosen(
            tuple(values), "the median; across the thick slices the 10th percentile, so that few are lost"
        )
    return Chosen(tuple(values), f"the median of {found.cases} scans")


def coarsened(
    spacing_mm: Spacing, size_mm: Spacing, voxels: int, smallest_mm: Spacing
) -> tuple[Spacing, bool]:
    """Larger voxels, the finest axes first, until ``voxels`` cover ``CONTEXT`` of the median scan.

    No axis goes beyond a ``SMALLEST_STRUCTURE_VOXELS``-th of the smallest structure.
    """
    limits = [max(s, e / SMALLEST_STRUCTURE_VOXELS) for s, e in zip(spacing_mm, smallest_mm, strict=True)]
    now = list(spacing_mm)
    for level in np.geomspace(min(spacing_mm), max(limits), 40):
        now = [min(limit, max(s, float(level))) for s, limit in zip(spacing_mm, limits, strict=True)]
        if voxels >= CONTEXT * prod(n / s for n, s in zip(size_mm, now, strict=True)):
            break
    i, j, k = (round(s, 3) for s in now)
    same = max(n / s for n, s in zip((i, j, k), spacing_mm, strict=True)) < 1.05
    return (spacing_mm, False) if same else ((i, j, k), True)


def is_flat(spacing_mm: Spacing, size_mm: Spacing) -> int | None:
    """The axis with so few slices that a 3D network could not halve it once; None when there is no such."""
    shape = [n / s for n, s in zip(size_mm, spacing_mm, strict=True)]
    axis = int(np.argmin(shape))
    return axis if shape[axis] < 2 * SHORTEST else None


def patch(spacing_mm: Spacing, size_mm: Spacing, voxels: int, flat: int | None) -> tuple[Shape, Layout]:
    """A patch of about ``voxels``, as wide in millimetres along each axis as the median scan lets it be, and
    the strides and kernels of its stages. ``flat``: the axis of which one slice is taken."""
    shape = [n / s for n, s in zip(size_mm, spacing_mm, strict=True)]
    if flat is not None:
        shape[flat] = 1.0
    sizes = [max(1, int(np.ceil(n - 0.01))) for n in _within(shape, spacing_mm, voxels)]
    layout = stages(sizes, spacing_mm)
    rounded = []
    for n, whole, multiple in zip(sizes, shape, total_stride(layout.strides), strict=True):
        up = -(-n // multiple) * multiple
        down = max(multiple, n // multiple * multiple)
        rounded.append(up if n >= whole - 0.01 or up - n <= n - down else down)
    i, j, k = rounded
    return (i, j, k), layout


def _within(shape: Sequence[float], spacing_mm: Spacing, voxels: int) -> list[float]:
    """The largest cube in millimetres, cut to the scan, of at most ``voxels``."""
    if prod(shape) <= voxels:
        return list(shape)
    low, high = 0.0, max(n * s for n, s in zip(shape, spacing_mm, strict=True))
    for _ in range(50):
        side = (low + high) / 2
        if prod(min(n, side / s) for n, s in zip(shape, spacing_mm, strict=True)) > voxels:
            high = side
        else:
            low = side
    return [min(n, max(1.0, low / s)) for n, s in zip(shape, spacing_mm, strict=True)]


def stages(size: Sequence[int], spacing_mm: Spacing) -> Layout:
    """Halve axes that keep ``SHORTEST`` voxels; thick ones wait until the others are as coarse.

    A kernel is flat across an axis twice as coarse as the finest, until pooling has made them alike
    (Isensee 2021).
    """
    left, now = [float(n) for n in size], [float(s) for s in spacing_mm]
    strides, kernels = [(1, 1, 1)], [_kernel(left, now)]
    while len(strides) < DEEPEST:
        able = [axis for axis in range(3) if left[axis] >= 2 * SHORTEST]
        if not able:
            break
        finest = min(now[axis] for axis in able)
        step = tuple(2 if axis in able and now[axis] < _ALIKE * finest else 1 for axis in range(3))
        left = [float(np.ceil(n / s)) for n, s in zip(left, step, strict=True)]
        now = [mm * s for mm, s in zip(now, step, strict=True)]
        strides.append((step[0], step[1], step[2]))
        kernels.append(_kernel(left, now, kernels[-1]))
    if len(strides) == 1:  # a network has two stages at least
        strides.append((1, 1, 1))
        kernels.append(kernels[-1])
    return Layout(tuple(strides), tuple(kernels))


def _kernel(
    left: Sequence[float], now: Sequence[float], before: tuple[int, ...] = (1, 1, 1)
) -> tuple[int, int, int]:
    finest = min(now)
    i, j, k = (
        1 if n <= 1 else 3 if b == 3 or mm < _ALIKE * finest else 1
        for n, mm, b in zip(left, now, before, strict=True)
    )
    return i, j, k


def channels(base: int, depth: int) -> tuple[int, ...]:
    """Doubled from stage to stage, up to ``MOST_CHANNELS``."""
    return tuple(min(base * 2**stage, MOST_CHANNELS) for stage in range(depth))


def foreground(found: Fingerprint) -> Chosen:
    """Patches centred on a structure: more of them the less of a scan structures fill."""
    share = found.labelled_share
    value = 0.5 if share >= 0.05 else 0.7 if share >= 0.005 else 0.9
    return Chosen(value, f"structures fill {100 * share:.2g} % of the median scan")


def split(patients: int) -> dict[str, Chosen]:
    """Held out and folds; small cohorts keep a patient for each."""
    if patients >= 10:
        return {
            "held_out": Chosen(0.2, "share of patients kept for the final test"),
            "folds": Chosen(5, "the others are cut into five; fold 0 validates"),
        }
    held_out = 1 if patients >= 3 else 0
    folds = min(5, patients - held_out)
    kept = "one patient, there are few" if held_out else "none: there are too few for an honest test"
    return {
        "held_out": Chosen(held_out, kept),
        "folds": Chosen(folds, f"of the {patients - held_out} patients that are left"),
    }

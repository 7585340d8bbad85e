"""Intensities, augmentation and postprocessing from the fingerprint: rules with their reasons."""

import re
from typing import Any

import numpy as np

from medseg.config import find_left_right_pairs
from medseg.planning.fingerprint import Fingerprint
from medseg.planning.rules import THICK, Chosen
from medseg.transforms.grid import Spacing

ERASED = 0.25
"""With more zeros than this the background was erased, and says nothing about intensity."""
_LESION = re.compile(r"tumou?r|lesion|metasta|cancer|nodule|oedema|edema|cyst|infarct", re.IGNORECASE)
_ONE_PART = 0.95


def intensity(found: Fingerprint) -> Chosen:
    """CT numbers mean the same in every scan, MR's do not."""
    if found.modality == "ct":
        spread = f"{found.labelled_median.low:.0f} to {found.labelled_median.high:.0f}"
        return Chosen(
            {"kind": "fitted"},
            f"CT: one scale for all scans (median inside labels {spread}), from this cohort",
        )
    region = "nonzero" if found.zeros > ERASED else "whole"
    low, high = found.labelled_median.low, found.labelled_median.high
    apart = f"values differ {high / low:.2g}-fold between scans" if low > 0 else "values have no common scale"
    return Chosen({"kind": "zscore", "region": region}, f"no CT: {apart}, so each scan is scaled by itself")


def augmentation(found: Fingerprint, spacing_mm: Spacing, flat: int | None) -> list[Chosen]:
    """Spatial first, then intensities."""
    told = [Chosen(_spatial(found, spacing_mm, flat), _turned(spacing_mm, flat))]
    flip = _flip(found)
    if flip is not None:
        told.append(flip)
    finest = min(s for axis, s in enumerate(spacing_mm) if axis != flat)
    common: list[dict[str, Any]] = [
        {"kind": "noise", "p": 0.15, "std": 0.1},
        {"kind": "blur", "p": 0.1, "std_mm": round(0.8 * finest, 2)},
        {"kind": "brightness_contrast", "p": 0.2, "brightness": 0.1, "contrast": 0.2},
        {"kind": "gamma", "p": 0.2, "log_gamma": 0.3 if found.modality == "mr" else 0.2},
    ]
    reasons = ("", "below a voxel", "", "")
    told += [Chosen(value, reason) for value, reason in zip(common, reasons, strict=True)]
    if found.modality == "mr":
        told.append(
            Chosen(
                {"kind": "bias_field", "p": 0.15, "coefficients": 0.3}, "MR: coils see near tissue brighter"
            )
        )
    return told


def _spatial(found: Fingerprint, spacing_mm: Spacing, flat: int | None) -> dict[str, Any]:
    smallest = min(max(one.extent_mm) for one in found.structures)
    shift = round(min(10.0, 2 * max(spacing_mm)), 1)
    displacement = round(min(8.0, max(0.1 * smallest, min(spacing_mm))), 1)
    thick = flat if flat is not None else _thick(spacing_mm)
    angle: Any = 15 if thick is None else [15 if axis == thick else 0 for axis in range(3)]
    return {
        "kind": "spatial",
        "p": 0.5,
        "rotation_deg": angle,
        "scale": 0.15,
        "shift_mm": shift,
        "elastic": {"points": 5, "max_mm": displacement},
    }


def _turned(spacing_mm: Spacing, flat: int | None) -> str:
    if flat is not None or _thick(spacing_mm) is not None:
        return "turned within slices only, which are too thick to turn out of"
    return "elastic up to a tenth of the smallest structure"


def _thick(spacing_mm: Spacing) -> int | None:
    axis = int(np.argmax(spacing_mm))
    return axis if spacing_mm[axis] / min(spacing_mm) >= THICK else None


def _flip(found: Fingerprint) -> Chosen | None:
    """Only where the mirror image of a patient could be a patient."""
    names = tuple(one.name for one in found.structures)
    if find_left_right_pairs(names):
        return Chosen({"kind": "flip", "p": 0.5, "axes": ["left_right"]}, "left and right swap their labels")
    if all(_LESION.search(name) for name in names):
        axes = ["left_right", "posterior_anterior"]
        return Chosen({"kind": "flip", "p": 0.5, "axes": axes}, "a lesion may lie on either side")
    return None


def largest_component(found: Fingerprint) -> Chosen:
    """Structures that are one part in the references."""
    names = [one.name for one in found.structures if one.one_part >= _ONE_PART]
    return Chosen(names, "in one part in at least 95 % of the references" if names else "none is in one part")


def tolerance(spacing_mm: Spacing) -> Chosen:
    """About a voxel: below it, references differ from one another."""
    return Chosen(float(np.clip(round(float(np.median(spacing_mm)) * 2) / 2, 1.0, 3.0)), "about a voxel")

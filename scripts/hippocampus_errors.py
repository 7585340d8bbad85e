#!/usr/bin/env python
"""Where masks of the hippocampus differ from what people drew: the outline, or the division into two parts.

    python scripts/hippocampus_errors.py /path/to/hippocampus RUN/masks/fold_*

Takes the cohort (Medical Segmentation Decathlon Task04) and folders with masks of it, as
``pipelines/cross_validation.smk`` leaves them. In the references the two parts meet at a coronal plane; the
plane of a mask is the one that disagrees with the fewest of its voxels.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from medseg.errors import MedsegError
from medseg.io import read_label, read_volume
from medseg.training.validate import dice_by_class

PARTS = {"anterior": 1, "posterior": 2}
SCALES = {"up to 100": (0, 100), "100 to 10,000": (100, 1e4), "above 10,000": (1e4, np.inf)}
"""Of the mean raw intensity: the cohort's scans come in three kinds that nothing else in the files tells."""


@dataclass(frozen=True)
class Errors:
    """Of one mask. ``shift``: slices by which its plane lies further back (-) or in front (+)."""

    number: int
    intensity: float
    as_it_is: float
    together: float
    plane_of_reference: float
    outline_of_reference: float
    shift: int


def mean_dice(reference: np.ndarray, mask: np.ndarray, classes: int) -> float:
    return float(np.mean([dice or 0.0 for dice in dice_by_class(mask, reference, classes + 1)[1:]]))


def plane(classes: np.ndarray) -> int:
    """The first anterior slice along j (posterior to anterior), for the fewest voxels on the wrong side."""
    anterior, posterior = (np.sum(classes == value, axis=(0, 2)) for value in PARTS.values())
    before, behind = np.cumsum(np.append(0, anterior)), np.cumsum(np.append(0, posterior))
    return int(np.argmin(before + behind[-1] - behind))


def divided(inside: np.ndarray, at: int) -> np.ndarray:
    front = np.arange(inside.shape[1])[None, :, None] >= at
    return np.where(inside, np.where(front, PARTS["anterior"], PARTS["posterior"]), 0).astype(np.uint8)


def errors_of(image: Path, label: Path, mask: Path) -> Errors:
    reference, found = read_label(label).array.astype(np.uint8), read_label(mask).array.astype(np.uint8)
    theirs, ours = plane(reference), plane(found)
    return Errors(
        int("".join(letter for letter in image.name if letter.isdigit())),
        float(read_volume(image).array.mean()),
        mean_dice(reference, found, 2),
        mean_dice((reference > 0).astype(np.uint8), (found > 0).astype(np.uint8), 1),
        mean_dice(reference, divided(found > 0, theirs), 2),
        mean_dice(reference, divided(reference > 0, ours), 2),
        ours - theirs,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cohort", type=Path)
    parser.add_argument(
        "masks", type=Path, nargs="+", help="folders with ID_seg.nii.gz; the first with a case counts"
    )
    args = parser.parse_args()
    found: dict[str, Path] = {}
    for folder in args.masks:
        for mask in sorted(folder.glob("*_seg.nii.gz")):
            found.setdefault(mask.name.removesuffix("_seg.nii.gz"), mask)
    images, labels = args.cohort / "images", args.cohort / "labels"
    errors = [errors_of(images / f"{case}.nii.gz", labels / f"{case}.nii.gz", m) for case, m in found.items()]
    if not errors:
        raise SystemExit("no masks there")
    print(f"{len(errors)} masks")
    for what in ("as_it_is", "together", "plane_of_reference", "outline_of_reference"):
        values = [getattr(one, what) for one in errors]
        print(f"Dice, {what.replace('_', ' '):21} {np.mean(values):.3f}")
    shifts = np.array([one.shift for one in errors])
    counts = np.bincount(np.abs(shifts))
    print(
        f"plane: off by {shifts.mean():+.2f} slices (SD {shifts.std():.2f}); masks off by 0, 1, ...: {counts}"
    )
    for name, (low, high) in SCALES.items():
        some = [one for one in errors if low <= one.intensity < high]
        if some:
            off, score = np.mean([one.shift for one in some]), np.mean([one.as_it_is for one in some])
            print(f"mean intensity {name:14} {len(some):3} masks, plane {off:+.2f}, Dice {score:.3f}")
    ordered = sorted(errors, key=lambda one: one.number)
    for half in (ordered[: len(ordered) // 2], ordered[len(ordered) // 2 :]):
        score = np.mean([one.as_it_is for one in half])
        print(f"cases {half[0].number} to {half[-1].number}: Dice {score:.3f}")
    found_rank = spearmanr([one.number for one in errors], [one.as_it_is for one in errors])
    print(f"case number and Dice: rank correlation {found_rank.statistic:.2f} (p = {found_rank.pvalue:.2g})")


if __name__ == "__main__":
    try:
        main()
    except MedsegError as error:
        raise SystemExit(str(error)) from None

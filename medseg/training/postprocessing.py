"""Postprocessing chosen on masks that the networks made of patients they did not learn from.

A rule is taken for a structure only where it helps: the 95 % interval of the mean gain in Dice over patients
(BCa bootstrap) lies above 0. As in nnU-Net (Isensee 2021) the masks are those of cross-validation; unlike
there, a mean that is better by chance is not enough.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Integer
from scipy import ndimage

from medseg.config import Experiment
from medseg.config.inference import PostprocessingConfig
from medseg.data import Case, load_case
from medseg.data.regrid import place_label
from medseg.errors import Code, CohortError
from medseg.evaluation.bootstrap import Interval, bca_interval, resample_patients
from medseg.evaluation.confusion import to_classes
from medseg.io import read_label

MINIMA_ML = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""Volumes that are tried; those above half of a structure's smallest reference are not."""

CRITERION = (
    "a rule is taken where the 95 % interval of its mean gain in Dice over patients (BCa bootstrap) lies "
    "above 0; of those the one with the largest gain. A structure neither drawn nor predicted has Dice 1."
)
_NEIGHBOURS_26 = np.ones((3, 3, 3), dtype=bool)


@dataclass(frozen=True, eq=False)
class Parts:
    """Connected parts (26 neighbours) of one structure in one mask, and their share of the reference."""

    patient: str
    volumes_ml: Float64[np.ndarray, " parts"]
    shared_ml: Float64[np.ndarray, " parts"]
    reference_ml: float

    def dice(self, rule: "Rule") -> float:
        """Of the parts that ``rule`` keeps."""
        kept = self.volumes_ml >= rule.minimum_ml
        if rule.largest and len(kept):
            kept &= np.arange(len(kept)) == int(np.argmax(self.volumes_ml))
        total = float(self.volumes_ml[kept].sum()) + self.reference_ml
        return 2 * float(self.shared_ml[kept].sum()) / total if total else 1.0


@dataclass(frozen=True)
class Rule:
    largest: bool = False
    minimum_ml: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return {"largest_component": self.largest, "minimum_volume_ml": self.minimum_ml or None}


@dataclass(frozen=True)
class Choice:
    """What was found for one structure; ``rule`` does nothing where nothing helps."""

    structure: str
    patients: int
    rule: Rule
    dice_before: float
    dice_after: float
    interval: Interval | None
    """Of the gain, 95 %."""

    def to_json(self) -> dict[str, Any]:
        return {
            "structure": self.structure,
            "patients": self.patients,
            **self.rule.to_json(),
            "dice_before": self.dice_before,
            "dice_after": self.dice_after,
            "gain_interval": self.interval,
        }


def choose_postprocessing(
    experiment: Experiment,
    cases: Sequence[Case],
    masks: Mapping[str, Path],
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[PostprocessingConfig, tuple[Choice, ...]]:
    """Choose for each structure, on the ``masks`` (case id to file) of ``cases``.

    Raises:
        CohortError: a case has no mask or no reference.
        VolumeError: a file is damaged, or a mask is on another grid than its reference.
    """
    CohortError.raise_if(
        Code.PAIRING, (f"case {case.id}: no mask: infer it first" for case in cases if case.id not in masks)
    )
    found: dict[str, list[Parts]] = {name: [] for name in experiment.labels}
    for done, case in enumerate(cases, start=1):
        for name, parts in _parts_of(experiment, case, masks[case.id]).items():
            found[name].append(parts)
        if progress is not None:
            progress(case.id, done, len(cases))
    choices = tuple(_choose(name, parts) for name, parts in found.items() if parts)
    largest = tuple(choice.structure for choice in choices if choice.rule.largest)
    minima = {choice.structure: choice.rule.minimum_ml for choice in choices if choice.rule.minimum_ml}
    return PostprocessingConfig(largest_component=largest, minimum_volume_ml=minima), choices


def _parts_of(experiment: Experiment, case: Case, mask: Path) -> dict[str, Parts]:
    """Of each structure that was contoured."""
    loaded = load_case(case, experiment.labels, experiment.data.missing_structures)
    if loaded.label is None:
        raise CohortError(Code.NO_LABEL, f"case {case.id}: no reference label: add it, or leave the case out")
    subject = f"case {case.id}: reference and prediction"
    placed = place_label(
        read_label(mask, geometry=case.reading.geometry),
        loaded.label.geometry,
        subject,
        resample=case.reading.resample_labels,
        option="data.reading.resample_labels",
    )
    predicted, voxel_ml = to_classes(placed.label.array, experiment.labels), loaded.label.geometry.voxel_ml
    return {
        name: _parts(case.patient, predicted, loaded.label.array, index, voxel_ml)
        for index, name in enumerate(experiment.labels, start=1)
        if loaded.known[index]
    }


def _parts(
    patient: str,
    predicted: Integer[np.ndarray, "I J K"],
    reference: Integer[np.ndarray, "I J K"],
    index: int,
    voxel_ml: float,
) -> Parts:
    pieces, count = ndimage.label(predicted == index, structure=_NEIGHBOURS_26)
    drawn = reference == index
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)[1:]
    shared = np.bincount(pieces[drawn].ravel(), minlength=count + 1)[1:]
    return Parts(patient, sizes * voxel_ml, shared * voxel_ml, float(drawn.sum()) * voxel_ml)


def _choose(name: str, parts: Sequence[Parts]) -> Choice:
    rules = _rules(parts)
    dice = np.array([[each.dice(rule) for rule in rules] for each in parts])
    gains = dice - dice[:, :1]
    resampled = resample_patients([each.patient for each in parts], gains)
    best, best_interval = 0, None
    for column in range(1, len(rules)):
        mean = float(resampled.mean[column])
        interval = bca_interval(mean, resampled.resampled[:, column], resampled.left_out[:, column])
        if interval is not None and interval[0] > 0 and mean > float(resampled.mean[best]) + 1e-9:
            best, best_interval = column, interval
    before, after = float(dice[:, 0].mean()), float(dice[:, best].mean())
    return Choice(name, len({each.patient for each in parts}), rules[best], before, after, best_interval)


def _rules(parts: Sequence[Parts]) -> list[Rule]:
    """The one that does nothing first; the simpler before those that do more."""
    smallest = min((each.reference_ml for each in parts if each.reference_ml), default=0.0)
    minima = [volume for volume in MINIMA_ML if volume <= smallest / 2]
    return [
        Rule(),
        Rule(largest=True),
        *(Rule(minimum_ml=volume) for volume in minima),
        *(Rule(largest=True, minimum_ml=volume) for volume in minima),
    ]

"""Postprocessing is chosen on out-of-fold masks, and only where it helps."""

from pathlib import Path

import numpy as np
import pytest

from medseg.data import Case, find_cases
from medseg.errors import CohortError
from medseg.inference.postprocess import postprocess
from medseg.io import read_label, write_volume
from medseg.training.postprocessing import Choice, choose_postprocessing
from support.training_runs import tiny_experiment


@pytest.fixture
def cases(tiny_cohort: Path) -> tuple[Case, ...]:
    return find_cases(tiny_experiment(tiny_cohort).data, ("bright", "dark"))


def masks(cases: tuple[Case, ...], folder: Path, crumbs: dict[str, int]) -> dict[str, Path]:
    """References with a false part of structure ``bright`` of so many voxels (2x2x3 mm) in a corner."""
    found = {}
    for case in cases:
        assert case.label is not None
        label = read_label(case.label)
        array = label.array.copy()
        array[: crumbs.get(case.id, 0), 0, 0] = 1
        found[case.id] = folder / f"{case.id}_seg.nii.gz"
        write_volume(label.with_array(array), found[case.id])
    return found


def chosen(cases: tuple[Case, ...], found: dict[str, Path], cohort: Path) -> dict[str, Choice]:
    _, choices = choose_postprocessing(tiny_experiment(cohort), cases, found)
    return {choice.structure: choice for choice in choices}


def test_crumbs_everywhere_are_removed_and_clean_structures_left_alone(
    cases: tuple[Case, ...], tiny_cohort: Path, tmp_path: Path
) -> None:
    found = masks(cases, tmp_path, {case.id: 4 + index for index, case in enumerate(cases)})
    choices = chosen(cases, found, tiny_cohort)
    assert choices["bright"].rule.largest
    assert choices["bright"].dice_after == 1 > choices["bright"].dice_before
    assert choices["bright"].interval is not None
    assert choices["bright"].interval[0] > 0
    assert not choices["dark"].rule.largest
    assert choices["dark"].rule.minimum_ml == 0


def test_a_crumb_in_one_patient_is_no_reason(
    cases: tuple[Case, ...], tiny_cohort: Path, tmp_path: Path
) -> None:
    choices = chosen(cases, masks(cases, tmp_path, {cases[0].id: 4}), tiny_cohort)
    assert not choices["bright"].rule.largest
    assert choices["bright"].rule.minimum_ml == 0
    assert choices["bright"].dice_after == choices["bright"].dice_before < 1


def test_what_is_chosen_does_to_masks_what_was_promised(
    cases: tuple[Case, ...], tiny_cohort: Path, tmp_path: Path
) -> None:
    found = masks(cases, tmp_path, {case.id: 5 for case in cases})
    config, choices = choose_postprocessing(tiny_experiment(tiny_cohort), cases, found)
    dice = []
    for case in cases:
        assert case.label is not None
        reference, mask = read_label(case.label), read_label(found[case.id])
        array = mask.array.astype(np.uint8)
        postprocess(array, config, {"bright": 1, "dark": 2}, mask.geometry.voxel_ml)
        ours, theirs = array == 1, reference.array == 1
        dice.append(2 * (ours & theirs).sum() / (ours.sum() + theirs.sum()))
    assert choices[0].dice_after == pytest.approx(np.mean(dice))


def test_every_patient_needs_a_mask(cases: tuple[Case, ...], tiny_cohort: Path, tmp_path: Path) -> None:
    found = masks(cases, tmp_path, {})
    del found[cases[2].id]
    with pytest.raises(CohortError, match=f"case {cases[2].id}: no mask"):
        choose_postprocessing(tiny_experiment(tiny_cohort), cases, found)

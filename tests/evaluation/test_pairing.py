"""Predictions find their references by name."""

from pathlib import Path

import pytest

from medseg.errors import CohortError, UsageError
from medseg.evaluation import match_pairs


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def told(root: Path, predictions: list[str], references: list[str]) -> list[tuple[str, str | None, str]]:
    p, r = touch(root / "p", *predictions), touch(root / "r", *references)
    return [
        (
            one.case,
            one.prediction and one.prediction.relative_to(p).as_posix(),
            one.reference.relative_to(r).as_posix(),
        )
        for one in match_pairs(p, r)
    ]


@pytest.mark.parametrize(
    ("prediction", "reference", "case"),
    [
        ("a.nii.gz", "a.nii.gz", "a"),
        ("a_seg.nii.gz", "a.nrrd", "a"),
        ("a.nii", "a_label.nii.gz", "a"),
        ("a_seg.nii.gz", "a/label.nii.gz", "a"),
        ("a/a_seg.nii.gz", "a/label.nii.gz", "a"),
        ("a/prediction.nii.gz", "a.nii.gz", "a"),
        ("a_seg.mha", "labelsTr/a.nii.gz", "a"),
        ("site/a_seg.mha", "site/a/organs.nii.gz", "site/a"),
    ],
)
def test_names_that_mean_the_same_case(tmp_path: Path, prediction: str, reference: str, case: str) -> None:
    if case == "site/a":
        prediction = "site/a/mask.nii.gz"
    assert told(tmp_path, [prediction], [reference]) == [(case, prediction, reference)]


def test_a_whole_cohort_with_images_beside_the_labels(tmp_path: Path) -> None:
    references = [f"p{i}/{name}.nii.gz" for i in range(3) for name in ("ct", "label")]
    predictions = ["p2_seg.nii.gz", "p0_seg.nii.gz", "p1_seg.nii.gz", "summary.csv", "._p0_seg.nii.gz"]
    assert told(tmp_path, predictions, references) == [
        (f"p{i}", f"p{i}_seg.nii.gz", f"p{i}/label.nii.gz") for i in range(3)
    ]


def test_images_in_the_same_folder_or_in_one_of_their_own_are_passed_over(tmp_path: Path) -> None:
    references = ["a.nii.gz", "a_seg.nii.gz", "images/b.nii.gz", "labels/b.nii.gz"]
    assert told(tmp_path, ["a.nii.gz", "b.nii.gz"], references) == [
        ("a", "a.nii.gz", "a_seg.nii.gz"),
        ("b", "b.nii.gz", "labels/b.nii.gz"),
    ]


def test_a_missing_prediction_is_a_pair_without_one(tmp_path: Path) -> None:
    assert told(tmp_path, ["a.nii"], ["a.nii", "b.nii"]) == [("a", "a.nii", "a.nii"), ("b", None, "b.nii")]


def test_two_files_are_a_pair_whatever_their_names(tmp_path: Path) -> None:
    touch(tmp_path, "x.nii.gz", "y_label.nii.gz")
    pairs = match_pairs(tmp_path / "x.nii.gz", tmp_path / "y_label.nii.gz")
    assert pairs == [("y", tmp_path / "x.nii.gz", tmp_path / "y_label.nii.gz")]


def test_predictions_without_reference_are_told_together(tmp_path: Path) -> None:
    with pytest.raises(CohortError) as caught:
        told(tmp_path, ["a.nii", "b.nii", "c.nii"], ["a.nii"])
    assert len(caught.value.problems) == 2
    assert "no reference of that name" in str(caught.value)


def test_two_predictions_for_one_reference_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="2 predictions fit it"):
        told(tmp_path, ["a.nii", "a.nii.gz"], ["a.nii"])


def test_a_prediction_that_fits_several_references_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="fits several references"):
        told(tmp_path, ["a.nii"], ["x/a.nii", "x/b.nii", "y/a.nii", "y/b.nii"])


def test_same_names_in_several_folders_are_matched_by_folder(tmp_path: Path) -> None:
    names = ["x/a.nii", "x/b.nii", "y/a.nii", "y/b.nii"]
    assert told(tmp_path, names, names) == [(name.removesuffix(".nii"), name, name) for name in names]


def test_nothing_that_fits_is_an_error_and_not_a_list_of_failures(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    with pytest.raises(CohortError, match="case names differ"):
        told(tmp_path, [], ["a.nii"])


def test_wrong_paths_are_told(tmp_path: Path) -> None:
    touch(tmp_path, "a.nii", "r/readme.txt")
    with pytest.raises(UsageError, match="no such file"):
        match_pairs(tmp_path / "nowhere", tmp_path)
    with pytest.raises(UsageError, match="two files or two folders"):
        match_pairs(tmp_path / "a.nii", tmp_path)
    with pytest.raises(CohortError, match="no label map"):
        match_pairs(tmp_path / "r", tmp_path / "r")

"""One case: statuses, rules for what is empty, grids, and what nobody contoured."""

import numpy as np
import pytest

from medseg.config.inference import EvaluationConfig
from medseg.errors import GridMismatchError, UsageError
from medseg.evaluation import FailedCase, score_case, score_failure
from medseg.evaluation.case import CaseScore, StructureScore
from medseg.evaluation.surfaces import diagonal_mm
from medseg.volume import Geometry, Volume

SHAPE = (20, 18, 10)
GEOMETRY = Geometry(SHAPE, np.diag([-1.0, -1.0, 2.5, 1.0]))
LABELS = {"bladder": 205, "prostate": 1}


def volume(geometry: Geometry = GEOMETRY, **boxes: tuple[slice, slice, slice]) -> Volume:
    array = np.zeros(SHAPE, dtype=np.uint8)
    for name, box in boxes.items():
        array[box] = LABELS[name]
    return Volume(array, geometry)


BLADDER = np.s_[2:10, 2:10, 2:8]
SHIFTED = np.s_[3:11, 2:10, 2:8]
PROSTATE = np.s_[12:16, 4:8, 3:6]


def of(score: CaseScore | FailedCase, name: str) -> StructureScore:
    return next(one for one in score.structures if one.structure == name)


def test_a_perfect_prediction() -> None:
    reference = volume(bladder=BLADDER, prostate=PROSTATE)
    score = score_case("c", reference, reference, labels=LABELS)
    assert [one.structure for one in score.structures] == ["bladder", "prostate"]
    for one in score.structures:
        assert one.status == "scored"
        for metric in ("dice", "iou", "precision", "recall", "f1", "nsd", "pixel_accuracy"):
            assert one.values[metric] == 1.0
        assert one.values["hd95"] == one.values["assd"] == one.values["volume_error_ml"] == 0.0
    assert score.overall == {"pixel_accuracy": 1.0, "mean_pixel_accuracy": 1.0}
    assert score.patient == "c"


def test_a_shifted_prediction_by_hand() -> None:
    score = score_case("c", volume(bladder=SHIFTED), volume(bladder=BLADDER), labels=LABELS, patient="p")
    one = of(score, "bladder")
    assert score.patient == "p"
    assert one.values["dice"] == pytest.approx(7 / 8)
    assert one.values["iou"] == pytest.approx(7 / 9)
    assert one.values["hd95"] == pytest.approx(1.0)
    assert one.values["nsd"] == 1.0  # 2 mm are tolerated
    assert one.reference_ml == one.prediction_ml == pytest.approx(8 * 8 * 6 * 2.5 / 1000)
    assert one.values["volume_error_relative"] == 0.0


def test_a_missed_structure_has_the_worst_of_everything() -> None:
    one = of(score_case("c", volume(), volume(bladder=BLADDER), labels=LABELS), "bladder")
    assert one.status == "missed"
    for metric in (
        "dice",
        "iou",
        "precision",
        "recall",
        "f1",
        "nsd",
        "pixel_accuracy",
        "mean_pixel_accuracy",
    ):
        assert one.values[metric] == 0.0
    assert one.values["hd95"] == one.values["assd"] == diagonal_mm(GEOMETRY)
    assert one.values["volume_error_relative"] == -1.0


def test_an_invented_structure_has_the_worst_of_everything_but_recall() -> None:
    one = of(score_case("c", volume(bladder=BLADDER), volume(), labels=LABELS), "bladder")
    assert one.status == "false_positive"
    assert (
        one.values["dice"]
        == one.values["precision"]
        == one.values["nsd"]
        == one.values["pixel_accuracy"]
        == 0
    )
    assert one.values["hd95"] == diagonal_mm(GEOMETRY)
    assert one.values["recall"] is None
    assert one.values["volume_error_ml"] == pytest.approx(0.96)
    assert one.values["volume_error_relative"] is None


def test_correctly_absent_is_told_but_not_measured() -> None:
    one = of(score_case("c", volume(), volume(), labels=LABELS), "bladder")
    assert one.status == "both_empty"
    assert one.reference_ml == one.prediction_ml == 0.0
    assert set(one.values.values()) == {None}


def test_not_contoured_is_not_measured_and_leaves_the_whole_volume_alone() -> None:
    prediction = volume(bladder=BLADDER, prostate=PROSTATE)
    score = score_case(
        "c", prediction, volume(prostate=PROSTATE), labels=LABELS, known={"bladder": False, "prostate": True}
    )
    one = of(score, "bladder")
    assert one.status == "not_contoured"
    assert one.reference_ml is None
    assert one.prediction_ml == pytest.approx(0.96)
    assert set(one.values.values()) == {None}
    assert of(score, "prostate").values["dice"] == 1.0
    assert score.overall["pixel_accuracy"] == 1.0


def test_values_outside_the_labels_are_background() -> None:
    stray = volume(bladder=BLADDER)
    stray.array[15:18, 15:18, 1] = 77
    score = score_case("c", stray, volume(bladder=BLADDER), labels=LABELS)
    assert of(score, "bladder").values["dice"] == 1.0
    assert score.overall["pixel_accuracy"] == 1.0


def test_only_configured_metrics_are_measured() -> None:
    config = EvaluationConfig(metrics=("nsd", "dice"), nsd_tolerance_mm=0.5)
    score = score_case("c", volume(bladder=SHIFTED), volume(bladder=BLADDER), labels=LABELS, config=config)
    one = of(score, "bladder")
    assert list(one.values) == ["nsd", "dice", "volume_error_ml", "volume_error_relative"]
    assert 0 < one.values["nsd"] < 1
    assert score.overall == {}


def test_another_grid_is_refused_even_with_the_same_shape() -> None:
    moved = Geometry(SHAPE, np.diag([-1.0, -1.0, 5.0, 1.0]))
    with pytest.raises(GridMismatchError, match="case 017: reference and prediction"):
        score_case("017", volume(moved), volume(), labels=LABELS)


def test_an_unknown_name_in_known_is_refused() -> None:
    with pytest.raises(UsageError, match="rectum"):
        score_case("c", volume(), volume(), labels=LABELS, known={"rectum": False})


def test_a_failed_case_is_as_bad_as_an_empty_prediction() -> None:
    reference = volume(bladder=BLADDER)
    failed = score_failure(FailedCase("c", "", "out of memory"), reference, labels=LABELS)
    empty = score_case("c", volume(), reference, labels=LABELS)
    assert [one.structure for one in failed.structures] == ["bladder"]
    assert of(failed, "bladder").status == "missed"
    assert of(failed, "bladder").prediction_ml is None
    assert of(failed, "bladder").values == of(empty, "bladder").values
    assert (failed.patient, failed.reason) == ("c", "out of memory")


def test_a_failed_case_keeps_what_was_not_contoured() -> None:
    failed = score_failure(
        FailedCase("c", "p", "why"), volume(bladder=BLADDER), labels=LABELS, known={"bladder": False}
    )
    assert [(one.structure, one.status) for one in failed.structures] == [("bladder", "not_contoured")]


def test_real_torso_against_its_fast_version(shared_data) -> None:
    nibabel = pytest.importorskip("nibabel")
    reference, prediction = (
        nibabel.load(shared_data / "torso_ct" / name)
        for name in ("example_seg.nii.gz", "example_seg_fast.nii.gz")
    )
    truth = np.asarray(reference.dataobj).astype(np.uint8)
    guess = np.asarray(prediction.dataobj).astype(np.uint8)
    labels = {f"organ {value}": int(value) for value in np.unique(truth) if value}
    geometry = Geometry(truth.shape, np.asarray(reference.affine, dtype=np.float64))
    score = score_case("torso", Volume(guess, geometry), Volume(truth, geometry), labels=labels)
    assert len(score.structures) == len(labels) > 30
    for one, value in zip(score.structures, labels.values(), strict=True):
        a, b = truth == value, guess == value
        if one.status == "scored":
            assert one.values["dice"] == pytest.approx(2 * (a & b).sum() / (a.sum() + b.sum()))
            assert one.values["hd95"] < diagonal_mm(geometry)

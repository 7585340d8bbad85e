"""Label values to classes, and the counting of voxels."""

import numpy as np
import pytest

from medseg.errors import ConfigError, VolumeError
from medseg.evaluation import overlap
from medseg.evaluation.confusion import Confusion, confusion_matrix, structure_confusion, to_classes


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.int64])
def test_values_become_classes_in_the_order_of_the_labels(dtype: type) -> None:
    array = np.array([0, 205, 1, 7, 205, 1], dtype=np.uint8).reshape(1, 2, 3).astype(dtype)
    classes = to_classes(np.asfortranarray(array), {"bladder": 205, "prostate": 1})
    assert classes.ravel().tolist() == [0, 1, 2, 0, 1, 2]


def test_values_may_be_negative_or_far_apart() -> None:
    array = np.array([-3, 0, 5, 2_000_000_000], dtype=np.int64).reshape(1, 2, 2)
    assert to_classes(array, {"a": -3, "b": 2_000_000_000}).ravel().tolist() == [1, 0, 0, 2]
    assert to_classes(array[:, :1], {"a": -3, "b": 9}).ravel().tolist() == [1, 0]


def test_a_mask_of_bool_has_the_label_1() -> None:
    assert to_classes(np.ones((1, 1, 2), dtype=bool), {"a": 1}).ravel().tolist() == [1, 1]


def test_fractions_are_refused() -> None:
    with pytest.raises(VolumeError, match="float32"):
        to_classes(np.zeros((1, 1, 1), dtype=np.float32), {"a": 1})


@pytest.mark.parametrize("labels", [{"a": 0}, {"a": 2, "b": 2}])
def test_labels_without_values_of_their_own_are_refused(labels: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="value of its own"):
        to_classes(np.zeros((1, 1, 1), dtype=np.uint8), labels)


def test_matrix_equals_a_count_by_hand_also_over_several_slabs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medseg.evaluation.confusion._SLAB_VOXELS", 16)
    random = np.random.default_rng(0)
    reference = random.integers(0, 4, (7, 4, 4)).astype(np.uint16)
    prediction = random.integers(0, 4, (7, 4, 4)).astype(np.uint16)
    matrix = confusion_matrix(reference, prediction, 4)
    for r in range(4):
        for p in range(4):
            assert matrix[r, p] == np.sum((reference == r) & (prediction == p))
    counts = structure_confusion(matrix, 2)
    assert counts.tp == np.sum((reference == 2) & (prediction == 2))
    assert counts.fp == np.sum((reference != 2) & (prediction == 2))
    assert counts.fn == np.sum((reference == 2) & (prediction != 2))
    assert counts.tn == np.sum((reference != 2) & (prediction != 2))


def test_shares_by_hand() -> None:
    c = Confusion(tp=6, fp=2, fn=4, tn=88)
    assert overlap.dice(c) == overlap.f1(c) == pytest.approx(12 / 18)
    assert overlap.iou(c) == pytest.approx(6 / 12)
    assert overlap.precision(c) == pytest.approx(6 / 8)
    assert overlap.recall(c) == pytest.approx(6 / 10)
    assert overlap.pixel_accuracy(c) == pytest.approx(94 / 100)
    assert overlap.mean_pixel_accuracy(c) == pytest.approx((6 / 10 + 88 / 90) / 2)


def test_nothing_to_divide_by_is_undefined_and_not_a_number_made_up() -> None:
    nothing = Confusion(tp=0, fp=0, fn=0, tn=10)
    assert overlap.dice(nothing) is None
    assert overlap.iou(nothing) is None
    assert overlap.precision(nothing) is None
    assert overlap.recall(nothing) is None
    assert overlap.mean_pixel_accuracy(nothing) == 1.0  # of the one class that is there


def test_overall_accuracies_are_those_of_long_2015() -> None:
    matrix = np.array([[80, 10, 0], [5, 5, 0], [0, 0, 0]], dtype=np.int64)
    assert overlap.overall_pixel_accuracy(matrix) == pytest.approx(85 / 100)
    assert overlap.overall_mean_pixel_accuracy(matrix) == pytest.approx((80 / 90 + 5 / 10) / 2)

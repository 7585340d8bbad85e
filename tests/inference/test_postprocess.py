import numpy as np

from medseg.config.inference import PostprocessingConfig
from medseg.inference import postprocess


def two_blobs() -> np.ndarray:
    labels = np.zeros((12, 12, 12), np.uint8)
    labels[1:5, 1:5, 1:5] = 1
    labels[8:10, 8:10, 8:10] = 1
    labels[8:10, 1:3, 1:3] = 2
    return labels


def test_nothing_configured_changes_nothing() -> None:
    labels = two_blobs()
    postprocess(labels, PostprocessingConfig(), {"a": 1, "b": 2}, 0.001)
    np.testing.assert_array_equal(labels, two_blobs())


def test_largest_component_keeps_the_largest_of_named_structures_only() -> None:
    labels = two_blobs()
    postprocess(labels, PostprocessingConfig(largest_component=("a",)), {"a": 1, "b": 2}, 0.001)
    assert (labels == 1).sum() == 64
    assert (labels == 2).sum() == 8


def test_parts_touching_by_a_corner_are_one() -> None:
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[0, 0, 0] = labels[1, 1, 1] = 1
    postprocess(labels, PostprocessingConfig(largest_component=("a",)), {"a": 1}, 0.001)
    assert labels.sum() == 2


def test_minimum_volume_removes_small_parts() -> None:
    config = PostprocessingConfig(minimum_volume_ml={"a": 0.02, "b": 0.02})
    labels = two_blobs()
    postprocess(labels, config, {"a": 1, "b": 2}, 0.001)
    assert (labels == 1).sum() == 64
    assert (labels == 2).sum() == 0


def test_an_absent_structure_is_no_problem() -> None:
    config = PostprocessingConfig(largest_component=("b",))
    labels = np.zeros((3, 3, 3), np.uint8)
    postprocess(labels, config, {"a": 1, "b": 2}, 1.0)
    assert labels.sum() == 0

"""Which slices are shown, and which way round."""

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from medseg.report.slices import (
    SliceCounts,
    count_slices,
    foreground_box,
    telling_slice,
    to_classes,
    to_lps,
    widen,
)
from medseg.volume import Geometry, Volume

ORIENTATIONS = [(order, signs) for order in permutations(range(3)) for signs in product((1, -1), repeat=3)]


def oriented(array: np.ndarray, order: tuple[int, ...], signs: tuple[int, ...]) -> Volume:
    """``array`` in LPS order, stored with axes permuted and flipped, its affine telling so."""
    spacing = np.array([1.0, 2.0, 3.0])
    lps = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
    stored = array.transpose(order)
    to_array = np.zeros((4, 4))
    to_array[3, 3] = 1
    for axis, source in enumerate(order):
        to_array[source, axis] = signs[axis]
        if signs[axis] < 0:
            stored = np.flip(stored, axis)
            to_array[source, 3] = array.shape[source] - 1
    shape = (stored.shape[0], stored.shape[1], stored.shape[2])
    return Volume(np.ascontiguousarray(stored), Geometry(shape, lps @ to_array))


@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS)
def test_all_orientations_become_the_same_view(order: tuple[int, ...], signs: tuple[int, ...]) -> None:
    array = np.arange(2 * 3 * 4).reshape(2, 3, 4).astype(np.int16)
    view, spacing = to_lps(oriented(array, order, signs))
    assert np.array_equal(view, array)
    assert spacing == pytest.approx((1, 2, 3))


@given(
    hnp.arrays(np.int16, hnp.array_shapes(min_dims=3, max_dims=3, max_side=6), elements=st.integers(-3, 9)),
    st.lists(st.integers(1, 9) | st.integers(10**6, 10**6 + 3), min_size=1, max_size=4, unique=True),
)
def test_classes_follow_the_order_of_values(array: np.ndarray, values: list[int]) -> None:
    classes = to_classes(array, values)
    for place, value in enumerate(values, start=1):
        assert np.array_equal(classes == place, array == value)
    assert np.array_equal(classes == 0, ~np.isin(array, values))


@given(st.data())
def test_counts_equal_plain_counting(data: st.DataObject) -> None:
    shape = data.draw(hnp.array_shapes(min_dims=3, max_dims=3, max_side=5))
    masks = [data.draw(hnp.arrays(np.uint8, shape, elements=st.integers(0, 4))) for _ in range(2)]
    counts = count_slices(masks, (3, 1))
    for at, value in enumerate((3, 1)):
        inside = [mask == value for mask in masks]
        for mask, area in zip(inside, counts.areas, strict=True):
            assert np.array_equal(area[:, at], mask.sum(axis=(0, 1)))
        assert np.array_equal(counts.wrong[:, at], (inside[0] ^ inside[1]).sum(axis=(0, 1)))


def test_missed_small_organ_outweighs_a_rim_of_a_large_one() -> None:
    reference = np.zeros((40, 40, 10), dtype=np.uint8)
    reference[5:35, 5:35, 1:6] = 1
    reference[10:14, 10:14, 8] = 2
    prediction = reference.copy()
    prediction[5, 5:35, 3] = 0
    prediction[reference == 2] = 0
    assert int(np.argmax(count_slices([prediction, reference], (1, 2)).disagreement)) == 8


def test_box_holds_every_mask_and_is_none_without() -> None:
    first, second = np.zeros((2, 6, 5, 4), dtype=np.uint8)
    assert foreground_box([first, second]) is None
    first[1, 2, 3], second[4, 0, 1] = 1, 7
    assert foreground_box([first, second]) == (slice(1, 5), slice(0, 3), slice(1, 4))


def test_most_disagreement_tells_most_then_the_largest_reference_then_the_middle() -> None:
    nothing = np.zeros((7, 1), dtype=np.int64)
    area = np.array([0, 5, 9, 8, 7, 6, 1], dtype=np.int64)[:, None]
    wrong = np.array([0, 0, 0, 0, 2, 1, 0], dtype=np.int64)[:, None]
    assert telling_slice(SliceCounts((area, area), wrong)) == 4
    assert telling_slice(SliceCounts((nothing, area), nothing)) == 2
    assert telling_slice(SliceCounts((area, nothing), nothing)) == 2
    assert telling_slice(SliceCounts((nothing, nothing), nothing)) == 3


@given(
    shape=st.tuples(*[st.integers(1, 300)] * 3),
    spacing=st.tuples(*[st.floats(0.2, 6)] * 3),
    data=st.data(),
)
def test_region_is_inside_the_volume_and_holds_the_box(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], data: st.DataObject
) -> None:
    ends = [sorted((data.draw(st.integers(0, n - 1)), data.draw(st.integers(0, n - 1)))) for n in shape]
    first, second, third = (slice(low, high + 1) for low, high in ends)
    for part, whole, size in zip(
        widen((first, second, third), shape, spacing), (first, second, third), shape, strict=True
    ):
        assert 0 <= part.start <= whole.start < whole.stop <= part.stop <= size
    assert widen(None, shape, spacing) == tuple(slice(0, n) for n in shape)

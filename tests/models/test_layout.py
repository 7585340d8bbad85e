"""Strides, kernels, and patch sizes that do not fit."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medseg.errors import ConfigError
from medseg.models.layout import SHORTEST, default_strides, plan_layout, require_room, total_stride

SIZES = st.lists(st.integers(1, 200), min_size=2, max_size=3)


@given(SIZES, st.integers(2, 7))
def test_default_strides_divide_every_patch_and_leave_enough(size: list[int], depth: int) -> None:
    strides = default_strides(size, depth)
    assert len(strides) == depth
    assert set(strides[0]) == {1}
    for n, total in zip(size, total_stride(strides), strict=True):
        assert n % total == 0
        assert n // total >= min(n, SHORTEST)


def test_short_and_odd_axes_stop_pooling() -> None:
    assert default_strides((64, 64, 8), 4) == ((1, 1, 1), (2, 2, 2), (2, 2, 1), (2, 2, 1))
    assert default_strides((80, 64, 40), 4) == ((1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2))
    assert default_strides((256, 256, 1), 3) == ((1, 1, 1), (2, 2, 1), (2, 2, 1))
    assert default_strides((36, 25), 4) == ((1, 1), (2, 1), (2, 1), (1, 1))


def test_a_patch_that_does_not_divide_is_told_with_axis_and_nearest_sizes() -> None:
    strides = ((1, 1, 1), (2, 2, 1), (2, 2, 2), (2, 4, 2))
    with pytest.raises(ConfigError) as caught:
        plan_layout((64, 90, 3), "ijk", 4, 3, strides)
    along_j, along_k = caught.value.problems
    assert "90 along j does not divide by 16" in along_j
    assert "80 or 96" in along_j
    assert "3 along k does not divide by 4" in along_k
    assert along_k.endswith("4")


def test_a_single_kernel_is_flat_where_the_patch_is() -> None:
    layout = plan_layout((64, 64, 1), "ijk", 3, 5)
    assert layout.kernels == ((5, 5, 1),) * 3


def test_an_odd_size_that_costs_field_of_view_is_mentioned(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="medseg"):
        plan_layout((66, 64, 64), "ijk", 5, 3)
    assert "patch size 66 along i can be halved only to 33; 64 or 68 would see more" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="medseg"):
        plan_layout((64, 80, 1), "ijk", 5, 3)
    assert not caplog.text


def test_a_patch_that_shrinks_to_one_voxel_is_refused() -> None:
    require_room((64, 32, 32), (32, 32, 32))
    with pytest.raises(ConfigError, match=r"leaves one voxel.*64x32x32"):
        require_room((32, 32, 32), (32, 32, 32))

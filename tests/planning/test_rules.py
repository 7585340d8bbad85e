"""The rules of a plan: what holds for any cohort."""

from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medseg.models.layout import plan_layout, total_stride
from medseg.planning import rules

SPACING = st.tuples(*[st.floats(0.3, 8.0)] * 3)
SHAPE = st.tuples(*[st.integers(16, 400)] * 3)


@settings(max_examples=150)
@given(spacing=SPACING, shape=SHAPE, edge=st.sampled_from([32, 48, 64, 96, 128]))
def test_a_patch_suits_its_network_and_the_budget(
    spacing: tuple[float, float, float], shape: tuple[int, int, int], edge: int
) -> None:
    size = (shape[0] * spacing[0], shape[1] * spacing[1], shape[2] * spacing[2])
    patch, layout = rules.patch(spacing, size, edge**3, None)
    plan_layout(patch, "ijk", layout.depth, layout.kernels, layout.strides)  # refuses what does not divide
    assert prod(patch) <= 2.5 * edge**3  # rounded up to what the network halves
    for n, multiple, whole in zip(patch, total_stride(layout.strides), shape, strict=True):
        assert n // multiple >= 2
        assert n < whole + multiple  # no more than the scan, rounded up


@settings(max_examples=150)
@given(spacing=SPACING, shape=SHAPE, edge=st.sampled_from([32, 64, 128]), smallest=st.floats(2, 200))
def test_larger_voxels_never_lose_the_smallest_structure(
    spacing: tuple[float, float, float], shape: tuple[int, int, int], edge: int, smallest: float
) -> None:
    size = (shape[0] * spacing[0], shape[1] * spacing[1], shape[2] * spacing[2])
    found, larger = rules.coarsened(spacing, size, edge**3, (smallest,) * 3)
    for before, after in zip(spacing, found, strict=True):
        assert after >= before * 0.999
        assert after <= max(before, smallest / rules.SMALLEST_STRUCTURE_VOXELS) * 1.01
    assert larger == (found != spacing)


def test_a_scan_that_fits_is_seen_whole() -> None:
    patch, layout = rules.patch((1.0, 1.0, 1.0), (35.0, 50.0, 36.0), 80_000, None)
    assert patch == (40, 56, 40)
    assert layout.strides == ((1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2))
    assert set(layout.kernels) == {(3, 3, 3)}


def test_thick_slices_wait_until_pixels_are_as_coarse() -> None:
    layout = rules.stages((160, 160, 64), (0.98, 0.98, 3.27))
    assert layout.kernels[:2] == ((3, 3, 1), (3, 3, 3))
    assert layout.strides[:3] == ((1, 1, 1), (2, 2, 1), (2, 2, 2))


def test_few_slices_are_seen_one_by_one() -> None:
    assert rules.is_flat((0.5, 0.5, 10.0), (200.0, 200.0, 60.0)) == 2
    assert rules.is_flat((0.5, 0.5, 3.0), (200.0, 200.0, 60.0)) is None
    patch, _ = rules.patch((0.5, 0.5, 10.0), (200.0, 200.0, 60.0), 192**2, 2)
    assert patch[2] == 1
    assert patch[0] == patch[1] == 192


@pytest.mark.parametrize(("patients", "held_out", "folds"), [(2, 0, 2), (3, 1, 2), (6, 1, 5), (50, 0.2, 5)])
def test_small_cohorts_keep_a_patient_for_each_part(patients: int, held_out: float, folds: int) -> None:
    split = rules.split(patients)
    assert (split["held_out"].value, split["folds"].value) == (held_out, folds)


def test_channels_double_up_to_their_limit() -> None:
    assert rules.channels(32, 6) == (32, 64, 128, 256, 320, 320)
    assert np.all(np.diff(rules.channels(8, 4)) > 0)

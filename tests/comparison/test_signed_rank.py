"""The signed-rank test, its effect sizes and Holm's correction."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import PermutationMethod, rankdata, wilcoxon

from medseg.comparison.signed_rank import cohen_dz, holm, signed_rank

FEW = settings(max_examples=40, deadline=None)
STEPS = st.lists(st.integers(-4, 4), min_size=1, max_size=9)


@pytest.mark.parametrize("count", [1, 2, 5, 12, 30, 50])
def test_without_ties_it_is_scipys_exact_test(count: int) -> None:
    differences = np.random.default_rng(count).normal(0.2, 1, count)
    found = signed_rank(differences)
    assert found is not None
    assert found.method == "exact"
    assert found.p == pytest.approx(wilcoxon(differences, method="exact").pvalue, rel=1e-12)
    assert found.smallest_p == min(1.0, 2 * 0.5**count)


def test_beyond_fifty_it_is_the_normal_approximation() -> None:
    differences = np.round(np.random.default_rng(0).normal(0.1, 1, 80), 1)
    found = signed_rank(differences)
    assert found is not None
    assert found.method == "normal approximation"
    assert found.p == wilcoxon(differences, zero_method="pratt", method="asymptotic").pvalue


@FEW
@given(STEPS)
def test_with_ties_and_zeros_every_sign_is_as_likely(steps: list[int]) -> None:
    differences = np.array(steps, dtype=np.float64) / 8
    found = signed_rank(differences)
    assert found is not None
    ranks = rankdata(np.abs(differences))
    told = ranks[differences > 0].sum()
    sums = [
        sum(rank for rank, plus in zip(ranks[differences != 0], signs, strict=True) if plus)
        for signs in product([False, True], repeat=int((differences != 0).sum()))
    ]
    tail = min(np.mean(np.array(sums) >= told - 1e-9), np.mean(np.array(sums) <= told + 1e-9))
    assert found.p == pytest.approx(min(1.0, 2 * tail), rel=1e-12)


def test_scipy_counts_ties_and_zeros_out_alike() -> None:
    differences = np.array([0.0, 1, 1, 2, -1, 3, 3, 0])
    theirs = wilcoxon(differences, zero_method="pratt", method=PermutationMethod(n_resamples=1000))
    found = signed_rank(differences)
    assert found is not None
    assert found.p == pytest.approx(theirs.pvalue, rel=1e-9)


@FEW
@given(STEPS)
def test_changing_places_turns_every_sign(steps: list[int]) -> None:
    differences = np.array(steps, dtype=np.float64)
    forth, back = signed_rank(differences), signed_rank(-differences)
    assert forth is not None and back is not None
    assert forth.p == pytest.approx(back.p)
    assert forth.rank_biserial == pytest.approx(-back.rank_biserial)
    assert -1 <= forth.rank_biserial <= 1
    if (spread := cohen_dz(differences)) is not None:
        assert spread == pytest.approx(-(cohen_dz(-differences) or 0.0))


def test_zeros_make_an_effect_smaller_and_never_surer() -> None:
    few = np.array([1.0, 2, 3, 4, 5, 6])
    many = np.concatenate([few, np.zeros(6)])
    without, with_zeros = signed_rank(few), signed_rank(many)
    assert without is not None and with_zeros is not None
    assert without.rank_biserial == 1.0
    assert with_zeros.rank_biserial < 1.0
    assert with_zeros.p >= without.p


def test_nothing_and_no_difference() -> None:
    assert signed_rank(np.zeros(0)) is None
    equal = signed_rank(np.zeros(7))
    assert equal is not None
    assert (equal.p, equal.method, equal.rank_biserial, equal.smallest_p) == (
        1.0,
        "no pair differs",
        0.0,
        1.0,
    )
    assert cohen_dz(np.zeros(7)) is None
    assert cohen_dz(np.ones(1)) is None


def test_rounding_is_no_difference() -> None:
    found = signed_rank(np.array([0.1 + 0.2 - 0.3, 0.0, 1.0]))
    assert found is not None
    assert found.smallest_p == 1.0


def test_holm_as_in_his_paper() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []

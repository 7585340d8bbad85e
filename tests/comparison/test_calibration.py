"""How often a comparison is wrong when there is nothing to find, and its interval right."""

import sys
from typing import Any

import numpy as np
import pytest

from medseg.comparison.signed_rank import holm, signed_rank
from medseg.evaluation.bootstrap import bca_interval, resample_patients

STRUCTURES = 3


def two_equal_runs(random: np.random.Generator, count: int) -> np.ndarray:
    """Differences (patients, structures) of equally good runs: skewed Dice, structures correlated."""
    level = random.normal(1.8, 0.6, (count, 1))
    noise = random.gumbel(0, 0.5, (2, count, STRUCTURES))
    dice = 1 / (1 + np.exp(-(level + noise)))
    return np.round(dice[1] - dice[0], 3)  # with ties and zeros, as in real tables


def test_equal_runs_are_seldom_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    random, comparisons = np.random.default_rng(2026), 1000
    single, family = 0, 0
    for _ in range(comparisons):
        differences = two_equal_runs(random, int(random.choice([8, 12, 20])))
        tests = [signed_rank(column) for column in differences.T]
        p_values = [test.p for test in tests if test is not None]
        single += sum(p <= 0.05 for p in p_values)
        family += min(holm(p_values)) <= 0.05
    rates = (single / comparisons / STRUCTURES, family / comparisons)
    with capsys.disabled():
        sys.stdout.write(f"\n1000 null comparisons: p <= 0.05 in {rates[0]:.3f} of tests, ")
        sys.stdout.write(f"in {rates[1]:.3f} of families after Holm\n")
    assert 0.035 <= rates[0] <= 0.06
    assert 0.01 <= rates[1] <= 0.065


def coverage(count: int, trials: int, draw: Any) -> float:
    """Share of intervals that hold the true mean difference."""
    random, hits = np.random.default_rng(count), 0
    for seed in range(trials):
        differences, truth = draw(random, count)
        drawn = resample_patients([f"{n:03d}" for n in range(count)], differences[:, None], seed=seed)
        found = bca_interval(float(drawn.mean[0]), drawn.resampled[:, 0], drawn.left_out[:, 0])
        assert found is not None
        hits += found[0] <= truth <= found[1]
    return hits / trials


def symmetric(random: np.random.Generator, count: int) -> tuple[np.ndarray, float]:
    return two_equal_runs(random, count)[:, 0], 0.0


def skewed(random: np.random.Generator, count: int) -> tuple[np.ndarray, float]:
    """Most patients gain a little, some a lot: exponential with a mean of 0.02."""
    return random.exponential(0.02, count), 0.02


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_intervals_hold_the_truth_about_as_often_as_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    trials = 500
    with capsys.disabled():
        for kind in (symmetric, skewed):
            found = {count: coverage(count, trials, kind) for count in (10, 20, 40)}
            sys.stdout.write(f"\ncoverage of 95 % intervals by patients, {kind.__name__}: {found}\n")
            assert found[10] > 0.84
            assert found[20] > 0.88
            assert found[40] > 0.90

"""Means, counts and intervals over cases."""

import numpy as np
import pytest

from medseg.errors import UsageError
from medseg.evaluation import CaseScore, FailedCase, StructureScore, summarise
from medseg.evaluation.bootstrap import bca_interval, resample_patients


def one(structure: str, dice: float | None, status: str = "scored") -> StructureScore:
    return StructureScore(structure, status, 10.0, 9.0, {"dice": dice, "volume_error_ml": -1.0})


def case(name: str, *structures: StructureScore, patient: str = "", accuracy: float = 0.9) -> CaseScore:
    return CaseScore(name, patient or name, structures, {"pixel_accuracy": accuracy})


def test_means_spreads_and_counts() -> None:
    scores = [
        case("1", one("a", 0.8), one("b", 0.5)),
        case("2", one("a", 0.0, "missed"), one("b", None, "not_contoured")),
        case("3", one("a", None, "both_empty"), one("b", 0.0, "false_positive")),
    ]
    failed = [FailedCase("4", "4", "no prediction", (one("a", 0.0, "missed"),)), FailedCase("5", "5", "lost")]
    summary = summarise(scores, failed, expected=["1", "2", "3", "4", "5", "6"])
    assert summary.cases == {"expected": 6, "predicted": 3, "failed": 3, "failed_without_reference": 2}
    a, b = summary.structures
    assert (a.counts.scored, a.counts.missed, a.counts.both_empty) == (1, 2, 1)
    assert (b.counts.scored, b.counts.false_positive, b.counts.not_contoured) == (1, 1, 1)
    dice = a.metrics["dice"]
    assert dice.n == 3
    assert dice.mean == pytest.approx(0.8 / 3)
    assert dice.sd == pytest.approx(np.std([0.8, 0, 0], ddof=1))
    assert (dice.median, dice.minimum, dice.maximum) == (0.0, 0.0, 0.8)
    assert dice.iqr == pytest.approx(0.4)
    assert summary.mean["dice"].mean == pytest.approx((0.8 / 3 + 0.25) / 2)
    assert summary.mean["dice"].n == 2
    assert summary.overall["pixel_accuracy"].mean == pytest.approx(0.9 * 3 / 6)
    assert [failure.case for failure in summary.failures] == ["4", "5", "6"]
    assert summary.rules
    assert "BCa" in summary.interval


def test_nothing_defined_is_none_and_told() -> None:
    summary = summarise([case("1", one("a", None, "both_empty"))])
    dice = summary.structures[0].metrics["dice"]
    assert dice.n == 0
    assert dice.mean is dice.low is dice.sd is dice.median is None
    assert summary.mean["dice"].mean is None


def test_no_cases_at_all() -> None:
    summary = summarise([], expected=["1"])
    assert summary.structures == ()
    assert summary.cases["failed"] == 1


def test_a_case_that_is_there_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="case 1: scored more than once"):
        summarise([case("1", one("a", 0.5))], [FailedCase("1", "1", "why")])


def test_the_order_of_cases_changes_nothing() -> None:
    random = np.random.default_rng(1)
    scores = [case(str(i), one("a", float(random.random()))) for i in range(9)]
    forth, back = summarise(scores), summarise(scores[::-1])
    x, y = forth.structures[0].metrics["dice"], back.structures[0].metrics["dice"]
    assert (x.mean, x.median, x.sd) == (y.mean, y.median, y.sd)
    assert (x.low, x.high) == pytest.approx((y.low, y.high))


def test_scans_of_one_patient_are_not_several_people() -> None:
    random = np.random.default_rng(2)
    levels = random.random(8)
    scores, alone = [], []
    for patient, level in enumerate(levels):
        for scan in range(5):
            scores.append(case(f"{patient}-{scan}", one("a", float(level)), patient=f"p{patient}"))
            alone.append(case(f"{patient}-{scan}", one("a", float(level))))
    grouped = summarise(scores).structures[0].metrics["dice"]
    naive = summarise(alone).structures[0].metrics["dice"]
    assert grouped.mean == pytest.approx(naive.mean)
    assert grouped.high - grouped.low > 1.8 * (naive.high - naive.low)


def test_one_patient_has_no_interval() -> None:
    scores = [case("1", one("a", 0.5), patient="p"), case("2", one("a", 0.7), patient="p")]
    dice = summarise(scores).structures[0].metrics["dice"]
    assert dice.n == 2
    assert dice.low is dice.high is None


def test_equal_values_have_an_interval_of_no_width() -> None:
    dice = summarise([case(str(i), one("a", 0.1)) for i in range(7)]).structures[0].metrics["dice"]
    assert dice.low == pytest.approx(0.1)
    assert dice.high == pytest.approx(0.1)


def test_the_seed_decides_the_interval() -> None:
    scores = [case(str(i), one("a", i / 10)) for i in range(10)]
    assert summarise(scores, seed=3) == summarise(scores, seed=3)
    assert summarise(scores, seed=3).mean["dice"].low != summarise(scores, seed=4).mean["dice"].low


def interval(values: np.ndarray, seed: int, *, expanded: bool = True) -> tuple[float, float]:
    drawn = resample_patients([f"{i:04d}" for i in range(len(values))], values[:, None], seed=seed)
    found = bca_interval(float(drawn.mean[0]), drawn.resampled[:, 0], drawn.left_out[:, 0], expanded=expanded)
    assert found is not None
    return found


def test_interval_equals_that_of_scipy() -> None:
    from scipy.stats import bootstrap

    values = np.random.default_rng(0).beta(8, 1.5, size=30)
    theirs = bootstrap((values,), np.mean, n_resamples=20000, method="BCa", rng=0).confidence_interval
    low, high = interval(values, seed=0, expanded=False)
    width = theirs.high - theirs.low
    assert low == pytest.approx(theirs.low, abs=0.05 * width)
    assert high == pytest.approx(theirs.high, abs=0.05 * width)


def test_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    random, hits, trials = np.random.default_rng(7), 0, 150
    for seed in range(trials):
        low, high = interval(random.beta(8, 2, size=25), seed)
        hits += low <= 0.8 <= high
    assert hits / trials > 0.88

"""How well a score finds the worst cases."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medseg.evaluation.ranking import auroc, auroc_interval, worst

PAIRS = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=30)


@given(PAIRS)
def test_it_is_the_share_of_pairs_in_the_right_order(cases: list[tuple[int, bool]]) -> None:
    bad = [score for score, positive in cases if positive]
    good = [score for score, positive in cases if not positive]
    found = auroc([float(score) for score, _ in cases], [positive for _, positive in cases])
    if not bad or not good:
        assert found is None
        return
    wins = sum(1.0 if b > g else 0.5 if b == g else 0.0 for b in bad for g in good)
    assert found == pytest.approx(wins / (len(bad) * len(good)))


@pytest.mark.parametrize(("count", "expected"), [(1, 1), (5, 1), (6, 2), (10, 2), (40, 8)])
def test_the_worst_fifth(count: int, expected: int) -> None:
    dice = np.random.default_rng(count).permutation(count) / count
    found = worst(dice.tolist())
    assert sum(found) == expected
    assert max(dice[np.array(found)]) < min(dice[~np.array(found)], default=1.0)


def test_ties_with_the_last_belong_to_the_worst() -> None:
    assert worst([0.5, 0.5, 0.5, 0.9, 0.9]) == [True, True, True, False, False]


def test_the_interval_holds_the_value_and_shrinks() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for count in (30, 300):
        dice = rng.uniform(0.5, 1, count)
        scores = (1 - dice + rng.normal(0, 0.1, count)).tolist()
        value, interval = auroc(scores, worst(dice.tolist())), auroc_interval(scores, dice.tolist())
        assert value is not None
        assert interval is not None
        assert interval[0] <= value <= interval[1]
        widths.append(interval[1] - interval[0])
    assert widths[1] < widths[0] / 2


def test_no_interval_of_one_kind() -> None:
    assert auroc_interval([1.0, 1.0], [0.5, 0.5]) is None

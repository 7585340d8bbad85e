import pytest
from hypothesis import given
from hypothesis import strategies as st

from medseg.config.training import StopConfig, TrainingConfig
from medseg.training.schedule import Budget, learning_rate


def config(**changes: object) -> TrainingConfig:
    return TrainingConfig(stop=StopConfig(epochs=1), learning_rate=1.0, warmup=0.1, **changes)


@pytest.mark.parametrize("schedule", ["poly", "cosine"])
def test_rises_then_falls_to_almost_nothing(schedule: str) -> None:
    rates = [learning_rate(config(schedule=schedule), step / 100) for step in range(101)]
    peak = rates.index(max(rates))
    assert peak == 10
    assert rates[peak] == pytest.approx(1.0)
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(1e-3)


def test_constant_stays() -> None:
    assert learning_rate(config(schedule="constant"), 0.9) == 1.0


@given(st.integers(1, 1000), st.floats(0, 1e4), st.floats(0.1, 1e4))
def test_steps_decide_alone_unless_the_clock_is_far_ahead(step: int, seconds: float, limit: float) -> None:
    total = 1000
    fraction = Budget(total, limit).fraction(step, seconds)
    assert 0 <= fraction <= 1
    if seconds / limit <= step / total + 0.1:
        assert fraction == step / total
    else:
        assert fraction == min(1, seconds / limit)


def test_whichever_comes_first_ends() -> None:
    assert Budget(10, 60).over(10, 0)
    assert Budget(10, 60).over(0, 60)
    assert not Budget(10, 60).over(9, 59)
    assert not Budget(None, 60).over(10**9, 59)

"""Several networks as one: the mean of what they say, in logits or in probabilities."""

import math

import pytest
import torch

from medseg.inference.engine import Engine
from medseg.inference.ensemble import Ensemble, together


class Fixed:
    """An engine that says the same of every window."""

    device = torch.device("cpu")

    def __init__(self, logits: list[float]) -> None:
        self.logits = torch.tensor(logits, dtype=torch.float32)

    def __call__(self, windows: torch.Tensor) -> torch.Tensor:
        shape = (windows.shape[0], len(self.logits), *windows.shape[2:])
        return self.logits[None, :, None, None, None].expand(shape).clone()

    def working_bytes(self, shape: tuple[int, int, int, int, int]) -> int:
        return 1000


ENGINES = (Fixed([0, 4, 1]), Fixed([3, 0, 0]), Fixed([1, 1, -200]))
WINDOWS = torch.zeros(2, 1, 3, 4, 5)


def test_mean_of_logits() -> None:
    found = Ensemble(ENGINES, 3)(WINDOWS)
    wanted = sum(engine(WINDOWS) for engine in ENGINES) / 3
    torch.testing.assert_close(found, wanted)


def test_mean_of_probabilities() -> None:
    found = Ensemble(ENGINES, 3).averaging(logits=False)(WINDOWS).softmax(1)
    wanted = sum(engine(WINDOWS).softmax(1) for engine in ENGINES) / 3
    torch.testing.assert_close(found, wanted)


def test_a_probability_of_zero_stays_a_number() -> None:
    found = Ensemble((Fixed([0, -1000]), Fixed([0, -1000])), 2, average_logits=False)(WINDOWS)
    assert found.isfinite().all() and (found[:, 0] > found[:, 1]).all()


def test_the_logits_of_the_engines_are_left_as_they_are_asked_for() -> None:
    """A second window is not averaged with what is left of the first."""
    ensemble = Ensemble(ENGINES, 3)
    torch.testing.assert_close(ensemble(WINDOWS), ensemble(WINDOWS))


def test_memory_counts_the_sum() -> None:
    ensemble: Engine = Ensemble(ENGINES, 3)
    assert isinstance(ensemble, Engine)
    assert ensemble.working_bytes((2, 1, 3, 4, 5)) == 1000 + 4 * 3 * math.prod((2, 3, 4, 5))


@pytest.mark.parametrize("count", [1, 2])
def test_one_engine_stays_itself(count: int) -> None:
    engine = together(ENGINES[:count], 3)
    assert (engine is ENGINES[0]) == (count == 1)

"""How far a training is, how fast it goes, and the learning rate there."""

import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar, assert_never

from medseg.config.training import TrainingConfig

_CLOCK_TOLERANCE = 0.1
_RECENT_STEPS = 50
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Budget:
    """Steps, seconds, or both.

    With steps alone the schedule is a function of the step, so a run repeats bit for bit. With both it still
    is, as long as the clock is not more than a tenth of the training ahead; then the clock takes over, so
    that the schedule comes to its end on a machine that is too slow.

    ``replayed``: the learning rates of an earlier training, one a step. They are gone through again, and the
    clock has no say; ``steps`` is their number.
    """

    steps: int | None
    seconds: float | None
    replayed: tuple[float, ...] = ()

    @classmethod
    def of_replay(cls, rates: Sequence[float]) -> "Budget":
        """As many steps, at the same rates, as a training that ended before."""
        return cls(len(rates), None, tuple(rates))

    def rate(self, config: TrainingConfig, step: int, seconds: float) -> float:
        """Learning rate of the step after ``step`` steps."""
        if self.replayed:
            return self.replayed[step]
        return learning_rate(config, self.fraction(step, seconds))

    def fraction(self, step: int, seconds: float) -> float:
        """0 at the start, 1 at the end."""
        by_step = step / self.steps if self.steps else None
        by_clock = seconds / self.seconds if self.seconds else None
        if by_step is None:
            return min(1.0, by_clock or 0.0)
        if by_clock is not None and by_clock > by_step + _CLOCK_TOLERANCE:
            return min(1.0, by_clock)
        return min(1.0, by_step)

    def over(self, step: int, seconds: float) -> bool:
        return (self.steps is not None and step >= self.steps) or (
            self.seconds is not None and seconds >= self.seconds
        )


def learning_rate(config: TrainingConfig, fraction: float) -> float:
    """Linear warm-up, then poly (power 0.9, Isensee 2021), cosine (Loshchilov 2017) or constant."""
    if fraction < config.warmup:
        return config.learning_rate * max(fraction / config.warmup, 0.01)
    after = min(1.0, (fraction - config.warmup) / max(1e-9, 1 - config.warmup))
    match config.schedule:
        case "poly":
            factor = float((1 - after) ** 0.9)
        case "cosine":
            factor = 0.5 * (1 + math.cos(math.pi * after))
        case "constant":
            factor = 1.0
        case _:
            assert_never(config.schedule)
    return config.learning_rate * max(factor, 1e-3)


@dataclass(frozen=True)
class Pace:
    waiting: float
    """Share of the time that was spent waiting for data."""
    steps_per_second: float


class Clock:
    """Seconds of training over all starts; and the pace of the last steps, validations left out.

    The first step, when the processes that load data start, does not count as long as there are others.
    """

    def __init__(self, seconds: float) -> None:
        """Args: seconds: of the starts before."""
        self._before = seconds
        self._start = time.perf_counter()
        self._began = self._start
        self._waited = 0.0
        self._recent: deque[tuple[float, float]] = deque(maxlen=_RECENT_STEPS)
        self._steps = 0

    @property
    def seconds(self) -> float:
        return self._before + time.perf_counter() - self._start

    def wait_for(self, items: Iterator[_Item]) -> _Item:
        """The next one; a step begins with it."""
        self._began = time.perf_counter()
        item = next(items)
        self._waited = time.perf_counter() - self._began
        return item

    def stepped(self) -> Pace:
        """A step ends: the pace of the last ones."""
        if self._steps == 1:
            self._recent.clear()
        self._steps += 1
        self._recent.append((self._waited, time.perf_counter() - self._began))
        waited, took = (sum(column) for column in zip(*self._recent, strict=True))
        return Pace(waited / max(1e-9, took), len(self._recent) / max(1e-9, took))

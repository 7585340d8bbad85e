"""How far a training is, and the learning rate there."""

import math
from dataclasses import dataclass
from typing import assert_never

from medseg.config.training import TrainingConfig

_CLOCK_TOLERANCE = 0.1


@dataclass(frozen=True)
class Budget:
    """Steps, seconds, or both.

    With steps alone the schedule is a function of the step, so a run repeats bit for bit. With both it still
    is, as long as the clock is not more than a tenth of the training ahead; then the clock takes over, so
    that the schedule comes to its end on a machine that is too slow.
    """

    steps: int | None
    seconds: float | None

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

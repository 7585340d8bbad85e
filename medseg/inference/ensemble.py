"""Several networks as one engine: what they say of a window is averaged at once, so that nothing is kept."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from medseg.inference.engine import Engine, softmax_

_TINY = 1e-30
"""A probability of 0 has no logarithm."""


class Ensemble:
    """Mean logits of ``engines``, or logits of their mean probabilities (whose softmax is that mean)."""

    def __init__(self, engines: Sequence[Engine], classes: int, *, average_logits: bool = True) -> None:
        self.device = engines[0].device
        self.engines = tuple(engines)
        self.classes = classes
        self.average_logits = average_logits

    def averaging(self, *, logits: bool) -> "Ensemble":
        """The same networks; probabilities are averaged unless ``logits``."""
        return Ensemble(self.engines, self.classes, average_logits=logits)

    @torch.inference_mode()
    def __call__(self, windows: Float[Tensor, "B C I J K"]) -> Float[Tensor, "B L I J K"]:
        total = self._scores(self.engines[0], windows)
        for engine in self.engines[1:]:
            total += self._scores(engine, windows)
        total /= len(self.engines)
        return total if self.average_logits else total.clamp_min_(_TINY).log_()

    def _scores(self, engine: Engine, windows: Tensor) -> Tensor:
        logits = engine(windows)
        return logits if self.average_logits else softmax_(logits)

    def working_bytes(self, shape: tuple[int, int, int, int, int]) -> int:
        """That of the largest network, and the sum of what went before."""
        batch, _, *space = shape
        total = torch.float32.itemsize * batch * self.classes * math.prod(space)
        return max(engine.working_bytes(shape) for engine in self.engines) + total


def together(engines: Sequence[Engine], classes: int) -> Engine:
    """The one engine, or an ensemble of several."""
    return engines[0] if len(engines) == 1 else Ensemble(engines, classes)

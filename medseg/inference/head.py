"""A network without its last layer, whose classes are told later from its features.

The last layer of a U-Net is a 1x1x1 convolution: class scores are linear in the feature maps before it. With
more classes than feature maps it is cheaper to carry these: a window of 96 cubed with 105 classes is 370 MB
of logits, and 113 MB of 32 feature maps. Where logits are averaged, over windows and between planes, the
features can be averaged instead, since an average is linear, too.
"""

import torch
from jaxtyping import Float, Float32
from torch import Tensor

from medseg.inference.engine import Engine
from medseg.inference.windows import WindowPlan


class Head:
    """Logits of feature maps: ``weight`` (classes, maps) and ``bias`` (classes)."""

    def __init__(self, weight: Float32[Tensor, "L F"], bias: Float32[Tensor, " L"]) -> None:
        self._weight, self._bias = weight, bias
        self.classes, self.maps = weight.shape

    @torch.inference_mode()
    def __call__(self, features: Float[Tensor, "*shape F"]) -> Float[Tensor, "*shape L"]:
        weight, bias = self._on(features.device)
        return torch.nn.functional.linear(features, weight, bias)

    @torch.inference_mode()
    def of_planes(self, features: Float32[Tensor, "n F i j"]) -> Float32[Tensor, "n L i j"]:
        """The same with the maps before the places, which stay in this order: nothing is transposed."""
        weight, bias = self._on(features.device)
        flat = features.flatten(2)
        found = torch.baddbmm(bias[:, None], weight.expand(len(flat), -1, -1), flat)
        return found.view(len(found), self.classes, *features.shape[2:])

    def _on(self, device: torch.device) -> tuple[Tensor, Tensor]:
        if self._weight.device != device:
            self._weight, self._bias = self._weight.to(device), self._bias.to(device)
        return self._weight, self._bias


class LateHead:
    """An engine whose network ends in ``head``: ``inner`` computes all before it.

    Calling it gives logits, as every engine does; ``inner`` and ``head`` are there for those who can wait.
    """

    def __init__(self, inner: Engine, head: Head) -> None:
        self.device = inner.device
        self.inner, self.head = inner, head

    def __call__(self, windows: Float[Tensor, "B C I J K"]) -> Float[Tensor, "B L I J K"]:
        features = self.inner(windows)
        return self.head(features.movedim(1, -1)).movedim(-1, 1)

    def working_bytes(self, shape: tuple[int, int, int, int, int]) -> int:
        batch, _, i, j, k = shape
        logits = torch.float32.itemsize * batch * self.head.classes * i * j * k
        return self.inner.working_bytes(shape) + logits


def let_wait(engine: Engine, plan: WindowPlan) -> tuple[Engine, Head | None]:
    """What windows go through, and what tells the classes of its features; None: it tells them itself.

    Mirrored windows are averaged as class scores, since left and right swap there.
    """
    return (engine.inner, engine.head) if isinstance(engine, LateHead) and not plan.mirror else (engine, None)

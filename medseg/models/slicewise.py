"""A 2D network on volumes: slices are folded into the batch."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from medseg.config.model import Plane
from medseg.models.blocks import Logits

SLICE_AXIS: dict[Plane, int] = {"sagittal": 0, "coronal": 1, "axial": 2}
"""The spatial axis that the slices of a plane are stacked along."""


class SliceWise(nn.Module):
    """(B, C, I, J, K) to (B, classes, I, J, K) by way of ``network`` on (B * slices, C', height, width).

    Args:
        network: a 2D network for C' = C * (2 * neighbours + 1) channels.
        plane: which slices it sees.
        neighbours: this many slices on each side become further channels (2.5D), in the order of the slices,
            each with its C channels; beyond the volume its outermost slice is repeated.
    """

    def __init__(self, network: nn.Module, plane: Plane = "axial", neighbours: int = 0) -> None:
        super().__init__()
        self.network = network
        self.axis = SLICE_AXIS[plane] + 2
        self.neighbours = neighbours

    def forward(self, x: Float[Tensor, "B C I J K"]) -> Logits:
        slices = x.movedim(self.axis, 1)
        if self.neighbours:
            slices = self._with_neighbours(slices)
        logits: Logits = self.network(slices.flatten(0, 1))
        if isinstance(logits, list):
            return [self._unfold(level, x) for level in logits]
        return self._unfold(logits, x)

    def _with_neighbours(self, slices: Tensor) -> Tensor:
        """(B, S, C, H, W) to (B, S, N C, H, W); untyped, for a tracer's sizes are no numbers."""
        count = slices.shape[1]
        here = torch.arange(count, device=slices.device)
        offsets = torch.arange(-self.neighbours, self.neighbours + 1, device=slices.device)
        wanted = (here[:, None] + offsets).clamp(0, count - 1)
        return slices[:, wanted].flatten(2, 3)

    def _unfold(self, logits: Tensor, x: Tensor) -> Tensor:
        """(B S, L, H, W) to (B, L, I, J, K)."""
        return logits.reshape(x.shape[0], -1, *logits.shape[1:]).movedim(1, self.axis)

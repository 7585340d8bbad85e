"""Exponential moving average of a network's weights (Polyak 1992)."""

import copy

import torch
from torch import nn


class EMA:
    """``shadow`` is a copy of the network that follows it slowly.

    Early on the decay is (1 + step) / (10 + step), so that the first, random weights are soon forgotten.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.shadow = copy.deepcopy(network).eval().requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        decay = min(self._decay, (1 + step) / (10 + step))
        ours, theirs = self.shadow.state_dict(), network.state_dict()
        for name, value in ours.items():
            if value.dtype.is_floating_point:
                value.lerp_(theirs[name], 1 - decay)
            else:
                value.copy_(theirs[name])

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
        theirs = network.state_dict()
        pairs = [(value, theirs[name]) for name, value in self.shadow.state_dict().items()]
        averaged = [pair for pair in pairs if pair[0].dtype.is_floating_point]
        torch._foreach_lerp_([a for a, _ in averaged], [b for _, b in averaged], 1 - decay)
        for ours, counted in (pair for pair in pairs if not pair[0].dtype.is_floating_point):
            ours.copy_(counted)

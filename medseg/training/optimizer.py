"""The optimiser of a network, and which of its parameters learn."""

from typing import Any, assert_never

import torch
from torch import nn

from medseg.config import Experiment
from medseg.config.training import SGD, AdamW
from medseg.models.build import encoder_names

FROZEN = "frozen"
"""Marks the group of parameters that waits for ``training.freeze_epochs``."""


def build_optimizer(experiment: Experiment, network: nn.Module) -> torch.optim.Optimizer:
    """AdamW (Loshchilov 2019) or SGD with Nesterov momentum, fused: one pass over all parameters."""
    config = experiment.training
    groups = _groups(experiment, network)
    match config.optimizer:
        case AdamW(weight_decay=decay):
            return torch.optim.AdamW(groups, lr=config.learning_rate, weight_decay=decay, fused=True)
        case SGD(momentum=momentum, weight_decay=decay):
            return torch.optim.SGD(
                groups,
                lr=config.learning_rate,
                momentum=momentum,
                nesterov=momentum > 0,
                weight_decay=decay,
                fused=True,
            )
        case _:
            assert_never(config.optimizer)


def frozen_modules(experiment: Experiment, network: nn.Module) -> tuple[nn.Module, ...]:
    """Modules of the frozen part: batch norm must not go on counting, nor dropout drop."""
    if experiment.training.freeze == "none":
        return ()
    found = encoder_names(experiment.model, (f"{name}." for name, _ in network.named_modules()))
    return tuple(module for name, module in network.named_modules() if f"{name}." in found)


def _groups(experiment: Experiment, network: nn.Module) -> list[dict[str, Any]]:
    """The encoder is a group of its own where it is frozen for a while, and in none where it is for good."""
    config = experiment.training
    named = dict(network.named_parameters())
    frozen = encoder_names(experiment.model, named) if config.freeze == "encoder" else set()
    learning = [parameter for name, parameter in named.items() if name not in frozen]
    if not frozen:
        return [{"params": learning}]
    waiting = [named[name] for name in named if name in frozen]
    if config.freeze_epochs is None:
        for parameter in waiting:
            parameter.requires_grad_(False)
        return [{"params": learning}]
    return [{"params": learning}, {"params": waiting, FROZEN: True}]

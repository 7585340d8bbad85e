"""torch.compile, where it is asked for or pays, and can be had."""

import logging
from typing import Literal, cast

import torch
from torch import nn

from medseg.inference.device import missing_compiler

log = logging.getLogger(__name__)


def compiled_where_it_pays(
    network: nn.Module, wanted: bool | Literal["auto"], device: torch.device
) -> nn.Module:
    """``network`` compiled, or as it is; ``auto``: on CUDA, where a compiler is at hand."""
    if wanted is False or (wanted == "auto" and device.type != "cuda"):
        return network
    missing = missing_compiler(device)
    if missing:
        if wanted is True:
            log.warning("training.compile: %s was not found; the network is trained as it is", missing)
        return network
    return cast(nn.Module, torch.compile(network))

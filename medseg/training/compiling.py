"""torch.compile, where it is asked for or pays, and can be had."""

import importlib.util
import logging
import os
import shutil
from typing import Literal, cast

import torch
from torch import nn

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


def missing_compiler(device: torch.device) -> str:
    """What torch.compile would miss on this machine; empty when it has all."""
    if not any(shutil.which(name) for name in (os.environ.get("CXX", ""), "g++", "clang++", "cl") if name):
        return "a C++ compiler"
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        return "triton"
    return ""

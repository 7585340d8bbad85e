"""Which device computes, and in which precision."""

import importlib.util
import os
import shutil
from typing import Literal

import torch

from medseg.errors import Code, EnvironmentProblem, UsageError

DeviceName = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]


def choose_device(name: str = "auto") -> torch.device:
    """``auto``: CUDA, else Apple's MPS, else the CPU; a named device that is not there is refused."""
    if name not in ("auto", "cpu", "cuda", "mps"):
        raise UsageError(Code.OPTION, f"device {name}: give auto, cpu, cuda or mps")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise EnvironmentProblem(
            Code.DEVICE, "device cuda: no usable CUDA device was found: use --device cpu, or check the driver"
        )
    if name == "mps" and not torch.backends.mps.is_available():
        raise EnvironmentProblem(
            Code.DEVICE, "device mps: Apple's MPS is not available here: use --device cpu"
        )
    return torch.device(name)


def choose_precision(name: str, device: torch.device) -> Literal["fp32", "bf16", "fp16"]:
    """``auto``: bf16 where the hardware computes in it, else fp32."""
    for told in ("fp32", "bf16", "fp16"):
        if name == told:
            return told
    if name != "auto":
        raise UsageError(Code.OPTION, f"precision {name}: give auto, fp32, bf16 or fp16")
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    if device.type == "cpu" and torch.cpu._is_avx512_bf16_supported():
        return "bf16"
    return "fp32"


def describe_device(device: torch.device) -> str:
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    if device.type == "cpu":
        return f"cpu ({torch.get_num_threads()} threads)"
    return device.type


def missing_compiler(device: torch.device) -> str:
    """What torch.compile would miss on this machine; empty when it has all."""
    if not any(shutil.which(name) for name in (os.environ.get("CXX", ""), "g++", "clang++", "cl") if name):
        return "a C++ compiler"
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        return "triton"
    return ""

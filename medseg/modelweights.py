"""The weights of a model file: plain tensors, their checksum, and half-size storage.

Half-size weights are float16 in the file and float32 in memory, so that a model computes the same wherever it
is loaded. float16 keeps 11 bits: a weight changes by at most 1/2048 of itself, far below what training leaves
undecided.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medseg.errors import Code, ModelFileError
from medseg.modelheader import GIVE_OURS, to_json

HALF = "fp16"
STORED = "weights"
"""The key of the header that tells how weights are stored; absent for full size."""


def plain_tensors(path: Path, weights: Mapping[str, Any]) -> dict[str, Tensor]:
    """Contiguous copies on the CPU, none sharing memory.

    Raises:
        ModelFileError: something is no dense tensor.
    """
    wrong = [name for name, value in weights.items() if not isinstance(value, Tensor) or value.is_sparse]
    if wrong:
        raise ModelFileError(
            Code.MODEL_CONTENT,
            f"{path}: {', '.join(wrong[:5])}: only dense tensors go into a model file; convert them",
        )
    return {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in weights.items()
    }


def halved(path: Path, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Floating weights as float16; others (counters) as they are.

    Raises:
        ModelFileError: a weight is larger than float16 can hold.
    """
    small = {n: value.half() if value.is_floating_point() else value for n, value in weights.items()}
    lost = [name for name, value in small.items() if not torch.isfinite(value).all()]
    if lost:
        raise ModelFileError(
            Code.MODEL_CONTENT,
            f"{path}: {', '.join(lost[:3])}: has values beyond 65504 or none that are finite, which float16 "
            "cannot hold: keep fp32",
        )
    return small


def restored(path: Path, weights: Mapping[str, Tensor], stored: object) -> dict[str, Tensor]:
    """What a file holds as it is computed with.

    Args:
        stored: what the header tells: ``"fp16"``, or None for full size.

    Raises:
        ModelFileError: the tensors are not stored as the header tells, or it tells of another kind.
    """
    if stored not in (None, HALF):
        raise ModelFileError(
            Code.MODEL_FOREIGN, f"{path}: its weights are stored in an unknown way; {GIVE_OURS}"
        )
    if stored is None:
        return dict(weights)
    wrong = [
        f"{name} is {value.dtype}".replace("torch.", "")
        for name, value in weights.items()
        if value.is_floating_point() and value.dtype != torch.float16
    ]
    if wrong:
        raise ModelFileError(
            Code.MODEL_MISFIT,
            f"{path}: {wrong[0]:.80}, not float16 as its header tells: copy or download it again",
        )
    return {name: value.float() if value.is_floating_point() else value for name, value in weights.items()}


def checksum(told: Mapping[str, Any], weights: Mapping[str, Tensor]) -> str:
    """SHA-256 of the metadata (JSON values) and of all tensors, as they are stored."""
    digest = hashlib.sha256(to_json(told).encode())
    for name in sorted(weights):
        tensor = weights[name].contiguous()
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()

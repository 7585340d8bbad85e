"""Weights of an nnU-Net checkpoint, unpickled in a process that has no rights (``nnunet_unpickle``)."""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from medseg.convert import nnunet_unpickle
from medseg.errors import Code, EnvironmentProblem, ModelFileError

SECONDS = 900
"""A checkpoint that takes longer is given up."""


Wrote = Literal["nnunet", "monai"]
_NAMES: dict[Wrote, str] = {"nnunet": "nnU-Net v2", "monai": "MONAI"}


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """``weights`` under nnU-Net's names, on the CPU; ``mirror_axes`` are axes of its network."""

    weights: dict[str, Tensor]
    sha256: str
    trainer: str
    configuration: str
    epoch: int
    mirror_axes: tuple[int, ...]


def read_checkpoint(path: Path) -> Checkpoint:
    """Read ``path`` (checkpoint_final.pth) without running anything that it holds.

    Raises:
        ModelFileError: missing, damaged, no checkpoint of nnU-Net, or it holds more than weights and numbers.
        EnvironmentProblem: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            weights, told = unpickled(path, file, "nnunet")
    except (FileNotFoundError, IsADirectoryError):
        raise ModelFileError(Code.NO_MODEL_FILE, f"{path}: no such file") from None
    except OSError as error:
        raise EnvironmentProblem(Code.CANNOT_READ, f"{path}: cannot be read ({error.strerror})") from None
    try:
        return Checkpoint(
            weights,
            digest,
            trainer=str(told["trainer"]),
            configuration=str(told["configuration"]),
            epoch=int(told["epoch"]),
            mirror_axes=tuple(int(axis) for axis in told["mirror_axes"]),
        )
    except (KeyError, ValueError, TypeError):
        raise ModelFileError(Code.MODEL_DAMAGED, f"{path}: its weights cannot be read") from None


def unpickled(path: Path, file: BinaryIO, wrote: Wrote) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights of the checkpoint ``file``, and what else it tells of itself; ``path`` names it in errors.

    Raises:
        ModelFileError: damaged, no checkpoint of that program, or it holds more than weights and numbers.
    """
    data = _converted(path, file, wrote)
    try:
        weights = safetensors.torch.load(data)
        told = json.loads(_header(data)["__metadata__"]["checkpoint"])
    except (SafetensorError, KeyError, ValueError, TypeError, RecursionError):
        raise ModelFileError(Code.MODEL_DAMAGED, f"{path}: its weights cannot be read") from None
    ModelFileError.raise_if(
        Code.MODEL_CONTENT,
        (
            f"{path}: {name} holds values that are not finite: its training failed, take another checkpoint"
            for name, value in weights.items()
            if not torch.isfinite(value).all()
        ),
    )
    return weights, told


def _converted(path: Path, file: BinaryIO, wrote: Wrote) -> bytes:
    """What the other process writes: safetensors."""
    file.seek(0)
    kept = {name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ}  # Windows needs it
    with tempfile.TemporaryFile() as output:
        try:
            done = subprocess.run(  # noqa: S603 - this interpreter, our own file, no shell
                [sys.executable, "-I", nnunet_unpickle.__file__, wrote],
                stdin=file,
                stdout=output,
                stderr=subprocess.PIPE,
                env={**kept, "OMP_NUM_THREADS": "1"},
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ModelFileError(
                Code.MODEL_DAMAGED, f"{path}: reading it took more than {SECONDS} s: it is not a checkpoint"
            ) from None
        if done.returncode == 0:
            output.seek(0)
            return output.read()
    raise _refusal(path, done.returncode, done.stderr, _NAMES[wrote])


def _refusal(path: Path, code: int, stderr: bytes, name: str) -> ModelFileError:
    if code != nnunet_unpickle.REFUSED:
        return ModelFileError(
            Code.MODEL_DAMAGED,
            f"{path}: the process that reads it ended with code {code} (memory and time are limited): "
            "copy or download the file again",
        )
    reason = stderr.decode(errors="replace").splitlines()[-1][:120]
    if reason.startswith("holds"):
        return ModelFileError(
            Code.MODEL_CONTENT,
            f"{path}: {reason}; a checkpoint with more than weights could run code and is not opened: "
            f"ask whoever trained it for one that {name} wrote",
        )
    return ModelFileError(
        Code.MODEL_FOREIGN,
        f"{path}: not a checkpoint of {name}, or damaged ({reason}): download it again",
    )


def _header(data: bytes) -> dict[str, Any]:
    size = int.from_bytes(data[:8], "little")
    header: dict[str, Any] = json.loads(data[8 : 8 + size])
    return header

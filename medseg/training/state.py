"""Everything a training needs to go on where it stopped, in one safetensors file."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import safe_open, save
from torch import Tensor, nn
from torch.optim import Optimizer

from medseg.errors import Code, ModelFileError
from medseg.modelweights import checksum
from medseg.training.ema import EMA
from medseg.training.optimizer import FROZEN

_FORMAT = "2"


@dataclass
class Progress:
    """Where a training is. ``seconds`` counts training and validation, over all starts."""

    step: int = 0
    validated_step: int = 0
    """The last step whose weights were validated; a training may be stopped before it comes to that."""
    log_bytes: int = 0
    """Length of metrics.jsonl: a resumed training cuts off what came later, and writes it again."""
    seconds: float = 0.0
    best_dice: float = -1.0
    best_step: int = -1
    bad_validations: int = 0


@dataclass
class Learner:
    """What changes while training: the network, its optimiser and its moving average."""

    network: nn.Module
    optimizer: Optimizer
    ema: EMA | None
    frozen: tuple[nn.Module, ...] = ()
    """Parts of the network that do not learn, or not yet."""

    @property
    def evaluated(self) -> nn.Module:
        """The network that validates and is kept."""
        return self.ema.shadow if self.ema else self.network

    def begin_step(self, rate: float, *, frozen: bool) -> None:
        """Training mode and learning rate; 0 for the part that waits while ``frozen``."""
        self.network.train()
        if frozen:
            for module in self.frozen:
                module.eval()
        for group in self.optimizer.param_groups:
            group["lr"] = 0.0 if frozen and group.get(FROZEN) else rate


def pack(learner: Learner, progress: Progress, fingerprint: str) -> bytes:
    """A checkpoint file; ``fingerprint`` names the configuration and data that the training belongs to."""
    tensors = {f"network.{name}": value for name, value in learner.network.state_dict().items()}
    if learner.ema:
        tensors |= {f"ema.{name}": value for name, value in learner.ema.shadow.state_dict().items()}
    optimizer = learner.optimizer.state_dict()
    scalars: dict[str, dict[str, Any]] = {}
    for index, slots in optimizer["state"].items():
        for slot, value in slots.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{index}.{slot}"] = value
            else:
                scalars.setdefault(str(index), {})[slot] = value
    header = {
        "format": _FORMAT,
        "fingerprint": fingerprint,
        "progress": json.dumps(asdict(progress)),
        "groups": json.dumps(optimizer["param_groups"]),
        "scalars": json.dumps(scalars),
    }
    copies = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    packed: bytes = save(copies, header | {"sha256": _checksum(header, copies)})
    return packed


def unpack(path: Path, learner: Learner, fingerprint: str) -> Progress:
    """Put the values of a checkpoint file into ``learner``, which stays as it is when the file is not whole.

    Raises:
        ModelFileError: damaged; or of another version, configuration or data.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelFileError(Code.CHECKPOINT_DAMAGED, f"{path}: damaged checkpoint ({error})") from None
    if header.get("format") != _FORMAT:
        raise ModelFileError(
            Code.CHECKPOINT_OTHER, f"{path}: not a checkpoint of this version: train into a new folder"
        )
    if header.pop("sha256", None) != _checksum(header, tensors):
        raise ModelFileError(
            Code.CHECKPOINT_DAMAGED, f"{path}: damaged checkpoint (its checksum does not match)"
        )
    if header["fingerprint"] != fingerprint:
        raise ModelFileError(
            Code.CHECKPOINT_OTHER,
            f"{path}: the configuration or the data changed since: train into a new folder",
        )
    learner.network.load_state_dict(_under(tensors, "network."))
    if learner.ema:
        learner.ema.shadow.load_state_dict(_under(tensors, "ema."))
    slots: dict[int, dict[str, Any]] = {int(i): dict(s) for i, s in json.loads(header["scalars"]).items()}
    for name, value in _under(tensors, "optimizer.").items():
        index, slot = name.split(".", 1)
        slots.setdefault(int(index), {})[slot] = value
    learner.optimizer.load_state_dict({"state": slots, "param_groups": json.loads(header["groups"])})
    _lay_out_as_parameters(learner.optimizer)
    return Progress(**json.loads(header["progress"]))


def _lay_out_as_parameters(optimizer: Optimizer) -> None:
    """Give averages the strides of their parameter: fused optimisers walk both in memory order."""
    for parameter, slots in optimizer.state.items():
        for slot, value in slots.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                slots[slot] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _checksum(header: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str:
    return checksum(dict(sorted(header.items())), tensors)  # a file does not keep the order of its header


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def seed_step(seed: int, step: int, rank: int = 0) -> None:
    """Dropout and the like draw from the step's own seed, so that a resumed run draws the same."""
    torch.manual_seed((seed * 1_000_003 + step + rank * 7_919_000_003) % 2**63)

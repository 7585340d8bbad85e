"""Networks of MONAI by name, as bundles describe them. MONAI is imported when one is asked for."""

import re
import warnings
from collections.abc import Iterable
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from medseg.config.model import MonaiConfig
from medseg.config.monai_networks import NetworkName
from medseg.errors import Code, ConfigError
from medseg.models.layout import require_multiple, require_room

_ENCODER: dict[NetworkName, str] = {
    "UNet": r"model\.(1\.submodule\.)*0\.",
    "BasicUNet": r"conv_0\.|down_",
    "AttentionUnet": r"model\.0\.|model\.(1\.submodule\.)+0\.",
    "DynUNet": r"input_block\.|downsamples\.|bottleneck\.|skip_layers\.(next_layer\.)*downsample\.",
    "SegResNet": r"convInit\.|down_layers\.",
    "SegResNetDS": r"encoder\.",
    "SwinUNETR": r"swinViT\.|encoder",
    "VNet": r"in_tr\.|down_tr",
    "MedNeXt": r"stem\.|enc_stages\.|down_blocks\.",
}
"""How the names of the contracting path's weights begin."""

_REFUSALS = (
    TypeError, ValueError, LookupError, AttributeError, NotImplementedError, AssertionError, ArithmeticError,
)  # fmt: skip


class WithBackground(nn.Module):
    """Before the outputs of ``network``, one that is 0 everywhere: a structure is where it scores above."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.network(x)
        return torch.cat((torch.zeros_like(scores[:, :1]), scores), dim=1)


def build_named(
    config: MonaiConfig, inputs: int, classes: int, size: tuple[int, ...], axes: str
) -> nn.Module:
    """The network of ``config``, freshly initialised.

    Raises:
        ConfigError: the patch does not suit it, or MONAI refuses its arguments.
    """
    steps = multiples(config)
    require_multiple(size, axes, steps, f"what MONAI's {config.network} pools")
    require_room(size, steps)
    with_background = config.outputs == "structures"
    arguments: dict[str, Any] = {
        **config.arguments,
        "spatial_dims": config.spatial_dims,
        "in_channels": inputs,
        "out_channels": classes - with_background,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MONAI warns about its own dependencies
        from monai.networks import nets  # noqa: PLC0415 - heavy

        try:
            network: nn.Module = getattr(nets, config.network)(**arguments)
        except _REFUSALS as error:
            raise ConfigError(
                Code.CONFIG_NETWORK,
                f"model.arguments: MONAI's {config.network} cannot be built with them "
                f"({type(error).__name__}: {str(error)[:120]}): correct them",
            ) from None
    return WithBackground(network) if with_background else network


def multiples(config: MonaiConfig) -> tuple[int, ...]:
    """What sizes must be multiples of, along each axis of the network.

    Raises:
        ConfigError: strides or stages are not such.
    """
    told, dims = config.arguments, config.spatial_dims
    try:
        match config.network:
            case "UNet" | "AttentionUnet" | "DynUNet":
                return _product(told["strides"], dims)
            case "SegResNet" | "SegResNetDS":
                return (2 ** (_length(told.get("blocks_down", [1, 2, 2, 4])) - 1),) * dims
            case "MedNeXt":
                return (2 ** _length(told.get("blocks_down", [2, 2, 2, 2])),) * dims
            case "SwinUNETR":
                return (_positive(told.get("patch_size", 2)) ** 5,) * dims
            case "BasicUNet" | "VNet":
                return (16,) * dims
    except (KeyError, TypeError, ValueError):
        raise ConfigError(
            Code.CONFIG_NETWORK,
            f"model.arguments: strides, blocks or patch_size of {config.network} are not whole numbers above "
            f"0, one a stage or one a stage and axis: correct them",
        ) from None


def encoder_names(config: MonaiConfig, names: Iterable[str]) -> set[str]:
    """Those of the network's parameters that belong to its contracting path."""
    beginning = re.compile(_ENCODER[config.network])
    return {name for name in names if beginning.match(re.sub(r"^(network\.)+", "", name))}


def _product(strides: Any, dims: int) -> tuple[int, ...]:
    """Of strides of each stage, which are one number, or one an axis."""
    stages = [stage if isinstance(stage, list | tuple) else [stage] * dims for stage in strides]
    return tuple(prod(_positive(stage[axis]) for stage in stages) for axis in range(dims))


def _length(values: Any) -> int:
    if not 1 <= len(values) <= 16:
        raise ValueError
    return len(values)


def _positive(value: Any) -> int:
    if type(value) is not int or not 1 <= value <= 1024:
        raise ValueError
    return value

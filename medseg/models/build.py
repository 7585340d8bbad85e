"""From the configuration to a network: the only reader of ``ModelConfig``."""

from collections.abc import Iterable
from typing import assert_never

from torch import nn

from medseg.config.model import (
    ModelConfig,
    MonaiConfig,
    SegResNetConfig,
    SwinUNETRConfig,
    UNetConfig,
    VNetConfig,
)
from medseg.errors import Code, ConfigError
from medseg.models import monai_named, monai_nets
from medseg.models.blocks import Style, use_channels_last
from medseg.models.layout import Layout, plan_layout, require_room, total_stride
from medseg.models.slicewise import SLICE_AXIS, SliceWise
from medseg.models.unet import UNet, UNetShape
from medseg.models.vnet import VNet, VNetShape


def build_network(
    config: ModelConfig, *, in_channels: int, classes: int, patch_size: tuple[int, int, int]
) -> nn.Module:
    """A network (B, in_channels, I, J, K) to logits (B, classes, I, J, K), float32, freshly initialised.

    ``classes`` counts the background. With deep supervision the result is, in training mode only, a list of
    logits: full size first, each next one coarser by its stage's strides (axes that are not pooled keep their
    size, and so does the slice axis of a 2D network).

    Raises:
        ConfigError: the patch size does not suit the network; axis and nearest sizes are named.
    """
    axes, inputs = "ijk", in_channels
    if config.spatial_dims == 2:
        across = SLICE_AXIS[config.plane]
        _require_neighbours(config, patch_size[across], axes[across])
        axes = axes.replace(axes[across], "")
        inputs = in_channels * (2 * config.neighbours + 1)
    size = tuple(patch_size["ijk".index(axis)] for axis in axes)
    network = use_channels_last(_build(config, inputs, classes, size, axes), config.spatial_dims)
    if config.spatial_dims == 2:
        return SliceWise(network, config.plane, config.neighbours)
    return network


def size_multiples(config: ModelConfig, patch_size: tuple[int, int, int]) -> tuple[int, int, int]:
    """What sizes along i, j, k must be multiples of, for a network built for ``patch_size``."""
    axes = "ijk" if config.spatial_dims == 3 else "ijk".replace("ijk"[SLICE_AXIS[config.plane]], "")
    size = tuple(patch_size["ijk".index(axis)] for axis in axes)
    match config:
        case UNetConfig() | VNetConfig():
            multiples = total_stride(_layout(config, size, axes).strides)
        case SegResNetConfig():
            multiples = (2 ** (len(config.blocks_down) - 1),) * len(axes)
        case SwinUNETRConfig():
            multiples = (monai_nets.SWIN_STRIDE,) * len(axes)
        case MonaiConfig():
            multiples = monai_named.multiples(config)
        case _:
            assert_never(config)
    told = dict(zip(axes, multiples, strict=True))
    return told.get("i", 1), told.get("j", 1), told.get("k", 1)


def encoder_names(config: ModelConfig, names: Iterable[str]) -> set[str]:
    """Those of a network's parameters that belong to its contracting path."""
    match config:
        case MonaiConfig():
            return monai_named.encoder_names(config, names)
        case UNetConfig():
            parts: tuple[str, ...] = ("stem.", "encoder.")
        case VNetConfig():
            parts = ("encoder.", "downs.")
        case SegResNetConfig():
            parts = ("convInit.", "down_layers.")
        case SwinUNETRConfig():
            parts = ("swinViT.", "encoder")
        case _:
            assert_never(config)
    return {name for name in names if name.removeprefix("network.").startswith(parts)}


def last_head(config: ModelConfig, names: Iterable[str]) -> str | None:
    """The module that makes the logits, a 1x1x1 convolution; None where a network ends in another way."""
    if not isinstance(config, UNetConfig | VNetConfig):
        return None
    found = {name.rpartition(".")[0] for name in names if name.removeprefix("network.").startswith("heads.")}
    return max(found, key=lambda name: int(name.rpartition(".")[2]), default=None)


def without_head(network: nn.Module, head: str) -> nn.Module:
    """``network``, from now on giving the feature maps that the module ``head`` took."""
    network.set_submodule(head, nn.Identity())
    return network


def _build(config: ModelConfig, inputs: int, classes: int, size: tuple[int, ...], axes: str) -> nn.Module:
    match config:
        case UNetConfig():
            return _build_unet(config, inputs, classes, _layout(config, size, axes))
        case VNetConfig():
            return _build_vnet(config, inputs, classes, _layout(config, size, axes))
        case SegResNetConfig():
            return monai_nets.build_segresnet(config, inputs, classes, size, axes)
        case SwinUNETRConfig():
            return monai_nets.build_swin_unetr(config, inputs, classes, size, axes)
        case MonaiConfig():
            return monai_named.build_named(config, inputs, classes, size, axes)
        case _:
            assert_never(config)


def _layout(config: UNetConfig | VNetConfig, size: tuple[int, ...], axes: str) -> Layout:
    strides = config.strides if isinstance(config, UNetConfig) else None
    layout = plan_layout(size, axes, len(config.channels), config.kernel, strides)
    if config.norm == "instance":
        require_room(size, total_stride(layout.strides))
    return layout


def _build_unet(config: UNetConfig, inputs: int, classes: int, layout: Layout) -> UNet:
    count, back = config.blocks, config.decoder_blocks
    shape = UNetShape(
        layout=layout,
        channels=config.channels,
        blocks=(count,) * layout.depth if isinstance(count, int) else count,
        decoder_blocks=(back,) * (layout.depth - 1) if isinstance(back, int) else back,
        residual=config.residual,
        max_pooling=config.downsample == "max",
        linear_upsampling=config.upsample == "linear",
        narrow_first=config.narrow_first,
        deep_supervision=config.deep_supervision,
    )
    return UNet(inputs, classes, shape, Style(layout.dims, config.norm, config.activation, config.dropout))


def _build_vnet(config: VNetConfig, inputs: int, classes: int, layout: Layout) -> VNet:
    shape = VNetShape(layout, config.channels, config.blocks, config.decoder_blocks, config.deep_supervision)
    return VNet(inputs, classes, shape, Style(layout.dims, config.norm, "prelu", config.dropout))


def _require_neighbours(config: ModelConfig, slices: int, axis: str) -> None:
    wanted = 2 * config.neighbours + 1
    if slices < wanted:
        raise ConfigError(
            Code.CONFIG_NETWORK,
            f"sampling.patch_size: {slices} along {axis} holds fewer slices than model.neighbours: "
            f"{config.neighbours} looks at: give at least {wanted}",
        )

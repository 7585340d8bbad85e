"""The parts that networks are made of, for 2 and 3 spatial dimensions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from medseg.models.convolutions import (
    HalvedConv3d,
    PointwiseConv2d,
    PointwiseConv3d,
    ScatterConv2d,
    ScatterConv3d,
)
from medseg.models.norm import InstanceNorm

Features = Float[Tensor, "B C *space"]
Logits = Tensor | list[Tensor]
"""(B, classes, I, J, K); with deep supervision, in training only: a list of them, full size first."""

LEAK = 0.01
"""Slope of the leaky ReLU, and of the initialisation that goes with it."""


_Modules = dict[int, Callable[..., nn.Module]]
_CONV: _Modules = {2: nn.Conv2d, 3: HalvedConv3d}
_POINTWISE_CONV: _Modules = {2: PointwiseConv2d, 3: PointwiseConv3d}
_TRANSPOSED_CONV: _Modules = {2: ScatterConv2d, 3: ScatterConv3d}
_MAX_POOL: _Modules = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
_AVERAGE_POOL: _Modules = {2: nn.AvgPool2d, 3: nn.AvgPool3d}
_BATCH_NORM: _Modules = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
_DROPOUT: _Modules = {2: nn.Dropout2d, 3: nn.Dropout3d}


@dataclass(frozen=True)
class Style:
    """What all blocks of a network share."""

    dims: int
    norm: Literal["instance", "batch", "none"] = "instance"
    activation: Literal["leaky_relu", "relu", "prelu"] = "leaky_relu"
    dropout: float = 0.0


def conv(
    dims: int, inputs: int, outputs: int, kernel: Sequence[int], stride: Sequence[int] | None = None
) -> nn.Module:
    """Convolution with "same" padding: the output has size / stride voxels."""
    padding = tuple(k // 2 for k in kernel)
    return _CONV[dims](inputs, outputs, tuple(kernel), tuple(stride or (1,) * dims), padding)


def conv_1x1(dims: int, inputs: int, outputs: int, *, bias: bool = True) -> nn.Module:
    return _POINTWISE_CONV[dims](inputs, outputs, 1, bias=bias)


def strided_conv(dims: int, inputs: int, outputs: int, stride: Sequence[int]) -> nn.Module:
    """Convolution whose kernel is its stride: each voxel is read once."""
    return _CONV[dims](inputs, outputs, tuple(stride), tuple(stride))


def transposed_conv(dims: int, inputs: int, outputs: int, stride: Sequence[int]) -> nn.Module:
    """Transposed convolution whose kernel is its stride: each voxel is written once."""
    return _TRANSPOSED_CONV[dims](inputs, outputs, tuple(stride), tuple(stride))


def max_pool(stride: Sequence[int]) -> nn.Module:
    return _MAX_POOL[len(stride)](tuple(stride))


def average_pool(stride: Sequence[int]) -> nn.Module:
    return _AVERAGE_POOL[len(stride)](tuple(stride), tuple(stride))


def dropout(style: Style) -> nn.Module:
    """Drops whole feature maps (Tompson 2015)."""
    return _DROPOUT[style.dims](style.dropout) if style.dropout else nn.Identity()


def norm(style: Style, channels: int) -> nn.Module:
    match style.norm:
        case "instance":
            return InstanceNorm(channels)
        case "batch":
            return _BATCH_NORM[style.dims](channels)
        case "none":
            return nn.Identity()


def activation(style: Style, channels: int) -> nn.Module:
    """In place where it can be: the layer before it keeps its input, not its output, for the gradient."""
    match style.activation:
        case "leaky_relu":
            return nn.LeakyReLU(LEAK, inplace=True)
        case "relu":
            return nn.ReLU(inplace=True)
        case "prelu":
            return nn.PReLU(channels)


class ConvBlock(nn.Sequential):
    """Convolution, dropout, norm, activation."""

    def __init__(
        self,
        style: Style,
        inputs: int,
        outputs: int,
        kernel: Sequence[int],
        stride: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.conv = conv(style.dims, inputs, outputs, kernel, stride)
        self.dropout = dropout(style)
        self.norm = norm(style, outputs)
        self.activation = activation(style, outputs)


class ResidualBlock(nn.Module):
    """Basic residual block (He 2016) with the shortcut of ResNet-D (He 2019), as in Isensee 2024.

    conv, norm, activation, conv, norm; plus the input, averaged over the stride and projected by a 1x1
    convolution where the number of feature maps changes; then the activation.
    """

    def __init__(
        self, style: Style, inputs: int, outputs: int, kernel: Sequence[int], stride: Sequence[int]
    ) -> None:
        super().__init__()
        self.first = ConvBlock(style, inputs, outputs, kernel, stride)
        self.conv = conv(style.dims, outputs, outputs, kernel)
        self.norm = norm(style, outputs)
        self.shortcut = nn.Sequential()
        if any(s > 1 for s in stride):
            self.shortcut.append(average_pool(stride))
        if inputs != outputs:
            self.shortcut.append(conv_1x1(style.dims, inputs, outputs, bias=False))
            self.shortcut.append(norm(style, outputs))
        self.activation = activation(style, outputs)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.activation(self.norm(self.conv(self.first(x))) + self.shortcut(x))
        return result


class LinearUpsample(nn.Module):
    """1x1 convolution, then linear interpolation: the same as the other way round, and cheaper."""

    def __init__(self, dims: int, inputs: int, outputs: int, stride: Sequence[int]) -> None:
        super().__init__()
        self.conv = conv_1x1(dims, inputs, outputs)
        self.factor = tuple(float(s) for s in stride)
        self.mode = "bilinear" if dims == 2 else "trilinear"

    def forward(self, x: Tensor) -> Tensor:
        return functional.interpolate(self.conv(x), scale_factor=self.factor, mode=self.mode)


def initialise(network: nn.Module) -> None:
    """He 2015 for every convolution, biases 0, and 0 for the last norm (or convolution) of residual blocks.

    A residual block that starts as its own shortcut lets deep networks learn from step one (Goyal 2017).
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d):
            nn.init.kaiming_normal_(module.weight, a=LEAK)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in network.modules():
        if isinstance(module, ResidualBlock):
            last = module.conv if isinstance(module.norm, nn.Identity) else module.norm
            nn.init.zeros_(last.get_parameter("weight"))


def use_channels_last(network: nn.Module, dims: int) -> nn.Module:
    """Weights with channels last in memory; convolutions pass that format on, which is faster (norm.py)."""
    to: Callable[..., Any] = network.to  # its stub does not know memory_format
    to(memory_format=torch.channels_last if dims == 2 else torch.channels_last_3d)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d) and module.in_channels == 1:
            module.weight.data = _strides_of_channels_last(module.weight.data)
    return network


def _strides_of_channels_last(weight: Tensor) -> Tensor:
    """With one input channel both formats are the same bytes; the strides decide which one comes out."""
    strides = list(weight.stride())
    strides[1] = 1
    return weight.as_strided(weight.shape, strides)

"""U-Net in 2 or 3 dimensions, with a plain or a residual encoder.

Ronneberger 2015 (2D), Çiçek 2016 (3D), Isensee 2021 and 2024 (strided convolutions, instance norm, leaky
ReLU, deep supervision, residual encoder). Convolutions pad, so that the output has the size of the input.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from medseg.models import blocks
from medseg.models.blocks import ConvBlock, Logits, ResidualBlock, Style
from medseg.models.layout import Layout


@dataclass(frozen=True)
class UNetShape:
    """Everything but inputs and outputs; ``channels``, ``blocks`` and ``decoder_blocks`` are one a stage,
    finest first."""

    layout: Layout
    channels: Sequence[int]
    blocks: Sequence[int]
    decoder_blocks: Sequence[int]
    residual: bool = False
    max_pooling: bool = False
    linear_upsampling: bool = False
    narrow_first: bool = False
    deep_supervision: bool = False


class UNet(nn.Module):
    """(B, inputs, *space) to (B, classes, *space).

    With ``deep_supervision``, in training mode only, the result is a list of the logits of every decoder
    stage, full size first. ``encoder`` runs from fine to coarse; ``upsamples``, ``decoder`` and ``heads`` run
    from coarse to fine.
    """

    def __init__(self, inputs: int, classes: int, shape: UNetShape, style: Style) -> None:
        super().__init__()
        widths, layout = list(shape.channels), shape.layout
        self.deep_supervision = shape.deep_supervision
        self.stem = nn.Sequential()
        if shape.residual:
            self.stem.append(ConvBlock(style, inputs, widths[0], layout.kernels[0]))
        before = [widths[0] if shape.residual else inputs, *widths[:-1]]
        self.encoder = nn.ModuleList(
            _encoder_stage(style, before[stage], stage, shape) for stage in range(layout.depth)
        )
        self.upsamples, self.decoder, self.heads = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for stage in reversed(range(layout.depth - 1)):
            below, skip = widths[stage + 1], widths[stage]
            up = below if shape.narrow_first else skip
            upsample = blocks.LinearUpsample if shape.linear_upsampling else blocks.transposed_conv
            self.upsamples.append(upsample(style.dims, below, up, layout.strides[stage + 1]))
            self.decoder.append(
                _conv_stage(style, [up + skip] + [skip] * shape.decoder_blocks[stage], layout.kernels[stage])
            )
            if shape.deep_supervision or stage == 0:
                self.heads.append(blocks.conv_1x1(style.dims, skip, classes))
        blocks.initialise(self)

    def forward(self, x: Tensor) -> Logits:
        x = self.stem(x)
        skips = []
        for stage in self.encoder:
            x = stage(x)
            skips.append(x)
        skips.pop()
        features = []
        for upsample, stage in zip(self.upsamples, self.decoder, strict=True):
            x = stage(torch.cat((upsample(x), skips.pop()), dim=1))
            features.append(x)
        if self.deep_supervision and self.training:
            return [head(x) for head, x in zip(self.heads, features, strict=True)][::-1]
        logits: Tensor = self.heads[-1](x)
        return logits


def _encoder_stage(style: Style, inputs: int, stage: int, shape: UNetShape) -> nn.Module:
    kernel, stride = shape.layout.kernels[stage], shape.layout.strides[stage]
    width, count = shape.channels[stage], shape.blocks[stage]
    modules = nn.Sequential()
    if shape.max_pooling and any(s > 1 for s in stride):
        modules.append(blocks.max_pool(stride))
        stride = (1,) * len(stride)
    if shape.residual:
        for index in range(count):
            first = index == 0
            modules.append(
                ResidualBlock(
                    style, inputs if first else width, width, kernel, stride if first else (1,) * len(stride)
                )
            )
        return modules
    widths = [inputs] + [width] * count
    if shape.narrow_first and count > 1:
        widths[1] = width // 2
    return modules.extend(_conv_stage(style, widths, kernel, stride))


def _conv_stage(
    style: Style, widths: Sequence[int], kernel: Sequence[int], stride: Sequence[int] | None = None
) -> nn.Sequential:
    """Convolutions from ``widths[0]`` to ``widths[1]`` and on; the first has the stride."""
    stage = nn.Sequential(ConvBlock(style, widths[0], widths[1], kernel, stride))
    for before, after in pairwise(widths[1:]):
        stage.append(ConvBlock(style, before, after, kernel))
    return stage

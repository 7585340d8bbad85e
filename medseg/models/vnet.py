"""V-Net in 2 or 3 dimensions (Milletari 2016).

Every stage learns a residual: its convolutions' result is added to the stage's input. Down and up go through
convolutions whose kernel is their stride. Layer by layer as in the authors' network definition, but for the
head (a single 1x1 convolution, as in the paper's text), norms (an option) and the number of convolutions,
which follows the paper's figure.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from medseg.models import blocks
from medseg.models.blocks import Logits, Style
from medseg.models.layout import Layout


@dataclass(frozen=True)
class VNetShape:
    """Everything but inputs and outputs; one number a stage, finest first."""

    layout: Layout
    channels: Sequence[int]
    blocks: Sequence[int]
    decoder_blocks: Sequence[int]
    deep_supervision: bool = False


class VNet(nn.Module):
    """(B, inputs, *space) to (B, classes, *space).

    With ``deep_supervision``, in training mode only, the result is a list of the logits of every decoder
    stage, full size first. ``encoder`` runs from fine to coarse; ``ups``, ``decoder`` and ``heads`` run from
    coarse to fine.
    """

    def __init__(self, inputs: int, classes: int, shape: VNetShape, style: Style) -> None:
        super().__init__()
        widths, layout = list(shape.channels), shape.layout
        self.deep_supervision = shape.deep_supervision
        self.downs, self.encoder = nn.ModuleList(), nn.ModuleList()
        for stage in range(layout.depth):
            if stage > 0:
                down = blocks.strided_conv(
                    style.dims, widths[stage - 1], widths[stage], layout.strides[stage]
                )
                self.downs.append(_with_activation(down, style, widths[stage]))
            before = inputs if stage == 0 else widths[stage]
            self.encoder.append(
                ResidualStage(style, before, widths[stage], shape.blocks[stage], layout.kernels[stage])
            )
        self.ups, self.decoder, self.heads = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        below = widths[-1]
        for stage in reversed(range(layout.depth - 1)):
            skip = widths[stage]
            up = blocks.transposed_conv(style.dims, below, skip, layout.strides[stage + 1])
            self.ups.append(_with_activation(up, style, skip))
            below = 2 * skip
            count = shape.decoder_blocks[stage]
            self.decoder.append(ResidualStage(style, below, below, count, layout.kernels[stage]))
            if shape.deep_supervision or stage == 0:
                self.heads.append(blocks.conv_1x1(style.dims, below, classes))
        blocks.initialise(self)

    def forward(self, x: Tensor) -> Logits:
        x = self.encoder[0](x)
        skips = []
        for down, stage in zip(self.downs, self.encoder[1:], strict=True):
            skips.append(x)
            x = stage(down(x))
        features = []
        for up, stage in zip(self.ups, self.decoder, strict=True):
            x = stage(torch.cat((up(x), skips.pop()), dim=1))
            features.append(x)
        if self.deep_supervision and self.training:
            return [head(x) for head, x in zip(self.heads, features, strict=True)][::-1]
        logits: Tensor = self.heads[-1](x)
        return logits


class ResidualStage(nn.Module):
    """``count`` convolutions, added to the stage's input before the last activation.

    Where the number of feature maps changes (the first stage only), a single input channel is repeated, as in
    the paper, and several are projected by a 1x1 convolution.
    """

    def __init__(self, style: Style, inputs: int, outputs: int, count: int, kernel: Sequence[int]) -> None:
        super().__init__()
        self.convs = nn.Sequential()
        for index in range(count):
            layer = nn.Sequential(
                blocks.conv(style.dims, inputs if index == 0 else outputs, outputs, kernel),
                blocks.norm(style, outputs),
            )
            if index < count - 1:
                layer.append(blocks.activation(style, outputs))
            self.convs.append(layer)
        self.dropout = blocks.dropout(style)
        projected = inputs not in (1, outputs)
        self.shortcut = blocks.conv_1x1(style.dims, inputs, outputs) if projected else nn.Identity()
        self.activation = blocks.activation(style, outputs)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.activation(self.dropout(self.convs(x)) + self.shortcut(x))
        return result


def _with_activation(conv: nn.Module, style: Style, channels: int) -> nn.Sequential:
    return nn.Sequential(conv, blocks.norm(style, channels), blocks.activation(style, channels))

"""Convolutions that do less than the general case: 1x1, transposed with the kernel equal to the stride, and
3D of a single sample.

On the CPU, with channels last in memory, the first two are matrix products over rows of channels. oneDNN has
no fast kernel for a handful of outputs, nor for the gradient of transposed convolutions. Parameters, their
names and results are those of ``torch.nn``; tracing and export see the plain operators.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from medseg.models.norm import is_plain_channels_last, rows_of_channels

_OWN_ROUTINE = 20480
"""The most samples x channels x I x J that PyTorch does not give to oneDNN."""


class PointwiseConv2d(nn.Conv2d):
    """``nn.Conv2d`` with kernel 1."""

    def forward(self, input: Tensor) -> Tensor:
        if is_plain_channels_last(input):
            return _pointwise(input, self.weight, self.bias)
        return super().forward(input)


class PointwiseConv3d(nn.Conv3d):
    """``nn.Conv3d`` with kernel 1."""

    def forward(self, input: Tensor) -> Tensor:
        if is_plain_channels_last(input):
            return _pointwise(input, self.weight, self.bias)
        return super().forward(input)


class HalvedConv3d(nn.Conv3d):
    """``nn.Conv3d`` that takes a single sample as two: its halves, with what the kernel reaches of
    the other.

    PyTorch leaves small convolutions of one sample to its own routine (``slow_conv3d``), which takes about
    three times as long as oneDNN's.
    """

    def forward(self, input: Tensor) -> Tensor:
        few = len(input) == 1 and input.shape[2] > 2 and input.shape[:4].numel() <= _OWN_ROUTINE
        if few and is_plain_channels_last(input):
            return self._of_halves(input)
        return super().forward(input)

    def _of_halves(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        pad, *pads = (int(n) for n in self.padding)
        outputs = (x.shape[2] + 2 * pad - kernel) // stride + 1
        half = -(-outputs // 2)
        reach = (half - 1) * stride + kernel
        padded = functional.pad(x, (0, 0, 0, 0, pad, pad))
        halves = torch.cat([padded.narrow(2, first * stride, reach) for first in (0, outputs - half)])
        y = functional.conv3d(halves, self.weight, self.bias, self.stride, (0, *pads))
        return torch.cat([y[:1], y[1:, :, 2 * half - outputs :]], dim=2)


class ScatterConv2d(nn.ConvTranspose2d):
    """``nn.ConvTranspose2d`` whose kernel is its stride."""

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        if torch.is_grad_enabled() and is_plain_channels_last(input):
            return _scattered(input, self.weight, self.bias)
        return super().forward(input, output_size)


class ScatterConv3d(nn.ConvTranspose3d):
    """``nn.ConvTranspose3d`` whose kernel is its stride."""

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        if torch.is_grad_enabled() and is_plain_channels_last(input):
            return _scattered(input, self.weight, self.bias)
        return super().forward(input, output_size)


def _pointwise(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return functional.linear(x.movedim(1, -1), weight.flatten(1), bias).movedim(-1, 1)


def _scattered(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    scattered: Tensor = _Scattered.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return scattered


class _Scattered(torch.autograd.Function):
    """oneDNN's forward; the gradient as two products with rows of all that a voxel was written to."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        transposed = functional.conv_transpose2d if x.dim() == 4 else functional.conv_transpose3d
        return transposed(x, weight, bias, stride=weight.shape[2:])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        outputs, kernel = weight.shape[1], weight.shape[2:]
        written = _rows_written(grad, kernel)  # (voxels of x, kernel voxels * outputs)
        matrix = weight.movedim(1, -1).flatten(1)
        dx = torch.empty_like(x)
        torch.mm(written, matrix.T, out=rows_of_channels(dx).flatten(0, 1))
        dw = torch.mm(rows_of_channels(x).flatten(0, 1).T, written)
        dw = dw.reshape(-1, *kernel, outputs).movedim(-1, 1)
        return dx, dw, written.sum(0).reshape(-1, outputs).sum(0)


def _rows_written(grad: Tensor, kernel: Sequence[int]) -> Tensor:
    """(B, C, I s, J s, K s) to (B I J K, s s s C): for each voxel before, what lies in its block."""
    size = [length for n, k in zip(grad.shape[2:], kernel, strict=True) for length in (n // k, k)]
    blocks = grad.movedim(1, -1).reshape(len(grad), *size, grad.shape[1])
    voxels, within = range(1, 2 * len(kernel), 2), range(2, 2 * len(kernel) + 1, 2)
    rows = blocks.permute(0, *voxels, *within, -1)
    return rows.reshape(-1, prod(kernel) * grad.shape[1])

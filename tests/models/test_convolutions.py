"""Convolutions by matrix products: values, gradients and formats are those of ``torch.nn``."""

import pytest
import torch
from torch import nn

from medseg.models.blocks import use_channels_last
from medseg.models.convolutions import (
    HalvedConv3d,
    PointwiseConv2d,
    PointwiseConv3d,
    ScatterConv2d,
    ScatterConv3d,
)

FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}
UNEVEN = (1, 2, 3)
CASES = [
    (PointwiseConv3d(5, 3, 1), nn.Conv3d(5, 3, 1), (2, 5, 4, 6, 2)),
    (PointwiseConv2d(5, 7, 1, bias=False), nn.Conv2d(5, 7, 1, bias=False), (2, 5, 4, 6)),
    (ScatterConv3d(6, 4, 2, 2), nn.ConvTranspose3d(6, 4, 2, 2), (2, 6, 3, 4, 5)),
    (ScatterConv3d(6, 4, UNEVEN, UNEVEN), nn.ConvTranspose3d(6, 4, UNEVEN, UNEVEN), (2, 6, 3, 4, 5)),
    (ScatterConv2d(3, 8, (3, 2), (3, 2)), nn.ConvTranspose2d(3, 8, (3, 2), (3, 2)), (1, 3, 5, 2)),
    (HalvedConv3d(3, 4, 3, padding=1), nn.Conv3d(3, 4, 3, padding=1), (1, 3, 7, 4, 5)),
    (HalvedConv3d(3, 4, 3, 2, 1), nn.Conv3d(3, 4, 3, 2, 1), (1, 3, 8, 4, 5)),
    (HalvedConv3d(3, 4, (1, 3, 5), (1, 2, 1), (0, 1, 2)), nn.Conv3d(3, 4, (1, 3, 5), (1, 2, 1), (0, 1, 2)),
     (1, 3, 5, 4, 6)),
    (HalvedConv3d(3, 4, 2, 2), nn.Conv3d(3, 4, 2, 2), (1, 3, 7, 6, 4)),
]  # fmt: skip


@pytest.mark.parametrize(("ours", "theirs", "shape"), CASES, ids=lambda c: type(c).__name__)
def test_values_and_gradients_are_those_of_torch(
    ours: nn.Module, theirs: nn.Module, shape: tuple[int, ...]
) -> None:
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(shape).contiguous(memory_format=FORMATS[len(shape)])
    results, gradients = [], []
    for module, inputs in ((ours, x.clone().requires_grad_()), (theirs, x.contiguous().requires_grad_())):
        y = module(inputs)
        weights = torch.linspace(-1, 1, y.numel()).reshape(y.shape)
        results.append(y)
        gradients.append(torch.autograd.grad((y * weights).sum(), [inputs, *module.parameters()]))
    torch.testing.assert_close(results[0], results[1], check_stride=False)
    assert results[0].is_contiguous(memory_format=FORMATS[len(shape)])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, check_stride=False, atol=1e-4, rtol=1e-4)


def test_a_single_channel_comes_out_with_channels_last() -> None:
    """Its bytes are the same in both formats; without the strides the whole first stage would be slow."""
    network = use_channels_last(nn.Conv3d(1, 4, 3, padding=1), 3)
    assert network(torch.randn(2, 1, 6, 5, 4)).is_contiguous(memory_format=torch.channels_last_3d)

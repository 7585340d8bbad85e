"""The library's instance norm against PyTorch's, in double precision."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from medseg.models import norm
from medseg.models.norm import InstanceNorm

FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}


def case(shape: tuple[int, ...], offset: float) -> tuple[Tensor, Tensor, InstanceNorm]:
    torch.manual_seed(0)
    x = (torch.randn(shape) + offset).to(memory_format=FORMATS[len(shape)])
    layer = InstanceNorm(shape[1])
    torch.nn.init.uniform_(layer.weight, 0.5, 2)
    torch.nn.init.normal_(layer.bias)
    return x.requires_grad_(), torch.randn(shape), layer


@pytest.mark.parametrize("offset", [0.0, 3.0, 100.0])
@pytest.mark.parametrize("shape", [(2, 16, 32, 24, 20), (3, 8, 40, 30)])
def test_values_and_gradients_are_those_of_double_precision(shape: tuple[int, ...], offset: float) -> None:
    x, grad, layer = case(shape, offset)
    assert norm.is_plain_channels_last(x)
    y = layer(x)
    y.backward(grad)
    exact = [t.detach().double().contiguous().requires_grad_() for t in (x, layer.weight, layer.bias)]
    expected = functional.instance_norm(exact[0], weight=exact[1], bias=exact[2])
    expected.backward(grad.double())
    close = 1e-5 * (1 + offset)  # float32 holds x itself to 6e-8 of its offset
    torch.testing.assert_close(y.double(), expected, rtol=0, atol=close)
    for found, wanted in zip((x, layer.weight, layer.bias), exact, strict=True):
        assert found.grad is not None
        assert wanted.grad is not None
        scale = wanted.grad.abs().max().item()
        torch.testing.assert_close(found.grad.double(), wanted.grad, rtol=0, atol=close * scale)


def test_channels_stay_last() -> None:
    x, grad, layer = case((2, 8, 6, 6, 6), 0.0)
    y = layer(x)
    assert y.is_contiguous(memory_format=torch.channels_last_3d)
    y.backward(grad)
    assert x.grad is not None
    assert x.grad.is_contiguous(memory_format=torch.channels_last_3d)


def test_a_constant_region_gives_the_bias() -> None:
    x, _, layer = case((1, 4, 16, 16, 16), 0.0)
    y = layer(torch.full_like(x, -1000.0))
    torch.testing.assert_close(y, layer.bias.view(1, -1, 1, 1, 1).expand_as(y))


@pytest.mark.parametrize("shape", [(2, 4, 8, 8, 8), (1, 1, 4, 4, 4), (2, 6, 5, 7)])
def test_contiguous_input_goes_to_torch(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    layer = InstanceNorm(shape[1])
    assert not norm.is_plain_channels_last(x)
    torch.testing.assert_close(layer(x), functional.instance_norm(x))


def test_other_precisions_and_autocast_leave_the_fast_path() -> None:
    x = torch.randn(1, 4, 4, 4, 4).to(memory_format=torch.channels_last_3d)
    assert norm.is_plain_channels_last(x)
    assert not norm.is_plain_channels_last(x.bfloat16())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not norm.is_plain_channels_last(x)

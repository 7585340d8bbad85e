"""Skip connections as sums: the same logits, in less memory and with fewer products."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from medseg.config.model import UNetConfig
from medseg.inference.openvino_graph import convert_network, openvino_core
from medseg.inference.openvino_memory import block_bytes
from medseg.inference.openvino_skip import compose, sum_skips
from medseg.models import build_network

SIZE = (16, 24, 8)


class ReadTwice(nn.Module):
    """What it puts side by side is read by two convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv3d(4, 3, 3, padding=1) for _ in range(2))

    def forward(self, image: Tensor) -> Tensor:
        both = torch.cat([image, image.tanh()], 1)
        result: Tensor = self.first(both) + self.second(both)
        return result


class Overlapping(nn.Module):
    """Its coarse voxels share fine ones."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.last = nn.Conv3d(2, 4, 2, stride=2), nn.Conv3d(5, 3, 3, padding=1)
        self.up = nn.ConvTranspose3d(4, 3, 4, stride=2, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        result: Tensor = self.last(torch.cat([self.up(self.down(image)), image], 1))
        return result


def unet(patch: tuple[int, int, int] = SIZE, **changes: object) -> nn.Module:
    config = UNetConfig.model_validate({"kind": "unet", "channels": (8, 16, 32), **changes})
    network = build_network(config, in_channels=2, classes=3, patch_size=patch)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.1)  # biases, too
    return network


NETWORKS: dict[str, tuple[Any, int, int]] = {
    # network, concatenations that go, upsamplings that go with them
    "U-Net": (unet, 2, 2),
    "on slices": (lambda: unet((16, 24, 1), spatial_dims=2), 2, 2),
    "anisotropic": (
        lambda: unet(kernel=((1, 3, 3), (3, 3, 1), (3, 3, 3)), strides=((1, 1, 1), (1, 2, 2), (2, 2, 1))),
        2,
        2,
    ),
    "read by two": (ReadTwice, 0, 0),
    "overlapping": (Overlapping, 1, 0),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_logits_in_less_memory(name: str) -> None:
    build, summed, composed = NETWORKS[name]
    torch.manual_seed(0)
    network, image = build().eval(), torch.randn(1, 2, *SIZE)
    plain, changed = (convert_network(network, 2, SIZE) for _ in range(2))
    assert sum_skips(changed) == summed
    exact = {"INFERENCE_PRECISION_HINT": "f32"}  # some processors would take bf16
    before, after = (openvino_core().compile_model(model, "CPU", exact) for model in (plain, changed))
    expected, found = (torch.from_numpy(one(image.numpy())[0]) for one in (before, after))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    assert (block_bytes(after) < block_bytes(before)) == bool(summed)
    ends = [
        one.input(0).get_source_output().get_node()
        for one in changed.get_ordered_ops()
        if one.get_type_name() == "Add"
    ]
    assert sum(one.get_type_name() == "ConvolutionBackpropData" for one in ends) >= composed


@pytest.mark.parametrize("dims", [2, 3])
def test_two_steps_are_one_also_at_the_border(dims: int) -> None:
    torch.manual_seed(1)
    up_type, conv_type = (nn.ConvTranspose2d, nn.Conv2d) if dims == 2 else (nn.ConvTranspose3d, nn.Conv3d)
    up, after = up_type(5, 4, 2, stride=2, bias=False), conv_type(4, 3, 3, padding=1, bias=False)
    coarse = torch.randn(1, 5, *(4, 3, 2)[:dims])
    with torch.no_grad():
        expected = after(up(coarse))
        both = torch.from_numpy(compose(up.weight.numpy(), after.weight.numpy()))
        together = getattr(nn.functional, f"conv_transpose{dims}d")
        found = together(coarse, both, stride=2, padding=1)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)

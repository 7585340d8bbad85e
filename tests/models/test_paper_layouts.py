"""The layouts of docs/networks.md against what the papers say."""

import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from pydantic import TypeAdapter
from torch import Tensor, nn

from medseg.config import ModelConfig
from medseg.models import build_network

PAGE = Path(__file__).parents[2] / "docs" / "networks.md"


def layouts() -> dict[str, dict[str, Any]]:
    """The YAML blocks of the page, by the first comment in them."""
    found = {}
    for text in re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        found[text.splitlines()[0].lstrip("# ")] = yaml.safe_load(text)["model"]
    return found


def build(name: str, inputs: int, classes: int, patch: tuple[int, int, int]) -> nn.Module:
    config = TypeAdapter(ModelConfig).validate_python(layouts()[name])
    with torch.device("meta"):  # shapes and counts need no memory
        return build_network(config, in_channels=inputs, classes=classes, patch_size=patch)


def count(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


def stage_shapes(network: nn.Module, names: list[str], x: Tensor) -> list[tuple[int, ...]]:
    """Output shapes (feature maps, space) of the named stage lists, in the order they ran."""
    shapes: list[tuple[int, ...]] = []
    for name in names:
        for stage in network.get_submodule(name).children():
            stage.register_forward_hook(lambda _m, _i, out: shapes.append(tuple(out.shape[1:])))
    network.eval()(x)
    return shapes


def test_ronneberger_2015() -> None:
    network = build("Ronneberger 2015", 1, 2, (512, 512, 1))
    kernels = 9 * (1 * 64 + 64 * 64)
    for width in (128, 256, 512, 1024):
        kernels += 9 * (width // 2 * width + width * width)  # down
        kernels += 4 * width * (width // 2) + 9 * (width * width // 2 + (width // 2) ** 2)  # up
    biases = 2 * (64 + 128 + 256 + 512 + 1024) + 3 * (512 + 256 + 128 + 64)
    assert count(network) == kernels + biases + 64 * 2 + 2 == 31_030_658
    shapes = stage_shapes(
        network, ["network.encoder", "network.decoder"], torch.empty(1, 1, 512, 512, 1, device="meta")
    )
    down = [(64, 512, 512), (128, 256, 256), (256, 128, 128), (512, 64, 64), (1024, 32, 32)]
    assert shapes == down + down[-2::-1]


def test_cicek_2016() -> None:
    network = build("Çiçek 2016", 3, 3, (128, 128, 112))
    batch_norm = sum(count(m) for m in network.modules() if isinstance(m, nn.BatchNorm3d))
    up_bias = sum(m.bias.numel() for m in network.modules() if isinstance(m, nn.ConvTranspose3d))
    assert (batch_norm, up_bias) == (4672, 896)
    assert count(network) - batch_norm - up_bias == 19_069_955  # the paper's number
    widths = [m.out_channels for m in network.modules() if isinstance(m, nn.Conv3d | nn.ConvTranspose3d)]
    encoder, up, decoder = widths[:8], widths[8:11], widths[11:]
    assert encoder == [32, 64, 64, 128, 128, 256, 256, 512]
    assert up == [512, 256, 128]
    assert decoder == [256, 256, 128, 128, 64, 64, 3]


def test_milletari_2016() -> None:
    network = build("Milletari 2016", 1, 2, (128, 128, 64))
    kernels = 125 * 16
    for width, convs, back in ((32, 2, 1), (64, 3, 2), (128, 3, 3), (256, 3, 3)):
        kernels += 8 * width // 2 * width + convs * 125 * width * width
        below = 256 if width == 256 else 2 * width
        kernels += 8 * below * width // 2 + back * 125 * width * width
    head = 32 * 2 + 2
    per_map = sum(m.bias.numel() for m in network.modules() if isinstance(m, nn.Conv3d | nn.ConvTranspose3d))
    slopes = sum(count(m) for m in network.modules() if isinstance(m, nn.PReLU))
    assert slopes == per_map - 2  # one a feature map and layer; the head has none
    assert count(network) == kernels + per_map - 2 + slopes + head
    assert count(network) == 65_175_314
    shapes = stage_shapes(network, ["encoder", "decoder"], torch.empty(1, 1, 128, 128, 64, device="meta"))
    assert shapes[:5] == [
        (16, 128, 128, 64),
        (32, 64, 64, 32),
        (64, 32, 32, 16),
        (128, 16, 16, 8),
        (256, 8, 8, 4),
    ]
    assert shapes[5:] == [(256, 16, 16, 8), (128, 32, 32, 16), (64, 64, 64, 32), (32, 128, 128, 64)]


@pytest.mark.parametrize("name", ["nnU-Net, plain", "nnU-Net, residual encoder"])
def test_nnunet_layouts_build(name: str) -> None:
    network = build(name, 1, 2, (128, 128, 128)).train()
    levels = network(torch.empty(1, 1, 128, 128, 128, device="meta"))
    assert [level.shape[2] for level in levels] == [128, 64, 32, 16, 8]


def test_he_initialisation() -> None:
    config = TypeAdapter(ModelConfig).validate_python({"kind": "unet", "residual": True})
    network = build_network(config, in_channels=1, classes=2, patch_size=(32, 32, 32))
    conv = network.get_parameter("encoder.2.0.first.conv.weight")
    fan_in = conv[0].numel()
    assert conv.std().item() == pytest.approx(math.sqrt(2 / (1 + 0.01**2) / fan_in), rel=0.02)
    assert not network.get_parameter("heads.0.bias").any()
    assert not network.get_parameter("encoder.2.0.norm.weight").any()
    assert network.get_parameter("encoder.2.0.first.norm.weight").all()

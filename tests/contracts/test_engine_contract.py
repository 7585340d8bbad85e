"""What every engine promises. A new one is added to ``ENGINES`` and inherits all of it."""

import copy
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from medseg.config import ModelConfig
from medseg.inference import Engine, TorchEngine
from medseg.inference.openvino_engine import OpenVINOEngine
from medseg.inference.quantise import calibrate
from medseg.models import build_network

CHANNELS, CLASSES = 2, 3
Patch = tuple[int, int, int]

UNET = {"kind": "unet", "channels": [4, 8, 12]}
FLAT = {"spatial_dims": 2}
NETWORKS: dict[str, tuple[dict[str, Any], Patch]] = {  # Swin UNETR stays with PyTorch: test_engines.py
    "unet": (UNET, (16, 16, 8)),
    "unet, anisotropic": (UNET, (24, 16, 2)),
    "unet, batch norm, pooling, linear": (
        {**UNET, "norm": "batch", "activation": "relu", "downsample": "max", "upsample": "linear"},
        (16, 16, 8),
    ),
    "unet, thick slices": (
        {**UNET, "kernel": [[3, 3, 1], [3, 3, 3], [3, 3, 3]], "strides": [[1, 1, 1], [2, 2, 1], [2, 2, 3]]},
        (16, 16, 6),
    ),
    "unet, deep supervision, dropout": ({**UNET, "deep_supervision": True, "dropout": 0.1}, (16, 16, 8)),
    "residual unet": ({**UNET, "residual": True, "blocks": [1, 1, 2]}, (16, 16, 8)),
    "unet 2d": ({**UNET, **FLAT}, (16, 24, 3)),
    "unet 2.5d, coronal": ({**UNET, **FLAT, "neighbours": 1, "plane": "coronal"}, (16, 3, 16)),
    "vnet": ({"kind": "vnet", "channels": [4, 8], "blocks": [1, 1], "decoder_blocks": [1]}, (16, 16, 8)),
    "segresnet": (
        {"kind": "segresnet", "init_filters": 8, "blocks_down": [1, 1], "blocks_up": [1]},
        (16, 16, 8),
    ),
}

Build = Callable[[nn.Module, Patch], Engine]


def named(network: nn.Module) -> str:
    """Compiled once for all tests."""
    return str(network)


def int8(network: nn.Module, patch: Patch) -> Engine:
    return OpenVINOEngine(
        lambda: network, "int8", ranges=calibrate(network, [windows(patch, 2)]), key=named(network)
    )


def openvino(network: nn.Module, _patch: Patch) -> Engine:
    return OpenVINOEngine(lambda: network, key=named(network))


def frugal(network: nn.Module, _patch: Patch) -> Engine:
    return OpenVINOEngine(lambda: network, key=named(network), frugal=True)


ENGINES: dict[str, tuple[Build, float]] = {
    "torch": (lambda network, _: TorchEngine(network, "cpu", "fp32"), 1e-5),
    "openvino": (openvino, 1e-4),
    "openvino, frugal": (frugal, 1e-4),
    "openvino, int8": (int8, 0.25),
}
"""How each is made, and how far a logit may be from fp32 eager PyTorch, as a share of the largest."""


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    config, patch = NETWORKS[name]
    model = TypeAdapter(ModelConfig).validate_python(config)
    return build_network(model, in_channels=CHANNELS, classes=CLASSES, patch_size=patch).eval()


def windows(patch: Patch, batch: int) -> Tensor:
    return torch.randn(batch, CHANNELS, *patch, generator=torch.Generator().manual_seed(batch))


def made(engine: str, network: str = "unet") -> tuple[Engine, nn.Module, Patch]:
    eager, patch = build(network), NETWORKS[network][1]
    return ENGINES[engine][0](eager, patch), eager, patch


def eager_logits(network: nn.Module, batch: Tensor) -> Tensor:
    with torch.inference_mode():
        logits: Tensor = network(batch)
    return logits


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", [name for name in ENGINES if name != "openvino, frugal"])
def test_it_agrees_with_eager_pytorch(name: str, network: str) -> None:
    engine, eager, patch = made(name, network)
    assert isinstance(engine, Engine)
    batch = windows(patch, 2)
    expected, found = eager_logits(eager, batch), engine(batch)
    assert found.shape == expected.shape and found.dtype == torch.float32
    assert found.device.type == engine.device.type
    worst = float((found - expected).abs().max() / expected.abs().max())
    assert worst <= ENGINES[name][1]


@pytest.mark.parametrize("name", ENGINES)
def test_windows_do_not_depend_on_their_batch_and_runs_repeat_to_the_bit(name: str) -> None:
    engine, _, patch = made(name)
    batch = windows(patch, 3)
    together = engine(batch)
    assert torch.equal(together, engine(batch))
    for index in range(3):
        torch.testing.assert_close(engine(batch[index : index + 1]), together[index : index + 1])


@pytest.mark.parametrize("name", ENGINES)
def test_input_may_lie_anyhow_and_stays_as_it_is(name: str) -> None:
    engine, _, patch = made(name)
    plain = windows(patch, 2)
    expected = engine(plain)
    turned = plain.permute(4, 2, 0, 3, 1).contiguous().permute(2, 4, 1, 3, 0)
    flipped = plain.flip(2).flip(2)
    for batch in (turned, flipped, plain.double().float()):
        before = batch.clone()
        torch.testing.assert_close(engine(batch), expected)
        assert torch.equal(batch, before)


@pytest.mark.parametrize("name", ENGINES)
def test_a_result_is_the_callers(name: str) -> None:
    """It may be changed, and later calls do not change it."""
    engine, _, patch = made(name)
    with torch.inference_mode():
        first = engine(windows(patch, 1))
        kept = first.clone()
        second = engine(windows(patch, 1) + 1)
        assert torch.equal(first, kept)
        assert not torch.equal(first, second)
        second.mul_(0)
        assert torch.equal(engine(windows(patch, 1)), kept)


@pytest.mark.parametrize("name", ENGINES)
def test_other_shapes_may_follow(name: str) -> None:
    engine, eager, patch = made(name)
    larger: Patch = (2 * patch[0], patch[1], patch[2])
    for size in (patch, larger, patch):
        batch = windows(size, 1)
        expected = eager_logits(eager, batch)
        assert float((engine(batch) - expected).abs().max() / expected.abs().max()) <= ENGINES[name][1]


@pytest.mark.parametrize("name", ENGINES)
def test_the_memory_it_tells_holds_input_and_logits(name: str) -> None:
    engine, _, patch = made(name)
    voxels = patch[0] * patch[1] * patch[2]
    one = engine.working_bytes((1, CHANNELS, *patch))
    assert one >= 4 * voxels * (CHANNELS + CLASSES)
    assert one < 4 * voxels * 200
    assert engine.working_bytes((4, CHANNELS, *patch)) > one


@pytest.mark.parametrize("name", ENGINES)
def test_threads_may_call_it(name: str) -> None:
    engine, _, patch = made(name)
    batches = [windows(patch, 1) + shift for shift in range(4)]
    expected = [engine(batch) for batch in batches]
    found: list[Tensor | None] = [None] * len(batches)

    def work(index: int) -> None:
        for _ in range(3):
            found[index] = engine(batches[index])

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(batches))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one, other in zip(found, expected, strict=True):
        assert one is not None
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("name", ["torch", "openvino"])
def test_large_means_do_not_drown_the_variance(name: str) -> None:
    """Instance norm at mean / std = 100, where the variance as E[x^2] - mean^2 would be wrong by half."""
    engine, eager, patch = made(name)
    batch = windows(patch, 1) + 100
    with torch.inference_mode():
        expected = copy.deepcopy(eager).double()(batch.double()).float()
    assert float((engine(batch) - expected).abs().max() / expected.abs().max()) <= 1e-3

"""What every network promises. A new kind is added to ``NETWORKS`` and inherits all of it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from medseg.config import Experiment, ModelConfig
from medseg.modelfile import ModelFile, load_model, load_network, save_model
from medseg.models import build_network

CHANNELS, CLASSES = 2, 3
Patch = tuple[int, int, int]

UNET = {"kind": "unet", "channels": [4, 8, 12]}
RESIDUAL = {**UNET, "residual": True, "blocks": [1, 1, 2], "decoder_blocks": 1}
PAPER = {
    **UNET,
    "norm": "batch",
    "activation": "relu",
    "downsample": "max",
    "narrow_first": True,
    "upsample": "linear",
}
VNET = {"kind": "vnet", "channels": [4, 8, 12], "blocks": [1, 1, 2], "decoder_blocks": [1, 1], "kernel": 3}
SEGRESNET = {"kind": "segresnet", "init_filters": 8, "blocks_down": [1, 1], "blocks_up": [1]}
FLAT = {"spatial_dims": 2}

NETWORKS: dict[str, tuple[dict[str, Any], Patch]] = {
    "unet": (UNET, (16, 16, 8)),
    "unet, anisotropic": ({**UNET, "norm": "instance"}, (24, 16, 2)),
    "unet, one slice": (UNET, (16, 16, 1)),
    "unet, deep supervision": ({**UNET, "deep_supervision": True, "dropout": 0.1}, (16, 16, 8)),
    "unet, no norm": ({**UNET, "norm": "none", "activation": "prelu"}, (16, 16, 8)),
    "unet, papers": (PAPER, (16, 16, 8)),
    "unet, thick slices": (
        {**UNET, "kernel": [[3, 3, 1], [3, 3, 3], [3, 3, 3]], "strides": [[1, 1, 1], [2, 2, 1], [2, 2, 3]]},
        (16, 16, 6),
    ),
    "residual unet": (RESIDUAL, (16, 16, 8)),
    "residual unet, max pooling": ({**RESIDUAL, "downsample": "max", "norm": "none"}, (16, 16, 8)),
    "unet 2d": ({**UNET, **FLAT}, (16, 24, 3)),
    "unet 2d, coronal": ({**UNET, **FLAT, "plane": "coronal", "norm": "batch"}, (16, 2, 24)),
    "unet 2.5d": ({**UNET, **FLAT, "neighbours": 1, "deep_supervision": True}, (16, 16, 3)),
    "residual unet 2d": ({**RESIDUAL, **FLAT, "plane": "sagittal"}, (2, 16, 16)),
    "vnet": (VNET, (16, 16, 8)),
    "vnet, anisotropic": ({**VNET, "norm": "instance", "deep_supervision": True}, (16, 16, 2)),
    "vnet, one slice": ({**VNET, "norm": "none"}, (16, 16, 1)),
    "vnet 2d": ({**VNET, **FLAT, "dropout": 0.1}, (16, 16, 3)),
    "segresnet": (SEGRESNET, (16, 16, 8)),
    "segresnet 2d": ({**SEGRESNET, **FLAT, "plane": "sagittal", "dropout": 0.1}, (2, 16, 16)),
    "monai by name": (
        {
            "kind": "monai",
            "network": "SegResNet",
            "arguments": {"init_filters": 8, "blocks_down": [1, 1], "blocks_up": [1]},
        },
        (16, 16, 8),
    ),
    "swin_unetr": ({"kind": "swin_unetr", "feature_size": 12}, (64, 32, 32)),
    "swin_unetr 2d": ({"kind": "swin_unetr", "feature_size": 12, **FLAT}, (64, 32, 1)),
}
QUICK = {name: what for name, what in NETWORKS.items() if name != "swin_unetr"}
"""Swin UNETR's smallest patch is large: what is repeated tens of times leaves it to its 2D form."""


def build(name: str, seed: int = 0) -> nn.Module:
    config, patch = NETWORKS[name]
    torch.manual_seed(seed)
    model = TypeAdapter(ModelConfig).validate_python(config)
    return build_network(model, in_channels=CHANNELS, classes=CLASSES, patch_size=patch)


def scan(name: str, batch: int = 1) -> Tensor:
    patch = NETWORKS[name][1]
    return torch.randn(batch, CHANNELS, *patch, generator=torch.Generator().manual_seed(1))


def full_size(logits: Tensor | list[Tensor]) -> Tensor:
    return logits[0] if isinstance(logits, list) else logits


def loss_of(logits: Tensor | list[Tensor], label: Tensor) -> Tensor:
    """Cross-entropy, at every scale that there is."""
    levels = logits if isinstance(logits, list) else [logits]
    total = torch.zeros(())
    for level in levels:
        steps = [n // m for n, m in zip(label.shape[1:], level.shape[2:], strict=True)]
        reduced = label[:, :: steps[0], :: steps[1], :: steps[2]]
        total = total + nn.functional.cross_entropy(level, reduced)
    return total / len(levels)


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_have_the_size_of_the_patch_and_gradients_reach_every_weight(name: str) -> None:
    network, x = build(name), scan(name)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-2)
    label = (x[:, 0] > 0).long()
    for _ in range(
        2 if "residual" in name else 1
    ):  # a residual block starts as its shortcut; a step opens it
        optimizer.zero_grad()
        logits = network(x)
        loss_of(logits, label).backward()
        optimizer.step()
    assert full_size(logits).shape == (1, CLASSES, *x.shape[2:])
    assert full_size(logits).dtype == torch.float32
    untouched = [
        key
        for key, weight in network.named_parameters()
        if weight.grad is None or not weight.grad.isfinite().all() or not weight.grad.any()
    ]
    assert untouched == []


@pytest.mark.parametrize("name", QUICK)
def test_evaluation_is_repeatable_and_samples_do_not_meet(name: str) -> None:
    network, x = build(name).eval(), scan(name, batch=2)
    with torch.inference_mode():
        both = network(x)
        assert isinstance(both, Tensor)
        assert torch.equal(both, network(x))
        torch.testing.assert_close(network(x[:1]), both[:1], rtol=1e-4, atol=1e-4)
        x[1] = 100.0
        torch.testing.assert_close(network(x)[:1], both[:1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_model_file_gives_the_same_network_back(name: str, tmp_path: Path) -> None:
    config, patch = NETWORKS[name]
    experiment = Experiment.model_validate(
        {
            "name": "contract",
            "labels": {"right": 2, "left": 1},
            "data": {"cohort": "scans", "channels": {"a": "*_a.nii", "b": "*_b.nii"}},
            "preprocessing": {"intensity": {"kind": "zscore"}},
            "sampling": {"patch_size": patch},
            "model": config,
            "training": {"stop": {"epochs": 1}},
        }
    )
    network = build(name)
    path = tmp_path / "model.safetensors"
    save_model(path, ModelFile(experiment, {}, {}, network.state_dict()))
    again = load_network(load_model(path))
    assert not again.training
    for (key, value), (other_key, other) in zip(
        network.state_dict().items(), again.state_dict().items(), strict=True
    ):
        assert key == other_key
        assert torch.equal(value, other)
    with torch.inference_mode():
        assert torch.equal(network.eval()(scan(name)), again(scan(name)))


@pytest.mark.parametrize("name", QUICK)
def test_it_learns_one_case_by_heart(name: str) -> None:
    network, x = build(name), 0.3 * scan(name)
    i, j, k = (torch.arange(n) // 4 for n in x.shape[2:])
    label = ((i[:, None, None] + j[:, None] + k) % CLASSES)[None]
    x[:, 0] += label
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    for _ in range(40):
        optimizer.zero_grad()
        loss = loss_of(full_size(network(x)), label)
        if loss.item() < 0.5:  # it starts above log(3) = 1.1
            return
        loss.backward()
        optimizer.step()
    pytest.fail(f"the loss is {loss.item():.3f} after 40 steps")


@pytest.mark.parametrize(
    "name", [name for name, (config, _) in NETWORKS.items() if "deep_supervision" in config]
)
def test_deep_supervision_tells_every_scale_in_training_only(name: str) -> None:
    network, x = build(name), scan(name)
    levels = network.train()(x)
    assert isinstance(levels, list)
    assert len(levels) == 2  # three stages, without the coarsest
    assert levels[0].shape[2:] == x.shape[2:]
    assert all(level.shape[:2] == (1, CLASSES) for level in levels)
    halved = [a // b for a, b in zip(levels[0].shape[2:], levels[1].shape[2:], strict=True)]
    assert sorted(set(halved)) in ([2], [1, 2])
    assert isinstance(network.eval()(x), Tensor)

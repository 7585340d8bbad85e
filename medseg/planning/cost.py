"""What a training step costs, from the shapes of the network alone: nothing is computed.

Memory follows the feature maps that the backward pass needs (as in Isensee 2021, who bounds their size), time
the multiplications of the convolutions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import nn

from medseg.config import Experiment
from medseg.models import build_network
from medseg.models.layout import Layout
from medseg.volume import Shape

BYTES_A_FEATURE = 13
"""Held for each value that a convolution puts out, while a CPU trains: that, what norm and activation make of
it, gradients, and copies in the layout of oneDNN. Measured, alike in fp32 and bf16 (docs/planning.md)."""

BYTES_A_FEATURE_CUDA = {"fp32": 13, "bf16": 7, "fp16": 7}
"""The same on a GPU, where nothing is laid out anew."""

SMALLEST_BATCH_CPU = 2
"""A batch of one takes as much memory as two: oneDNN then lays its arrays out anew."""

BYTES_A_LOGIT = 40
"""Loss and its gradient, in float32: logits, log-probabilities, probabilities, targets."""

BYTES_A_PARAMETER = 20
"""Weight, gradient, two moments and the moving average, in float32."""

LIBRARIES_CPU = 520 * 2**20
"""What PyTorch and the rest take before anything is computed."""

LIBRARIES_CUDA = 900 * 2**20
"""The context of the driver, and the workspace of cuDNN."""

_Conv = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@dataclass(frozen=True)
class NetworkCost:
    """Of one sample: ``features`` values that convolutions put out, ``logits``, and ``multiplications`` of a
    forward pass."""

    parameters: int
    features: int
    logits: int
    multiplications: int


def network_cost(experiment: Experiment) -> NetworkCost:
    """The network of ``experiment`` on one patch.

    Raises:
        ConfigError: the patch does not suit the network.
    """
    network = build_network(
        experiment.model,
        in_channels=experiment.channel_count,
        classes=experiment.class_count,
        patch_size=experiment.sampling.patch_size,
    )
    shapes = {name: torch.empty_like(value, device="meta") for name, value in network.state_dict().items()}
    features, multiplications = 0, 0

    def count(module: nn.Module, inputs: Any, output: torch.Tensor) -> None:
        nonlocal features, multiplications
        features += output.numel()
        weight: Any = module.weight
        voxels = inputs[0].numel() if isinstance(module, (*_Conv[2:],)) else output.numel()
        multiplications += voxels * prod(weight.shape[1:])

    hooks = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, _Conv)]
    network.train()
    with torch.no_grad():
        shape = (1, experiment.channel_count, *experiment.sampling.patch_size)
        found = torch.func.functional_call(network, shapes, (torch.empty(shape, device="meta"),))
    for hook in hooks:
        hook.remove()
    logits = sum(level.numel() for level in (found if isinstance(found, list) else [found]))
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return NetworkCost(parameters, features, logits, multiplications)


def unet_cost(
    patch: Shape, layout: Layout, channels: Sequence[int], inputs: int, classes: int
) -> NetworkCost:
    """The same of a plain U-Net of two convolutions a stage, by arithmetic: for many candidates at once."""
    voxels, kernels = [float(prod(patch))], [prod(kernel) for kernel in layout.kernels]
    for stride in layout.strides[1:]:
        voxels.append(voxels[-1] / prod(stride))
    parameters, features, multiplications = 0.0, 0.0, 0.0
    for stage, (width, kernel, size) in enumerate(zip(channels, kernels, voxels, strict=True)):
        before = channels[stage - 1] if stage else inputs
        convolutions = [before * width * kernel, width * width * kernel]
        norms = 2
        if stage < len(channels) - 1:  # the way back: concatenated, and another convolution
            convolutions += [2 * width * width * kernel, width * width * kernel]
            norms = 4
            up = channels[stage + 1] * width
            parameters += up * prod(layout.strides[stage + 1]) + width
            multiplications += up * size
            features += width * size
        parameters += sum(convolutions) + 3 * norms * width
        multiplications += sum(convolutions) * size
        features += norms * width * size
    parameters += (channels[0] + 1) * classes
    multiplications += channels[0] * classes * voxels[0]
    logits = classes * voxels[0]
    return NetworkCost(int(parameters), int(features + logits), int(logits), int(multiplications))


def step_bytes(cost: NetworkCost, batch_size: int, precision: str, device: str = "cpu") -> int:
    """The most that a training step holds beyond the libraries."""
    on_cpu = device == "cpu"
    held = BYTES_A_FEATURE if on_cpu else BYTES_A_FEATURE_CUDA[precision]
    sample = cost.features * held + cost.logits * BYTES_A_LOGIT
    samples = max(batch_size, SMALLEST_BATCH_CPU) if on_cpu else batch_size
    return cost.parameters * BYTES_A_PARAMETER + samples * sample


def training_bytes(cost: NetworkCost, batch_size: int, precision: str, device: str = "cpu") -> int:
    """The most that the training process takes: in RAM on a CPU, in the memory of the card on a GPU."""
    libraries = LIBRARIES_CPU if device == "cpu" else LIBRARIES_CUDA
    return libraries + step_bytes(cost, batch_size, precision, device)

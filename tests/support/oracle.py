"""A real model file whose answer is known: every voxel gets the structure whose intensity code is nearest.

It is a two-stage U-Net of 1x1x1 convolutions without norms, so that a voxel's class depends on that voxel
alone: geometry can be tested exactly, without training, and a scan takes a fraction of a second.
Logits are ``2 c x - c^2``, whose largest is that of the code ``c`` nearest to the intensity ``x``.
"""

from collections.abc import Sequence
from pathlib import Path

import torch

from medseg.config import parse_experiment
from medseg.modelfile import ModelFile, save_model
from medseg.models import build_network
from medseg.transforms import Fitted

CODE_STEP = 100
"""Structure ``c`` (from 1) is shown by intensity ``100 c``; background by 0."""

SHARPNESS = 40
"""How steeply probabilities change between two codes."""


def write_oracle(
    path: Path,
    structures: int = 3,
    spacing_mm: Sequence[float] = (2.0, 2.0, 2.0),
    patch_size: Sequence[int] = (16, 16, 16),
    **inference: object,
) -> Path:
    """Write the model to ``path``; the values of its labels are 1, 2, 3, ..."""
    x, y, z = spacing_mm
    experiment = parse_experiment(
        {
            "name": "oracle",
            "labels": {f"organ_{c}": c for c in range(1, structures + 1)},
            "data": {"cohort": "none"},
            "preprocessing": {
                "spacing_mm": list(spacing_mm),
                "intensity": {
                    "kind": "window",
                    "center": structures * CODE_STEP / 2,
                    "width": structures * CODE_STEP,
                },
            },
            "sampling": {"patch_size": list(patch_size)},
            "model": {
                "kind": "unet",
                "channels": [1, 1],
                "kernel": 1,
                "blocks": 1,
                "decoder_blocks": 1,
                "norm": "none",
                "activation": "relu",
                "upsample": "linear",
            },
            "training": {"stop": {"epochs": 1}},
            "inference": inference,
        },
        "oracle",
    )
    network = build_network(
        experiment.model, in_channels=1, classes=structures + 1, patch_size=experiment.sampling.patch_size
    )
    weights = {name: torch.zeros_like(value) for name, value in network.state_dict().items()}
    weights["encoder.0.0.conv.weight"].fill_(1)
    weights["encoder.0.0.conv.bias"].fill_(1)  # the window gives -1 to 1; a rectifier keeps 0 to 2
    weights["decoder.0.0.conv.weight"][:, 1] = 1  # the skip connection; what comes from below counts nothing
    codes = 2 * torch.arange(structures + 1) / structures
    weights["heads.0.weight"][:, 0, 0, 0, 0] = SHARPNESS * 2 * codes
    weights["heads.0.bias"][:] = -SHARPNESS * codes**2
    save_model(path, ModelFile(experiment, Fitted((x, y, z)).to_json(), {}, weights))
    return path

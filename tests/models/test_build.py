"""From configuration to network: what is refused, and how."""

from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from medseg.config import ModelConfig
from medseg.errors import ConfigError
from medseg.models import build_network


def build(patch: tuple[int, int, int], **config: Any) -> nn.Module:
    model = TypeAdapter(ModelConfig).validate_python(config)
    return build_network(model, in_channels=1, classes=2, patch_size=patch)


@pytest.mark.parametrize(
    ("patch", "config", "told"),
    [
        (
            (48, 40, 32),
            {"kind": "segresnet", "blocks_down": [1] * 5, "blocks_up": [1] * 4},
            "40 along j .* 32 or 48",
        ),
        ((64, 64, 48), {"kind": "swin_unetr"}, "48 along k does not divide by 32 .* 32 or 64"),
        ((32, 32, 32), {"kind": "swin_unetr"}, "leaves one voxel"),
        ((64, 64, 1), {"kind": "unet", "spatial_dims": 2, "neighbours": 1}, "1 along k .* give at least 3"),
        (
            (1, 64, 60),
            {
                "kind": "unet", "spatial_dims": 2, "plane": "sagittal", "channels": [4, 4, 4, 4],
                "strides": [[1, 1], [2, 2], [2, 2], [2, 2]],
            },
            "60 along k does not divide by 8 .* 56 or 64",
        ),
    ],
)  # fmt: skip
def test_a_patch_that_does_not_suit(patch: tuple[int, int, int], config: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        build(patch, **config)
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"kind": "unet", "kernel": 4}, "even"),
        ({"kind": "vnet", "kernel": 2}, "even"),
        ({"kind": "unet", "channels": [8, 16], "kernel": [[3, 3], [3, 3]]}, "2 entries for 3 axes"),
        ({"kind": "unet", "channels": [8, 16], "strides": [[2, 2, 2], [2, 2, 2]]}, "full size"),
        ({"kind": "unet", "channels": [7, 16], "narrow_first": True}, "7 is odd"),
        ({"kind": "unet", "residual": True, "narrow_first": True}, "narrow_first is for the plain encoder"),
        ({"kind": "segresnet", "blocks_up": [1]}, "4 stages have 3"),
        ({"kind": "segresnet", "init_filters": 12}, "multiple of 8"),
    ],
)
def test_a_configuration_that_makes_no_network(config: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        TypeAdapter(ModelConfig).validate_python(config)


def test_convolutions_have_channels_last() -> None:
    weight = build((16, 16, 16), kind="unet", channels=[4, 8]).get_parameter("encoder.1.0.conv.weight")
    assert weight.is_contiguous(memory_format=torch.channels_last_3d)

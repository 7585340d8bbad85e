"""The same network as MONAI's own class, ``DynUNet``, with our weights."""

import re

from monai.networks.nets import DynUNet
from torch import Tensor, nn

from medseg.config.model import UNetConfig
from medseg.modelfile import ModelFile
from medseg.models.layout import plan_layout


def build_dynunet(model: ModelFile) -> nn.Module:
    """For the networks that ``nnunet_folder`` takes, without deep supervision; axes stay i, j, k."""
    config = model.experiment.model
    assert isinstance(config, UNetConfig)
    depth = len(config.channels)
    patch_size = model.experiment.sampling.patch_size
    layout = plan_layout(patch_size, "ijk", depth, config.kernel, config.strides)
    network = DynUNet(
        spatial_dims=3,
        in_channels=1,
        out_channels=model.experiment.class_count,
        kernel_size=layout.kernels,
        strides=layout.strides,
        upsample_kernel_size=layout.strides[1:],
        filters=config.channels,
        trans_bias=True,
    )
    expected = network.state_dict()
    last_head = f"heads.{depth - 2 if config.deep_supervision else 0}."
    weights = {
        _name(name, depth): value
        for name, value in model.weights.items()
        if not name.startswith("heads.") or name.startswith(last_head)
    }
    # biases of convolutions before a norm do nothing, and DynUNet has none
    found = {name: value for name, value in weights.items() if name in expected}
    found |= {f"skip_layers.{name}": value for name, value in _skips(found, depth).items()}
    network.load_state_dict(found)
    return network.eval()


def _name(name: str, depth: int) -> str:
    def block(match: re.Match[str], place: str) -> str:
        convolution = int(match["block"]) + 1
        kind = f"conv{convolution}.conv" if match["kind"] == "conv" else f"norm{convolution}"
        return f"{place}.{kind}."

    part = re.match(r"(?P<side>encoder|decoder)\.(?P<stage>\d+)\.(?P<block>\d+)\.(?P<kind>conv|norm)\.", name)
    if part is not None:
        stage = int(part["stage"])
        places = {0: "input_block", depth - 1: "bottleneck"}
        place = (
            places.get(stage, f"downsamples.{stage - 1}")
            if part["side"] == "encoder"
            else f"upsamples.{stage}.conv_block"
        )
        return block(part, place) + name[part.end() :]
    name = re.sub(r"^upsamples\.(\d+)\.", r"upsamples.\1.transp_conv.conv.", name)
    return re.sub(r"^heads\.\d+\.", "output_block.conv.conv.", name)


def _skips(weights: dict[str, Tensor], depth: int) -> dict[str, Tensor]:
    """The second names under which DynUNet's nested skip layers hold all but the last block."""
    second = {}
    for name, value in weights.items():
        found = re.match(r"(input_block|downsamples\.(\d+)|bottleneck|upsamples\.(\d+))\.(.*)", name)
        if found is None:
            continue
        if found[1] == "bottleneck":
            second["next_layer." * (depth - 1) + found[4]] = value
        elif found[1].startswith("upsamples"):
            second["next_layer." * (depth - 2 - int(found[3])) + f"upsample.{found[4]}"] = value
        else:
            level = 0 if found[1] == "input_block" else int(found[2]) + 1
            second["next_layer." * level + f"downsample.{found[4]}"] = value
    return second

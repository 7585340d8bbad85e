"""From nnU-Net's network (class, arguments, weights) to our ``unet``: the same numbers, axes permuted."""

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from medseg.config import Experiment
from medseg.convert.nnunet_axes import NetworkAxes
from medseg.convert.nnunet_plans import Architecture, Nested, Network, Scalars
from medseg.errors import Code, ModelFileError
from medseg.models import build_network
from medseg.models.norm import InstanceNorm

_CLASSES = {"PlainConvUNet": False, "ResidualEncoderUNet": True}
_NORMS = {"InstanceNorm": "instance", "BatchNorm": "batch", None: "none"}
_ACTIVATIONS = {"LeakyReLU": "leaky_relu", "ReLU": "relu"}


def model_settings(architecture: Architecture, axes: NetworkAxes) -> dict[str, Any]:
    """The ``model`` part of an experiment.

    Raises:
        ModelFileError: what our U-Net has not, each by name.
    """
    theirs = architecture.network
    kind = architecture.network_class_name.rpartition(".")[2]
    problems = [f"its network is a {kind}: only {' and '.join(_CLASSES)} are known"] * (kind not in _CLASSES)
    problems += _not_ours(theirs, axes.dims)
    ModelFileError.raise_if(Code.MODEL_UNSUPPORTED, (f"{problem}; run it in nnU-Net" for problem in problems))
    residual = _CLASSES[kind]
    blocks = theirs.n_blocks_per_stage if residual else theirs.n_conv_per_stage
    back = _per_stage(theirs.n_conv_per_stage_decoder, theirs.n_stages - 1)
    return {
        "kind": "unet",
        "spatial_dims": axes.dims,
        **({"plane": axes.plane} if axes.dims == 2 else {}),
        "channels": _per_stage(theirs.features_per_stage, theirs.n_stages),
        "kernel": [
            axes.arranged(stage) for stage in _per_axis(theirs.kernel_sizes, theirs.n_stages, axes.dims)
        ],
        "strides": [axes.arranged(stage) for stage in _per_axis(theirs.strides, theirs.n_stages, axes.dims)],
        "blocks": _per_stage(2 if blocks is None else blocks, theirs.n_stages),
        "decoder_blocks": back[::-1],
        "residual": residual,
        "norm": _NORMS[_short(theirs.norm_op)],
        "activation": _ACTIVATIONS[_short(theirs.nonlin) or ""],
        "dropout": float((theirs.dropout_op_kwargs or {}).get("p", 0)) if theirs.dropout_op else 0,
        "deep_supervision": True,
    }


def our_weights(
    theirs: Mapping[str, Tensor], network: Network, experiment: Experiment, axes: NetworkAxes
) -> dict[str, Tensor]:
    """Weights under our names, kernels along our axes. Absent biases and scales are 0 and 1, as they act."""
    residual = network.n_blocks_per_stage is not None
    prefix = "network." if axes.dims == 2 else ""
    order = [0, 1, *(axis + 2 for axis in axes.order)]
    weights = {
        prefix + our_name(name, residual): value.permute(order) if value.dim() == len(order) else value
        for name, value in theirs.items()
    }
    affine = (network.norm_op_kwargs or {}).get("affine", _short(network.norm_op) == "BatchNorm")
    with torch.device("meta"):
        expected = build_network(
            experiment.model,
            in_channels=experiment.channel_count,
            classes=experiment.class_count,
            patch_size=experiment.sampling.patch_size,
        )
    for name, module in expected.named_modules():
        is_norm = isinstance(module, InstanceNorm | nn.BatchNorm2d | nn.BatchNorm3d)
        own = dict(module.named_parameters(recurse=False))
        if is_norm and not affine:
            weights[f"{name}.weight"] = torch.ones(own["weight"].shape)
        if "bias" in own and (
            not affine if is_norm else not network.conv_bias and ".heads." not in f".{name}"
        ):
            weights[f"{name}.bias"] = torch.zeros(own["bias"].shape)
    return weights


def with_background(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Heads of regions with a first output that is 0 everywhere: a region is where it scores above that."""
    return {
        name: torch.cat((torch.zeros_like(value[:1]), value)) if "decoder.seg_layers." in name else value
        for name, value in weights.items()
    }


def our_name(name: str, residual: bool) -> str:
    """Our name of one of nnU-Net's weights."""
    ours = name.replace("decoder.transpconvs", "upsamples").replace("decoder.seg_layers", "heads")
    ours = ours.replace("decoder.stages", "decoder").replace("encoder.stages", "encoder")
    ours = ours.replace("encoder.stem.convs", "stem").replace(".convs.", ".")
    if not residual:
        return re.sub(r"^encoder\.(\d+)\.0\.", r"encoder.\1.", ours)
    ours = ours.replace(".blocks.", ".").replace("conv1.", "first.").replace("conv2.", "")
    ours = re.sub(r"skip\.(\d)\.conv\.", r"shortcut.\1.", ours)
    return re.sub(r"skip\.(\d)\.norm\.", lambda m: f"shortcut.{int(m[1]) + 1}.", ours)


def _not_ours(network: Network, dims: int) -> list[str]:
    """What arguments ask for that our U-Net has not."""
    norm, activation = _short(network.norm_op), _short(network.nonlin)
    norm_kwargs, slope = (
        network.norm_op_kwargs or {},
        (network.nonlin_kwargs or {}).get("negative_slope", 0.01),
    )
    first = _per_stage(network.features_per_stage, network.n_stages)[0]
    found = {
        f"conv_op {network.conv_op}": network.conv_op.rpartition(".")[2] != f"Conv{dims}d",
        f"norm_op {network.norm_op}": norm not in _NORMS,
        f"norm_op_kwargs {norm_kwargs}": bool(set(norm_kwargs) - {"eps", "affine"})
        or not math.isclose(norm_kwargs.get("eps", 1e-5), 1e-5),
        f"nonlin {network.nonlin}": activation not in _ACTIVATIONS,
        f"nonlin_kwargs {network.nonlin_kwargs}": activation == "LeakyReLU" and slope != 0.01,
        "nonlin_first": network.nonlin_first,
        f"stem_channels {network.stem_channels}": network.stem_channels not in (None, first),
    }
    found |= {name: value not in (None, False) for name, value in (network.model_extra or {}).items()}
    return [f"its network has {name:.120}, which ours has not" for name, is_so in found.items() if is_so]


def _short(name: str | None) -> str | None:
    """``torch.nn.modules.instancenorm.InstanceNorm3d`` is ``InstanceNorm``."""
    return None if name is None else re.sub(r"[23]d$", "", name.rpartition(".")[2])


def _per_stage(value: Scalars, stages: int) -> list[int]:
    return [value] * stages if isinstance(value, int) else list(value)


def _per_axis(value: Nested, stages: int, dims: int) -> list[list[int]]:
    each = [value] * stages if isinstance(value, int) else list(value)
    return [[stage] * dims if isinstance(stage, int) else list(stage) for stage in each]

"""A medseg U-Net as the model folder of nnU-Net v2 that holds the same network: the inverse of the converter.

For networks that ``PlainConvUNet`` can hold: 3D, instance norm, leaky ReLU, strided and transposed
convolutions, trained with ``crop: nonzero``, ``normalise: before`` and fitted intensities, as nnU-Net does.
"""

import re
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from medseg.config import Experiment
from medseg.config.model import UNetConfig
from medseg.modelfile import ModelFile
from medseg.models.layout import plan_layout
from support import nnunet

_TO_ZYX = (0, 1, 4, 3, 2)


def write_nnunet_folder(folder: Path, model: ModelFile) -> Path:
    """``plans.json``, ``dataset.json`` and ``fold_0`` in ``folder``; scans are taken to be stored LPS."""
    experiment = model.experiment
    network = _unet(model)
    told = _architecture(network, experiment.sampling.patch_size)
    patch, spacing = experiment.sampling.patch_size[::-1], model.fitted["spacing_mm"][::-1]
    plans = nnunet.plans(told, (0, 1, 2), spacing, patch, ("CTNormalization",))
    statistics = model.fitted["intensity"][0]
    plans["foreground_intensity_properties_per_channel"]["0"] |= {
        "percentile_00_5": statistics["low"],
        "percentile_99_5": statistics["high"],
        "mean": statistics["mean"],
        "std": statistics["sd"],
    }
    plans["dataset_name"] = "Dataset998_Bench"
    labels = {"background": 0, **experiment.labels}
    weights = their_weights(model.weights, len(network.channels))
    return nnunet.write_folder(
        folder, plans, {**nnunet.dataset(), "labels": labels}, nnunet.checkpoint(weights, None)
    )


def plan_of(experiment: Experiment, batch_size: int) -> dict[str, Any]:
    """``plans.json`` for training the network of ``experiment`` with nnU-Net's own trainer.

    Dice is counted over the batch, as ours is, so that both minimise the same.
    """
    network, patch = experiment.model, experiment.sampling.patch_size
    if not isinstance(network, UNetConfig):
        raise SystemExit(f"nnU-Net has no {network.kind}: give a U-Net")
    plans = nnunet.plans(
        _architecture(network, patch), (0, 1, 2), (1.0, 1.0, 1.0), patch[::-1], ("ZScoreNormalization",)
    )
    told = {"batch_size": batch_size, "batch_dice": True, "data_identifier": "bench"}
    configuration = {**plans["configurations"]["fullres"], **told}
    return {**plans, "dataset_name": "Dataset998_Bench", "configurations": {"3d_fullres": configuration}}


def _unet(model: ModelFile) -> UNetConfig:
    """Its network, if nnU-Net can hold it."""
    network, preprocessing = model.experiment.model, model.experiment.preprocessing
    wanted: dict[str, bool] = {
        "a plain 3D U-Net": isinstance(network, UNetConfig) and network.spatial_dims == 3,
        "one network": model.members == 1,
        "one channel": model.experiment.channel_count == 1,
        "intensity: fitted": model.fitted["intensity"] is not None,
        "normalise: before": preprocessing.normalise == "before",
        "crop: nonzero": preprocessing.crop == "nonzero",
        "orientation: LPS": preprocessing.orientation == "LPS",
    }
    if isinstance(network, UNetConfig):
        plain = UNetConfig(
            kind="unet", channels=network.channels, kernel=network.kernel, strides=network.strides
        )
        same = network.model_copy(update={"deep_supervision": False})
        wanted["two convolutions a stage, instance norm, leaky ReLU"] = same == plain
    missing = [name for name, is_so in wanted.items() if not is_so]
    if missing or not isinstance(network, UNetConfig):
        sys.exit(f"nnU-Net cannot hold this model: it needs {', '.join(missing)}")
    return network


def _architecture(network: UNetConfig, patch_size: tuple[int, int, int]) -> dict[str, Any]:
    depth = len(network.channels)
    layout = plan_layout(patch_size, "ijk", depth, network.kernel, network.strides)
    return nnunet.architecture(
        n_stages=depth,
        features_per_stage=list(network.channels),
        kernel_sizes=[list(stage)[::-1] for stage in layout.kernels],
        strides=[list(stage)[::-1] for stage in layout.strides],
        n_conv_per_stage=[2] * depth,
        n_conv_per_stage_decoder=[2] * (depth - 1),
    )


def their_weights(ours: dict[str, Tensor], depth: int) -> dict[str, Tensor]:
    """``network_weights`` of a checkpoint of ``PlainConvUNet``, with all the second names it saves."""
    weights = {}
    for name, value in ours.items():
        theirs = their_name(name)
        if "heads.1.weight" not in ours:  # without deep supervision our only head is their last
            theirs = theirs.replace("seg_layers.0.", f"seg_layers.{depth - 2}.")
        weights[theirs] = value.permute(_TO_ZYX).contiguous() if value.dim() == 5 else value
    classes = weights[f"decoder.seg_layers.{depth - 2}.weight"].shape[0]
    for stage in range(depth - 2):  # heads of deep supervision: there, but unused when it predicts
        width = weights[f"decoder.stages.{stage}.convs.0.conv.weight"].shape[0]
        weights.setdefault(f"decoder.seg_layers.{stage}.weight", torch.zeros(classes, width, 1, 1, 1))
        weights.setdefault(f"decoder.seg_layers.{stage}.bias", torch.zeros(classes))
    weights |= {_second_name(name): value for name, value in weights.items() if ".convs." in name}
    encoder = {name: value for name, value in weights.items() if name.startswith("encoder.")}
    return weights | {f"decoder.{name}": value for name, value in encoder.items()}


def their_name(name: str) -> str:
    """nnU-Net's name of one of our weights."""
    theirs = re.sub(r"^encoder\.(\d+)\.(\d+)\.", r"encoder.stages.\1.0.convs.\2.", name)
    theirs = re.sub(r"^decoder\.(\d+)\.(\d+)\.", r"decoder.stages.\1.convs.\2.", theirs)
    theirs = re.sub(r"^upsamples\.(\d+)\.", r"decoder.transpconvs.\1.", theirs)
    return re.sub(r"^heads\.(\d+)\.", r"decoder.seg_layers.\1.", theirs)


def _second_name(name: str) -> str:
    return name.replace(".conv.", ".all_modules.0.").replace(".norm.", ".all_modules.1.")

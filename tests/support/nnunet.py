"""A model folder as nnU-Net v2 writes it, around one of its own networks with random weights."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

PATCH = (8, 16, 12)
"""Of the transposed array: no two axes alike."""


def architecture(dims: int = 3, residual: bool = False, **changes: Any) -> dict[str, Any]:
    """An entry of ``plans.json``: three stages, the first flat (3D), two of them pooled unevenly."""
    kernels = [[1, 3, 3], [3, 3, 3], [3, 3, 3]] if dims == 3 else [[3, 3]] * 3
    strides = [[1, 1, 1], [1, 2, 2], [2, 2, 1]] if dims == 3 else [[1, 1], [2, 2], [2, 1]]
    kwargs = {
        "n_stages": 3,
        "features_per_stage": [4, 8, 12],
        "conv_op": f"torch.nn.modules.conv.Conv{dims}d",
        "kernel_sizes": kernels,
        "strides": strides,
        "n_blocks_per_stage" if residual else "n_conv_per_stage": [1, 2, 2],
        "n_conv_per_stage_decoder": [2, 1],
        "conv_bias": True,
        "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dims}d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
    name = "ResidualEncoderUNet" if residual else "PlainConvUNet"
    return {
        "network_class_name": f"dynamic_network_architectures.architectures.unet.{name}",
        "arch_kwargs": {**kwargs, **changes},
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }


def build(told: dict[str, Any], channels: int, classes: int) -> nn.Module:
    """nnU-Net's own network, every weight drawn at random (norms too), classes about equally likely."""
    import pytest

    unets = pytest.importorskip(
        "dynamic_network_architectures.architectures.unet",
        reason="nnU-Net's networks are not installed: pip install dynamic-network-architectures",
    )
    kwargs = dict(told["arch_kwargs"])
    for key in told["_kw_requires_import"]:
        kwargs[key] = getattr(nn, kwargs[key].rpartition(".")[2]) if kwargs[key] else None
    kind = getattr(unets, told["network_class_name"].rpartition(".")[2])
    torch.manual_seed(0)
    network: nn.Module = kind(input_channels=channels, num_classes=classes, deep_supervision=False, **kwargs)
    for weight in network.parameters():
        if weight.dim() == 1:
            nn.init.normal_(weight, 0.5, 0.5)
    network.eval()
    head = network.get_submodule("decoder.seg_layers")[-1]
    with torch.inference_mode():
        logits = network(torch.randn(8, channels, *PATCH[-int(kwargs["conv_op"].__name__[-2]) :]))
    deviation, mean = torch.std_mean(logits.transpose(0, 1).flatten(1), 1)
    with torch.no_grad():
        head.weight /= deviation.reshape(-1, *[1] * (head.weight.dim() - 1))
        head.bias -= mean
        head.bias /= deviation
    return network


def plans(
    told: dict[str, Any],
    transpose_forward: tuple[int, ...] = (0, 1, 2),
    spacing: tuple[float, ...] = (3.0, 1.0, 1.5),
    patch: tuple[int, ...] = PATCH,
    schemes: tuple[str, ...] = ("NoNormalization",),
    **changes: Any,
) -> dict[str, Any]:
    """``plans.json`` with the one configuration ``fullres``; axes as in the transposed array."""
    dims = told["arch_kwargs"]["conv_op"][-2]
    statistics = {
        "percentile_00_5": -900.0, "percentile_99_5": 900.0, "mean": 50.0, "std": 300.0,
        "median": 0.0, "min": -1000.0, "max": 1000.0,
    }  # fmt: skip
    configuration = {
        "data_identifier": "nnUNetPlans_3d_fullres",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": list(patch)[-int(dims) :],
        "median_image_size_in_voxels": list(patch)[-int(dims) :],
        "spacing": list(spacing)[-int(dims) :],
        "normalization_schemes": list(schemes),
        "use_mask_for_norm": [False] * len(schemes),
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None},
        "resampling_fn_seg_kwargs": {"is_seg": True, "order": 1, "order_z": 0, "force_separate_z": None},
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": {
            "is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None,
        },
        "architecture": told,
        "batch_dice": True,
        **changes,
    }  # fmt: skip
    return {
        "dataset_name": "Dataset999_Fake",
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": list(spacing),
        "original_median_shape_after_transp": list(patch),
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": list(transpose_forward),
        "transpose_backward": [int(axis) for axis in np.argsort(transpose_forward)],
        "configurations": {"fullres": configuration},
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {str(i): statistics for i in range(len(schemes))},
    }


def dataset(channels: int = 1, structures: int = 3) -> dict[str, Any]:
    return {
        "channel_names": {str(index): f"sequence {index}" for index in range(channels)},
        "labels": {"background": 0, **{f"organ_{c}": c for c in range(1, structures + 1)}},
        "numTraining": 1,
        "file_ending": ".nii.gz",
    }


def checkpoint(weights: dict[str, Any], mirror_axes: tuple[int, ...] | None = (0, 1, 2)) -> dict[str, Any]:
    """What nnU-Net saves, the training log with its NumPy numbers included."""
    return {
        "network_weights": weights,
        "optimizer_state": {"state": {}, "param_groups": [{"lr": 0.01, "params": [0]}]},
        "grad_scaler_state": {"scale": 65536.0},
        "logging": {"mean_fg_dice": [np.float64(0.5)], "train_losses": [np.float32(0.1)], "lrs": [0.01]},
        "_best_ema": np.float64(0.5),
        "current_epoch": 1000,
        "init_args": {"configuration": "fullres", "fold": 0, "device": torch.device("cpu")},
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": mirror_axes,
    }


def write_folder(
    folder: Path, plans: dict[str, Any], dataset: dict[str, Any], saved: dict[str, Any] | None = None
) -> Path:
    (folder / "fold_0").mkdir(parents=True, exist_ok=True)
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(dataset))
    if saved is not None:
        torch.save(saved, folder / "fold_0" / "checkpoint_final.pth")
    return folder

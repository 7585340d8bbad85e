"""MONAI bundles as its model zoo ships them, with random weights; and MONAI's own prediction."""

import json
import warnings
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from monai.bundle import ConfigParser
    from monai.data import MetaTensor

UNET = {
    "_target_": "UNet",
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 4,
    "channels": [8, 12, 16],
    "strides": [2, 2],
    "num_res_units": 2,
    "norm": "batch",
}
SEGRESNET = {
    "_target_": "SegResNet",
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 4,
    "init_filters": 8,
    "blocks_down": [1, 1, 1],
    "blocks_up": [1, 1],
    "dropout_prob": 0.2,
}
LOADED = [
    {"_target_": "LoadImaged", "keys": "@image_key"},
    {"_target_": "EnsureChannelFirstd", "keys": "@image_key"},
    {"_target_": "Orientationd", "keys": "@image_key", "axcodes": "RAS"},
    {"_target_": "Spacingd", "keys": "@image_key", "pixdim": "@pixdim", "mode": "bilinear"},
]
WINDOW = {
    "_target_": "ScaleIntensityRanged",
    "keys": "@image_key",
    "a_min": -100,
    "a_max": 300,
    "b_min": 0,
    "b_max": 1,
    "clip": True,
}
ZSCORE_THEN_SCALE = [
    {"_target_": "NormalizeIntensityd", "keys": "@image_key", "nonzero": True},
    {"_target_": "ScaleIntensityd", "keys": "@image_key", "minv": -1.0, "maxv": 1.0},
]
SOFTMAX = {"_target_": "Activationsd", "keys": "pred", "softmax": True}
INVERT = {
    "_target_": "Invertd",
    "keys": "pred",
    "transform": "@preprocessing",
    "orig_keys": "@image_key",
    "nearest_interp": False,
    "to_tensor": True,
}
ARGMAX = {"_target_": "AsDiscreted", "keys": "pred", "argmax": True}
SAVE = {"_target_": "SaveImaged", "keys": "pred", "output_dir": "$@bundle_root + '/eval'"}
WINDOWS = {
    "_target_": "SlidingWindowInferer",
    "roi_size": [32, 32, 16],
    "sw_batch_size": 2,
    "overlap": "@displayable_configs#sw_overlap",
}


def inference(network: dict[str, Any] = UNET, **changes: Any) -> dict[str, Any]:
    """``configs/inference.json``, in the words of the model zoo's."""
    return deepcopy(
        {
            "displayable_configs": {"highres": True, "sw_overlap": 0.25},
            "imports": ["$import glob", "$import os"],
            "bundle_root": ".",
            "image_key": "image",
            "datalist": "$list(sorted(glob.glob(@bundle_root + '/*.nii.gz')))",
            "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
            "pixdim": "$[1.5, 1.25, 2.0] if @displayable_configs#highres else [3.0, 3.0, 3.0]",
            "modelname": "$'model.pt' if @displayable_configs#highres else 'model_lowres.pt'",
            "network_def": network,
            "network": "$@network_def.to(@device)",
            "preprocessing": {
                "_target_": "Compose",
                "transforms": [*LOADED, WINDOW, {"_target_": "EnsureTyped", "keys": "@image_key"}],
            },
            "inferer": WINDOWS,
            "postprocessing": {"_target_": "Compose", "transforms": [SOFTMAX, INVERT, ARGMAX, SAVE]},
            "checkpointloader": {
                "_target_": "CheckpointLoader",
                "load_path": "$@bundle_root + '/models/' + @modelname",
                "load_dict": {"model": "@network"},
            },
            "run": ["$@evaluator.run()"],
            **changes,
        }
    )


def metadata(
    names: tuple[str, ...] = ("background", "liver", "left kidney", "right kidney"),
) -> dict[str, Any]:
    named = {str(index): name for index, name in enumerate(names)}
    return {
        "version": "0.1.0",
        "monai_version": "1.2.0",
        "description": "A network of random weights",
        "authors": "nobody",
        "copyright": "none",
        "data_source": "noise",
        "intended_use": "tests",
        "network_data_format": {
            "inputs": {"image": {"num_channels": 1, "channel_def": {"0": "image"}}},
            "outputs": {"pred": {"num_channels": len(names), "channel_def": named}},
        },
    }


def build(told: dict[str, Any], seed: int = 0) -> nn.Module:
    """MONAI's network, whose classes each win somewhere, as those of a trained one."""
    torch.manual_seed(seed)
    network = ConfigParser({"network": told}).get_parsed_content("network")
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    network.eval()
    last = [p for p in network.parameters() if p.shape == (told["out_channels"],)][-1]
    noise = torch.randn(1, told["in_channels"], 8, 8, 4, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        scores = network(nn.functional.interpolate(noise, size=(32, 32, 16), mode="trilinear") + 0.5)
        last -= scores.mean(dim=(0, 2, 3, 4))
    return network


def write_bundle(
    folder: Path, config: dict[str, Any], network: nn.Module, told: dict[str, Any] | None = None
) -> Path:
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "configs" / "inference.json").write_text(json.dumps(config))
    (folder / "configs" / "metadata.json").write_text(json.dumps(told or metadata()))
    torch.save(network.state_dict(), folder / "models" / "model.pt")
    return folder


def predicted(config: dict[str, Any], network: nn.Module, scan: Path) -> np.ndarray:
    """The mask on the scan's grid by MONAI alone: its transforms, its windows, its way back."""
    parser = ConfigParser(config)
    prepare, infer = parser.get_parsed_content("preprocessing"), parser.get_parsed_content("inferer")
    finish = parser.get_parsed_content("postprocessing")
    finish.transforms = tuple(one for one in finish.transforms if type(one).__name__ != "SaveImaged")
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        item = prepare({"image": str(scan)})
        scores = infer(item["image"][None], network)[0]
        item["pred"] = MetaTensor(scores, meta=item["image"].meta)
        return np.asarray(finish(item)["pred"][0]).astype(np.uint8)

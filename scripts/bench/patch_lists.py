"""Three lists of augmentations, as medseg's configuration has them and as TorchIO has them."""

from typing import Any

import torchio as tio

Config = dict[str, Any]
ALL_AXES = ["left_right", "posterior_anterior", "inferior_superior"]

CT: list[Config] = [
    {"kind": "spatial", "p": 0.5, "rotation_deg": 15, "scale": 0.15, "elastic": {"points": 7, "max_mm": 6}},
    {"kind": "flip", "p": 0.5, "axes": ALL_AXES},
    {"kind": "noise", "p": 0.2, "std": 0.1},
    {"kind": "blur", "p": 0.1, "std_mm": 1.5},
    {"kind": "gamma", "p": 0.2, "log_gamma": 0.3},
    {"kind": "brightness_contrast", "p": 0.2},
    {"kind": "anisotropy", "p": 0.1, "downsampling": [1.5, 3]},
]
MR: list[Config] = [
    *CT,
    {"kind": "bias_field", "p": 0.15},
    {"kind": "motion", "p": 0.05},
    {"kind": "ghosting", "p": 0.05},
    {"kind": "spike", "p": 0.05},
]
NNUNET: list[Config] = [  # the shares of patches that nnU-Net's own list changes, and its strengths
    {"kind": "spatial", "p": 0.36, "rotation_deg": 30, "scale": 0.3},
    {"kind": "flip", "p": 0.5, "axes": ALL_AXES},
    {"kind": "noise", "p": 0.1, "std": 0.3},
    {"kind": "blur", "p": 0.1, "std_mm": 1.0},
    {"kind": "brightness_contrast", "p": 0.28, "brightness": 0, "contrast": 0.25},
    {"kind": "anisotropy", "p": 0.125, "downsampling": [1, 2]},
    {"kind": "gamma", "p": 0.37, "log_gamma": 0.4},
]
LISTS = {"ct": CT, "mr": MR, "nnunet": NNUNET}


def stock_transforms(configs: list[Config]) -> list[Any]:
    """The same by TorchIO's own transforms; it has none for brightness and contrast, which it is spared."""
    transforms: list[Any] = []
    for one in configs:
        p = one["p"]
        match one["kind"]:
            case "spatial":
                transforms.append(tio.RandomAffine(scales=one["scale"], degrees=one["rotation_deg"], p=p))
                if "elastic" in one:
                    points, most = one["elastic"]["points"], one["elastic"]["max_mm"]
                    transforms.append(
                        tio.RandomElasticDeformation(num_control_points=points, max_displacement=most, p=p)
                    )
            case "flip":
                transforms.append(tio.RandomFlip(axes=(0, 1, 2), flip_probability=p))
            case "noise":
                transforms.append(tio.RandomNoise(std=(0, one["std"]), p=p))
            case "blur":
                transforms.append(tio.RandomBlur(std=(0, one["std_mm"]), p=p))
            case "gamma":
                transforms.append(tio.RandomGamma(log_gamma=one["log_gamma"], p=p))
            case "anisotropy":
                transforms.append(tio.RandomAnisotropy(downsampling=tuple(one["downsampling"]), p=p))
            case "bias_field":
                transforms.append(tio.RandomBiasField(coefficients=0.4, order=3, p=p))
            case "motion":
                transforms.append(tio.RandomMotion(degrees=5, translation=5, num_transforms=2, p=p))
            case "ghosting":
                transforms.append(tio.RandomGhosting(num_ghosts=(3, 8), intensity=(0.2, 0.6), p=p))
            case "spike":
                transforms.append(tio.RandomSpike(num_spikes=1, intensity=(0.3, 0.8), p=p))
    return transforms

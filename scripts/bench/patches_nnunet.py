"""Patches of nnU-Net: its own loader, files and transforms; run by the Python that has nnunetv2.

    python patches_nnunet.py SPEC.json

The first run writes the prepared arrays as nnU-Net keeps them (blosc2). With the list ``nnunet`` the
transforms are those of its trainer; with ``ct`` those of medseg's list, by batchgeneratorsv2.
"""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
    os.environ.setdefault(name, tempfile.gettempdir())

import numpy as np
import torch
from batchgenerators.dataloading.nondet_multi_threaded_augmenter import NonDetMultiThreadedAugmenter
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.intensity.brightness import MultiplicativeBrightnessTransform
from batchgeneratorsv2.transforms.intensity.contrast import BGContrast, ContrastTransform
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.random import RandomTransform
from batchgeneratorsv2.transforms.utils.remove_label import RemoveLabelTansform
from nnunetv2.training.data_augmentation.compute_initial_patch_size import get_patch_size
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.training.dataloading.nnunet_dataset import comp_blosc2_params, nnUNetDatasetBlosc2
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from bench.clock import patches_a_second

AXES = (0, 1, 2)
SHARE = 1 - 0.5 ** (1 / 3)
"""Of rotation, zoom and elastic deformation, each drawn by itself: half of the patches are interpolated."""


def write_cases(arrays: Path, folder: Path, patch: tuple[int, int, int]) -> None:
    folder.mkdir(exist_ok=True)
    for path in sorted(arrays.glob("*_image.npy")):
        name = path.name.removesuffix("_image.npy")
        image = np.load(path, allow_pickle=False)
        label = np.load(arrays / f"{name}_label.npy", allow_pickle=False)[None].astype(np.int8)
        blocks, chunks = comp_blosc2_params(image.shape, patch)
        places = {
            value: np.argwhere(label == value)[:: max(1, int((label == value).sum()) // 10000)]
            for value in range(1, 5)
        }
        nnUNetDatasetBlosc2.save_case(
            image, label, {"class_locations": places}, str(folder / name), chunks=chunks, blocks=blocks
        )


def equivalent(patch: tuple[int, int, int], rotation: tuple[float, float]) -> BasicTransform:
    """medseg's list ``ct``."""
    spatial = SpatialTransform(
        patch,
        patch_center_dist_from_border=0,
        random_crop=False,
        p_elastic_deform=SHARE,
        p_rotation=SHARE,
        rotation=rotation,
        p_scaling=SHARE,
        scaling=(0.85, 1.15),
        p_synchronize_scaling_across_axes=1,
        border_mode_seg="constant",
        padding_value_seg=-1,
    )
    each = {"synchronize_channels": False, "p_per_channel": 1}
    drawn = [
        (GaussianNoiseTransform(noise_variance=(0, 0.1), p_per_channel=1, synchronize_channels=True), 0.2),
        (GaussianBlurTransform(blur_sigma=(0, 1.0), synchronize_axes=True, benchmark=True, **each), 0.1),
        (GammaTransform(gamma=BGContrast((0.74, 1.35)), p_invert_image=0, p_retain_stats=0, **each), 0.2),
        (MultiplicativeBrightnessTransform(multiplier_range=BGContrast((0.75, 1.25)), **each), 0.1),
        (ContrastTransform(contrast_range=BGContrast((0.75, 1.25)), preserve_range=False, **each), 0.1),
        (
            SimulateLowResolutionTransform(
                scale=(0.33, 0.67), synchronize_axes=True, ignore_axes=None, allowed_channels=None, **each
            ),
            0.1,
        ),
    ]
    random = [RandomTransform(transform, apply_probability=p) for transform, p in drawn]
    return ComposeTransforms([spatial, *random, MirrorTransform(AXES), RemoveLabelTansform(-1, 0)])


def main() -> None:
    spec: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    torch.set_num_threads(1)
    i, j, k = spec["patch"]
    patch, folder = (i, j, k), Path(spec["nnunet"])
    if not folder.exists():
        write_cases(Path(spec["arrays"]), folder, patch)
    degrees = np.pi / 180
    if spec["list"] == "nnunet":
        angle = 30 * degrees
        transforms = nnUNetTrainer.get_training_transforms(
            patch, (-angle, angle), None, AXES, False, use_mask_for_norm=[False]
        )
    else:
        angle = 15 * degrees
        transforms = equivalent(patch, (-angle, angle))
    wanted = get_patch_size(patch, *[(-angle, angle)] * 3, (0.85, 1.25))
    labels = LabelManager({"background": 0, **{f"organ_{v}": v for v in range(1, 5)}}, None)
    loader = nnUNetDataLoader(
        nnUNetDatasetBlosc2(str(folder)),
        spec["batch"],
        wanted,
        patch,
        labels,
        oversample_foreground_percent=0.33,
        transforms=transforms,
    )
    batches = NonDetMultiThreadedAugmenter(
        loader, None, spec["workers"], num_cached=max(6, spec["workers"] // 2), wait_time=0.002
    )
    rate = patches_a_second(batches, spec["batch"], spec["warm_up"], spec["seconds"])
    batches._finish()
    print(json.dumps({"patches_a_second": rate}))


if __name__ == "__main__":
    main()

"""A simulated torso CT with smooth organs, and a network that was taught on it in minutes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int16, UInt8
from scipy import ndimage

from medseg.config import parse_experiment
from medseg.io import write_volume
from medseg.modelfile import ModelFile, save_model
from medseg.models import build_network
from medseg.transforms import Fitted, IntensityStatistics
from medseg.volume import Geometry, Volume

Size = tuple[int, int, int]
STATISTICS = IntensityStatistics(low=-300, high=600, mean=100, sd=200)
"""Of voxels inside organs, as a training would have found them."""

_ORGANS = (
    # centre along i, j, k and half axes, in halves of the body; HU
    ((0.45, 0.1, -0.2), (0.4, 0.5, 0.6), 150),
    ((-0.45, 0.2, 0.2), (0.35, 0.45, 0.5), -150),
    ((-0.1, -0.4, 0.0), (0.3, 0.35, 0.7), 320),
    ((0.0, 0.45, 0.3), (0.2, 0.3, 0.5), 550),
)


@dataclass(frozen=True)
class NetworkSize:
    channels: tuple[int, ...] = (32, 64, 128, 256, 320)
    patch: int = 96
    spacing_mm: tuple[float, float, float] = (1.6, 1.6, 2.5)


def simulate(shape: Size, seed: int) -> tuple[Int16[np.ndarray, "I J K"], UInt8[np.ndarray, "I J K"]]:
    """HU and organ values on a grid stored LPS; nothing in it is symmetric."""
    random = np.random.default_rng(seed)
    i, j, k = np.meshgrid(
        *(np.linspace(-1, 1, n, dtype=np.float32) for n in shape), indexing="ij", sparse=True
    )
    image, label = np.full(shape, -1000, np.float32), np.zeros(shape, np.uint8)
    body = (i / 0.9) ** 2 + (j / 0.7) ** 2 + 0 * k < 1
    image[body] = 30
    for value, (centre, half, hounsfield) in enumerate(_ORGANS, start=1):
        c = np.array(centre, np.float32) + random.uniform(-0.05, 0.05, 3).astype(np.float32)
        wave = 0.15 * np.sin(5 * i + value) * np.cos(4 * j) * np.cos(3 * k)
        inside = (
            sum(((x - o) / h) ** 2 for x, o, h in zip((i / 0.9, j / 0.7, k), c, half, strict=True)) < 1 + wave
        )
        inside &= body
        image[inside], label[inside] = hounsfield, value
    image = ndimage.gaussian_filter(image, 0.7)
    image += random.standard_normal(shape, dtype=np.float32) * 20
    return image.round().astype(np.int16), label


def write_scan(path: Path, shape: Size, spacing_mm: tuple[float, float, float], seed: int = 0) -> Path:
    array, _ = simulate(shape, seed)
    affine = np.diag([-spacing_mm[0], -spacing_mm[1], spacing_mm[2], 1.0])
    affine[:3, 3] = (200, 180, -900)
    write_volume(Volume(array, Geometry(shape, affine)), path)
    return path


def write_cohort(folder: Path, shape: Size, spacing_mm: tuple[float, float, float], count: int = 8) -> Path:
    """``images`` and ``labels`` of simulated patients, for what needs training cases."""
    affine = np.diag([-spacing_mm[0], -spacing_mm[1], spacing_mm[2], 1.0])
    for index in range(count):
        for name, array in zip(("images", "labels"), simulate(shape, 200 + index), strict=True):
            (folder / name).mkdir(parents=True, exist_ok=True)
            write_volume(Volume(array, Geometry(shape, affine)), folder / name / f"patient_{index}.nii.gz")
    return folder


def write_model(path: Path, size: NetworkSize, steps: int, seed: int = 0) -> Path:
    """A model file whose network was taught for ``steps`` on crops of small simulated scans."""
    names = {f"organ_{value}": value for value in range(1, len(_ORGANS) + 1)}
    experiment = parse_experiment(
        {
            "name": "bench",
            "labels": names,
            "data": {"cohort": "simulated"},
            "preprocessing": {
                "orientation": "LPS",
                "spacing_mm": list(size.spacing_mm),
                "resampling": "cubic",
                "crop": "nonzero",
                "normalise": "before",
                "intensity": {"kind": "fitted"},
            },
            "sampling": {"patch_size": [size.patch] * 3},
            "model": {"kind": "unet", "channels": list(size.channels)},
            "training": {"stop": {"epochs": 1}},
            "inference": {"blend": "nnunet", "average": "logits", "padding": "zero"},
        },
        "bench",
    )
    torch.manual_seed(seed)
    network = build_network(
        experiment.model,
        in_channels=1,
        classes=experiment.class_count,
        patch_size=experiment.sampling.patch_size,
    )
    _teach(network.train(), steps, min(size.patch, 48), seed)
    fitted = Fitted(size.spacing_mm, (STATISTICS,)).to_json()
    save_model(path, ModelFile(experiment, fitted, {"taught_steps": steps}, network.state_dict()))
    return path


def _teach(network: torch.nn.Module, steps: int, crop: int, seed: int) -> None:
    """Every other crop about a voxel of an organ, organs in turn."""
    optimizer = torch.optim.Adam(network.parameters(), 4e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, steps))
    weights = torch.tensor([1.0, *[3.0] * len(_ORGANS)])
    random = np.random.default_rng(seed)
    shape = (3 * crop, 3 * crop, 2 * crop)
    scans = [simulate(shape, 100 + index) for index in range(4)]
    for step in range(steps):
        image, label = scans[step % len(scans)]
        middle = [int(random.integers(0, n)) for n in shape]
        if step % 2:
            middle = random.choice(np.argwhere(label == 1 + step // 2 % len(_ORGANS))).tolist()
        corner = [min(max(0, m - crop // 2), n - crop) for m, n in zip(middle, shape, strict=True)]
        box = tuple(slice(c, c + crop) for c in corner)
        x = torch.from_numpy(image[box].astype(np.float32)).clamp(STATISTICS.low, STATISTICS.high)
        x = (x - STATISTICS.mean) / STATISTICS.sd
        y = torch.from_numpy(label[box].astype(np.int64))
        loss = torch.nn.functional.cross_entropy(network(x[None, None]), y[None], weights)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1)
        optimizer.step()
        schedule.step()

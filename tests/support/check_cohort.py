"""A small simulated pelvis cohort without a fault, made in a second."""

from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from medseg.config import Experiment
from medseg.io import write_volume
from medseg.volume import Geometry, Volume

LABELS = {"prostate": 1, "bladder": 2, "femoral_head_left": 3, "femoral_head_right": 4}
CASES = 10
SHAPE = (52, 40, 26)
SPACING_MM = np.array([6.0, 6.0, 8.0])


def patient(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Image in HU (int16) and label, canonical axes: a body with bone, fat, a liver-like lobe on one side."""
    random = np.random.default_rng(seed)
    x, y, z = np.meshgrid(
        *((np.arange(n) - (n - 1) / 2) * s for n, s in zip(SHAPE, SPACING_MM, strict=True)), indexing="ij"
    )

    def ball(centre: tuple[float, float, float], radii: tuple[float, float, float]) -> np.ndarray:
        place = np.add(centre, random.uniform(-3, 3, 3))
        size = np.multiply(radii, random.uniform(0.92, 1.08))
        return sum(((a - c) / r) ** 2 for a, c, r in zip((x, y, z), place, size, strict=True)) < 1

    wide = 1 + 0.12 * z / 100  # wider towards the head
    deep, across = random.uniform(92, 106), random.uniform(130, 148)
    body = (x / (across * wide)) ** 2 + ((y + random.uniform(-6, 6)) / (deep * wide)) ** 2 < 1
    texture = ndimage.gaussian_filter(random.normal(size=SHAPE), 1.6)
    texture *= 90 / texture.std()
    image = np.where(body, 20 + texture, -1000.0)
    image[ball((0, -72, 0), (22, 18, 200)) & body] = 450  # sacrum
    image[ball((78, 40, 60), (38, 34, 40)) & body] = -600  # gas, on the right
    image[ball((0, 75, -70), (60, 18, 40)) & body] = -110  # fat, in front and below
    label = np.zeros(SHAPE, np.uint8)
    for value, centre, radii, hu in (
        (2, (0, 22, 32), (44, 36, 32), -60.0),
        (1, (0, 18, -26), (26, 24, 24), 160.0),
        (3, (-92, 36, 0), (26, 26, 26), 650.0),
        (4, (92, 36, 0), (26, 26, 26), 650.0),
    ):
        inside = ball(centre, radii)
        image[inside], label[inside] = hu + 0.2 * texture[inside], value
    image += random.normal(0, 8, SHAPE)
    return image.round().clip(-1024, 3000).astype(np.int16), label


def second_channel(image: np.ndarray) -> np.ndarray:
    """As if of another sequence: bone and air dark, soft tissue bright, on a scale of its own."""
    found = 900 * np.exp(-(((image.astype(np.float64) - 20) / 220) ** 2)) + 15
    return found.astype(np.int16)


def geometry(
    shape: tuple[int, ...] = SHAPE, spacing_mm: np.ndarray = SPACING_MM, shift: float = 0
) -> Geometry:
    affine = np.diag([*spacing_mm, 1.0])
    affine[:3, 3] = -(np.array(shape) - 1) / 2 * spacing_mm + shift
    i, j, k = (int(n) for n in shape)
    return Geometry((i, j, k), affine)


def write_case(folder: Path, image: Volume, label: Volume, *, channels: int = 1) -> None:
    folder.mkdir(parents=True)
    write_volume(image, folder / "ct.nii.gz")
    if channels == 2:
        write_volume(image.with_array(second_channel(image.array)), folder / "t2.nii.gz")
    write_volume(label, folder / "organs.nii.gz")


def write_cohort(root: Path, channels: int = 1) -> Path:
    for number in range(CASES):
        image, label = patient(number)
        grid = geometry(shift=float(number))
        folder = root / f"case{number:02d}"
        write_case(folder, Volume(image, grid), Volume(label, grid), channels=channels)
    return root


def experiment(cohort: Path, channels: int = 1, **data: Any) -> Experiment:
    names = {"ct": "ct.nii.gz"} | ({"t2": "t2.nii.gz"} if channels == 2 else {})
    told = {
        "name": "planted",
        "labels": LABELS,
        "data": {
            "cohort": str(cohort),
            "held_out": 2,
            "folds": 4,
            "seed": 3,
            **({} if cohort.suffix == ".csv" and channels == 1 else {"channels": names}),
            **({} if cohort.suffix == ".csv" else {"label": "organs.nii.gz"}),
            **data,
        },
        "preprocessing": {
            "spacing_mm": [8, 8, 8],
            "intensity": {"kind": "window", "center": 0, "width": 800},
        },
        "sampling": {"patch_size": [16, 16, 8]},
        "model": {"kind": "unet", "channels": [4, 8]},
        "training": {"stop": {"epochs": 2}, "steps_per_epoch": 2, "workers": 0, "device": "cpu"},
    }
    return Experiment.model_validate(told)

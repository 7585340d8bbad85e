"""nnU-Net's own predictor against the converted model: the same weights, the same scan, file to file.

    python -m venv /somewhere && /somewhere/bin/pip install nnunetv2
    python scripts/compare_with_nnunet.py --nnunet /somewhere/bin/python

trains small networks of nnU-Net's own classes on a simulated CT with no symmetry (needs
dynamic-network-architectures here) and compares the masks; ``--model-folder`` and ``--scan`` compare a model
and a scan of yours instead. Agreement is the share of voxels with the same label. What is left of differences
is half precision, in which nnU-Net sums the windows (``--single`` lets it sum in single precision).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import ndimage

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from medseg.cli.app import app  # noqa: E402
from medseg.io import read_volume, write_volume  # noqa: E402
from medseg.volume import Geometry, Volume  # noqa: E402
from support import nnunet  # noqa: E402

SPACING_MM = (1.5, 1.5, 3.0)
"""Of the simulated CT along i, j, k."""
THICK_MM = (1.5, 1.5, 6.0)
SHAPE = (56, 44, 30)
ORGANS = 3
TRAINED: dict[str, dict[str, torch.Tensor]] = {}
CT = ("CTNormalization",)
MR = ("ZScoreNormalization", "ZScoreNormalization")


@dataclass(frozen=True)
class Setting:
    name: str
    network: dict[str, Any]
    patch: tuple[int, ...] = (16, 32, 24)
    transpose_forward: tuple[int, ...] = (0, 1, 2)
    spacing_mm: tuple[float, float, float] = SPACING_MM
    stretch: float = 1.0
    """The plans' spacing by the scan's."""
    schemes: tuple[str, ...] = CT
    mask_for_norm: bool = False
    mirror: bool = False


@dataclass(frozen=True)
class Job:
    name: str
    place: Path
    model: Path
    scans: list[Path]
    mirror: bool


ISOTROPIC = {"kernel_sizes": [[3, 3, 3]] * 3, "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2]]}
SETTINGS = (
    Setting("3D plain", ISOTROPIC),
    Setting("3D plain, mirrored", ISOTROPIC, mirror=True),
    Setting("3D plain, anisotropic, transposed", {}, patch=(24, 16, 32), transpose_forward=(1, 0, 2)),
    Setting("3D residual encoder", {"residual": True, **ISOTROPIC}),
    Setting("2D plain", {"dims": 2}),
    Setting("3D plain, 2 channels, z-score", ISOTROPIC, schemes=MR),
    Setting("3D plain, 2 channels, z-score in mask", ISOTROPIC, schemes=MR, mask_for_norm=True),
    Setting("3D plain, spacing x 1.3", ISOTROPIC, stretch=1.3),
    Setting("3D plain, spacing x 0.8", ISOTROPIC, stretch=0.8),
    Setting("2D plain, spacing x 1.3", {"dims": 2}, stretch=1.3),
    Setting("3D plain, slices of 6 mm, spacing x 1.3", ISOTROPIC, spacing_mm=THICK_MM, stretch=1.3),
    Setting("3D plain, slices of 6 mm, spacing x 0.8", ISOTROPIC, spacing_mm=THICK_MM, stretch=0.8),
)


def simulate(shape: tuple[int, int, int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A CT (HU) and its organs on a grid stored LPS: a body in erased (0) background, nothing mirrored."""
    random = np.random.default_rng(seed)
    i, j, k = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    image, label = np.zeros(shape), np.zeros(shape, np.uint8)
    body = (i / 0.9) ** 2 + (j / 0.75) ** 2 < 1
    image[body] = 40
    places = [((0.4, 0.1, -0.3), 0.33, 130), ((-0.4, 0.25, 0.3), 0.28, -90), ((-0.1, -0.35, 0.0), 0.22, 260)]
    for value, (centre, radius, hounsfield) in enumerate(places, start=1):
        c = np.array(centre) + random.uniform(-0.08, 0.08, 3)
        inside = (i - c[0]) ** 2 + ((j - c[1]) / 0.8) ** 2 + ((k - c[2]) / 1.5) ** 2 < radius**2
        image[inside], label[inside] = hounsfield, value
    noisy = ndimage.gaussian_filter(image, 0.6) + random.normal(0, 25, shape)
    noisy[~body] = 0
    return noisy.round().astype(np.int16), label


def scan_files(setting: Setting, folder: Path) -> list[Path]:
    """The channels of a scan, one file each, ``ct_0000.nii.gz`` and on."""
    array, _ = simulate(SHAPE, seed=0)
    affine = np.diag([-setting.spacing_mm[0], -setting.spacing_mm[1], setting.spacing_mm[2], 1.0])
    affine[:3, 3] = (41, 32, -500)
    paths = []
    for channel, values in enumerate([array, *derived(array)][: len(setting.schemes)]):
        paths.append(folder / f"ct_{channel:04d}.nii.gz")
        write_volume(Volume(values, Geometry(values.shape, affine)), paths[-1])
    return paths


def normalised(arrays: list[np.ndarray], setting: Setting, plans: dict[str, Any]) -> np.ndarray:
    if setting.schemes == CT:
        told = plans["foreground_intensity_properties_per_channel"]["0"]
        clipped = arrays[0].clip(told["percentile_00_5"], told["percentile_99_5"])
        return ((clipped - told["mean"]) / told["std"])[None]
    return np.stack([(array - array.mean()) / array.std() for array in arrays])


def make_model(setting: Setting, folder: Path, steps: int) -> None:
    """A folder of a network that was trained on simulated scans, of the spacing of the one compared."""
    told = nnunet.architecture(**setting.network)
    spacing = [setting.stretch * setting.spacing_mm[2 - axis] for axis in setting.transpose_forward]
    masked = [setting.mask_for_norm] * len(setting.schemes)
    plans = nnunet.plans(
        told,
        setting.transpose_forward,
        tuple(spacing),
        setting.patch,
        setting.schemes,
        use_mask_for_norm=masked,
    )
    size = tuple(plans["configurations"]["fullres"]["patch_size"])
    key = json.dumps([told, setting.transpose_forward, size, setting.schemes])
    if key not in TRAINED:
        TRAINED[key] = train(setting, told, size, plans, steps)
    saved = nnunet.checkpoint(TRAINED[key], tuple(range(len(size))))
    nnunet.write_folder(folder, plans, nnunet.dataset(len(setting.schemes), ORGANS), saved)


def train(
    setting: Setting, told: dict[str, Any], size: tuple[int, ...], plans: dict[str, Any], steps: int
) -> dict[str, torch.Tensor]:
    network = nnunet.build(told, len(setting.schemes), ORGANS + 1).train()
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    random = np.random.default_rng(1)
    pairs = [simulate(SHAPE, seed) for seed in range(10, 16)]
    scans = [
        normalised([image, *derived(image)][: len(setting.schemes)], setting, plans) for image, _ in pairs
    ]
    for step in range(steps):
        order = setting.transpose_forward
        data = np.stack([channel.T.transpose(order) for channel in scans[step % len(scans)]])
        target = pairs[step % len(scans)][1].T.transpose(order)
        box = (1,) * (3 - len(size)) + size
        start = [random.integers(0, max(1, n - m + 1)) for n, m in zip(target.shape, box, strict=True)]
        place = tuple(slice(s, s + m) for s, m in zip(start, box, strict=True))
        x = torch.from_numpy(data[(slice(None), *place)].copy()).float()[None]
        y = torch.from_numpy(target[place].copy()).long()[None]
        if len(size) == 2:
            x, y = x[:, :, 0], y[:, 0]
        loss = torch.nn.functional.cross_entropy(network(x), y, weight=torch.tensor([1.0, 3, 3, 3]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.state_dict()


def derived(image: np.ndarray) -> list[np.ndarray]:
    """A second sequence of the same patient."""
    return [np.sqrt(np.abs(image)).round().astype(np.int16)]


NNUNET = """
import json, sys, time, torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
torch.set_num_threads(1)
jobs, single = json.load(sys.stdin)
if single:
    import nnunetv2.inference.predict_from_raw_data as module
    half, torch.half = module.compute_gaussian, torch.float32
    module.compute_gaussian = lambda *sizes, **options: half(*sizes, **options, dtype=torch.float32)
    module.compute_gaussian.cache_clear = half.cache_clear
for model, scans, mask, mirror in jobs:
    predictor = nnUNetPredictor(use_mirroring=mirror, device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(model, (0,))
    predictor.predict_from_files_sequential([scans], [mask])
"""


def run_nnunet(python: Path, jobs: list[Job], single: bool) -> None:
    """nnU-Net's predictor on all jobs, in a process of its environment."""
    told = [
        [str(job.model), [str(scan) for scan in job.scans], str(job.place / "nnunet"), job.mirror]
        for job in jobs
    ]
    folders = dict.fromkeys(("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"), tempfile.gettempdir())
    done = subprocess.run(
        [python, "-c", NNUNET], input=json.dumps([told, single]), env={**os.environ, **folders},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"nnU-Net failed\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")


def run_medseg(job: Job) -> Path:
    """The command line, ``medseg convert nnunet`` and ``medseg infer``."""
    model, masks = str(job.place / "model.safetensors"), job.place / "medseg"
    app(["convert", "nnunet", str(job.model), "-o", model], standalone_mode=False)
    given = job.scans[0] if len(job.scans) == 1 else job.scans[0].parent
    options = ["--precision", "fp32", *(["--mirror"] if job.mirror else [])]
    app(["infer", str(given), "--model", model, "-o", str(masks), *options], standalone_mode=False)
    return next(masks.rglob("*.nii.gz"))


def compare(theirs: Path, ours: Path) -> tuple[float, list[float]]:
    """Agreement over all voxels, and the Dice of each label."""
    a, b = read_volume(theirs), read_volume(ours)
    if a.geometry.displacement_mm(b.geometry) > 1e-3:
        sys.exit(f"{theirs} and {ours} are not on one grid")
    labels = sorted({*np.unique(a.array), *np.unique(b.array)} - {0})
    dice = [
        2 * np.sum((a.array == c) & (b.array == c)) / (np.sum(a.array == c) + np.sum(b.array == c))
        for c in labels
    ]
    return float(np.mean(a.array == b.array)), [float(value) for value in dice]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nnunet", type=Path, required=True, help="Python of an environment with nnunetv2")
    parser.add_argument("--model-folder", type=Path, help="a trained nnU-Net of yours")
    parser.add_argument("--scan", type=Path, nargs="+", help="one file a channel")
    parser.add_argument("--only", default="", help="settings whose name holds this")
    parser.add_argument("--steps", type=int, default=150, help="training steps of each small network")
    parser.add_argument("--single", action="store_true", help="let nnU-Net sum windows in single precision")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        if args.model_folder:
            jobs = [Job(args.model_folder.name, Path(folder), args.model_folder, args.scan, False)]
        else:
            chosen = [setting for setting in SETTINGS if args.only in setting.name]
            jobs = [make_job(s, Path(folder) / str(n), args.steps) for n, s in enumerate(chosen)]
        run_nnunet(args.nnunet, jobs, args.single)
        print(f"{'':44}agreement  Dice of each label")
        for job in jobs:
            agreement, dice = compare(job.place / "nnunet.nii.gz", run_medseg(job))
            told = "  ".join(f"{value:.4f}" for value in dice)
            print(f"{job.name:44}{agreement:9.5f}  {told}", flush=True)


def make_job(setting: Setting, place: Path, steps: int) -> Job:
    (place / "scan").mkdir(parents=True)
    make_model(setting, place / "model", steps)
    return Job(setting.name, place, place / "model", scan_files(setting, place / "scan"), setting.mirror)


if __name__ == "__main__":
    main()

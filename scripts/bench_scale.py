#!/usr/bin/env python
"""How time and memory of ``medseg infer`` grow with the scan and with the number of classes.

    python scripts/bench_scale.py OUT                       # every scan and model
    python scripts/bench_scale.py OUT --slices 250 500 --classes 25 --network unet

CTs of 512 x 512 x N voxels (int16, 0.8 x 0.8 x 1 mm) are made in a temporary folder: a body with organs and
noise in air, on a table. Each run is a process of its own; its memory is what the kernel counts (VmHWM),
its time and its prediction what ``--profile --json`` tells. OUT gets scale.json and scale.svg.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from medseg.config import parse_experiment
from medseg.io import write_volume
from medseg.modelfile import ModelFile, save_model
from medseg.models import build_network
from medseg.transforms import Fitted
from medseg.volume import Geometry, Volume

GIB = 2**30
NETWORKS: dict[str, dict[str, Any]] = {
    "tiny": {"channels": [4, 8, 16], "blocks": 1, "decoder_blocks": 1},
    "small": {"channels": [8, 16, 32], "blocks": 1},
    "unet": {"channels": [32, 64, 128, 256, 320]},
}
EVERYTHING_ELSE = ("reading", "preparing", "summing", "restoring", "postprocessing", "writing")


def write_ct(path: Path, slices: int) -> None:
    """An ellipse of soft tissue with lungs, bones and a noisy texture, made slice by slice."""
    random = np.random.default_rng(7)
    x, y = np.meshgrid(np.linspace(-1, 1, 512), np.linspace(-1, 1, 512), indexing="ij")
    noise = random.normal(0, 18, (16, 512, 512)).astype(np.int16)
    array = np.empty((512, 512, slices), dtype=np.int16, order="F")
    for k in range(slices):
        swell = 1 + 0.08 * np.sin(k / 60)
        body = (x / 0.78) ** 2 + (y / (0.52 * swell)) ** 2 < 1
        lungs = (((np.abs(x) - 0.36) / 0.25) ** 2 + (y / (0.3 * swell)) ** 2 < 1) & (k % 500 < 220)
        spine = (x / 0.09) ** 2 + ((y + 0.33) / 0.1) ** 2 < 1
        plane = np.full((512, 512), -1000, dtype=np.int16)
        plane[body], plane[lungs], plane[spine] = 40, -820, 420
        plane[:, 20:26] = np.maximum(plane[:, 20:26], -150)  # the table
        array[:, :, k] = plane + noise[k % 16] * body
    write_volume(Volume(array, Geometry(array.shape, np.diag([-0.8, -0.8, 1.0, 1.0]))), path)


def write_model(path: Path, classes: int, network: str, spacing_mm: float, average: str) -> None:
    """A U-Net with random weights that tells ``classes`` structures from the background.

    Its time and memory are those of a trained one of the same shape.
    """
    experiment = parse_experiment(
        {
            "name": "scale",
            "labels": {f"organ_{c}": c for c in range(1, classes + 1)},
            "data": {"cohort": "none"},
            "preprocessing": {"spacing_mm": [spacing_mm] * 3, "intensity": {"kind": "window"}},
            "sampling": {"patch_size": [96, 96, 96]},
            "model": {"kind": "unet", **NETWORKS[network]},
            "training": {"stop": {"epochs": 1}},
            "inference": {"average": average},
        },
        "scale",
    )
    torch.manual_seed(1)
    net = build_network(
        experiment.model, in_channels=1, classes=classes + 1, patch_size=experiment.sampling.patch_size
    )
    weights = net.state_dict()
    widths = list(reversed(NETWORKS[network]["channels"][:-1]))  # of the decoder's stages, the finest last
    # labels from coarse features alone, as large as organs: random ones would be a chequerboard, in which
    # every voxel lies at a border, as in no trained network's
    for stage, width in enumerate(widths):
        weights[f"decoder.{stage}.0.conv.weight"][:, width:] = 0
        up = weights[f"upsamples.{stage}.weight"]
        up[:] = up.mean((2, 3, 4), keepdim=True)
    fitted = Fitted((spacing_mm,) * 3).to_json()
    save_model(path, ModelFile(experiment, fitted, {}, weights))


def run(scan: Path, model: Path, options: list[str]) -> dict[str, Any]:
    """``medseg infer`` in a process of its own; its peak as the kernel counts it while it runs."""
    target = scan.with_name("mask.nii.gz")
    command = [sys.executable, "-m", "medseg", "infer", str(scan), "--model", str(model), "-o", str(target)]
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output:
        child = subprocess.Popen([*command, "--profile", "--json", *options], stdout=output)
        peak = 0
        while child.poll() is None:
            peak = max(peak, high_water(child.pid))
            time.sleep(0.05)
        output.seek(0)
        told = json.load(output)["profile"]
    if child.returncode:
        raise SystemExit(f"medseg infer ended with {child.returncode}")
    return {
        **told,
        "seconds_in_all": time.perf_counter() - began,
        "peak_bytes": max(peak, told["peak_rss_bytes"]),
    }


def high_water(pid: int) -> int:
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0


def describe(result: dict[str, Any]) -> str:
    seconds, peak, predicted = result["seconds"], result["peak_bytes"], result["predicted_bytes"]
    rest = sum(seconds[stage] for stage in EVERYTHING_ELSE)
    split = " ".join(f"{stage} {seconds[stage]:.1f}" for stage in ("network", *EVERYTHING_ELSE))
    return (
        f"512x512x{result['slices']:<5} {result['classes']:>4} classes {result['windows']:>5} windows  "
        f"peak {peak / GIB:.2f} GiB, predicted {predicted / GIB:.2f} ({predicted / peak - 1:+.0%})  "
        f"{result['elapsed_seconds']:.0f} s  all but the network: {rest / seconds['network']:.0%} of it  "
        f"[{split}]"
    )


def plot(results: list[dict[str, Any]], path: Path) -> None:
    """Seconds and peak memory against slices, a line for each number of classes."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    time_axes, memory_axes = figure.subplots(1, 2)
    for classes in sorted({result["classes"] for result in results}):
        some = sorted((r for r in results if r["classes"] == classes), key=lambda r: r["slices"])
        slices = [r["slices"] for r in some]
        time_axes.plot(slices, [r["elapsed_seconds"] for r in some], "o-", label=f"{classes} classes")
        memory_axes.plot(slices, [r["peak_bytes"] / GIB for r in some], "o-", label=f"{classes} classes")
        memory_axes.plot(slices, [r["predicted_bytes"] / GIB for r in some], "k:", linewidth=0.8)
    for axes, label in ((time_axes, "seconds"), (memory_axes, "peak GiB (dotted: predicted)")):
        axes.set(xlabel="slices of 512 x 512", ylabel=label, xlim=(0, None), ylim=(0, None))
        axes.legend(frameon=False)
    figure.savefig(path)


def linearity(results: list[dict[str, Any]]) -> str:
    """How far the time strays from a straight line over the sizes."""
    slices = np.array([result["slices"] for result in results], dtype=float)
    seconds = np.array([result["elapsed_seconds"] for result in results])
    fit = np.polyval(np.polyfit(slices, seconds, 1), slices)
    off = np.abs(seconds / fit - 1).max()
    return f"{seconds[-1] / slices[-1]:.3f} s a slice; off a straight line by up to {off:.0%}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--slices", type=int, nargs="+", default=[125, 250, 500, 1000])
    parser.add_argument("--classes", type=int, nargs="+", default=[5, 25, 104])
    parser.add_argument("--network", choices=NETWORKS, default="small")
    parser.add_argument("--spacing-mm", type=float, default=1.5)
    parser.add_argument("--average", choices=("probabilities", "logits"), default="probabilities")
    parser.add_argument("--options", default="", help="more options of medseg infer, as in '--engine torch'")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="bench-scale-") as name:
        folder = Path(name)
        for slices in args.slices:
            scan = folder / f"{slices}.nii.gz"
            write_ct(scan, slices)
            for classes in args.classes:
                model = folder / f"{classes}.safetensors"
                if not model.exists():
                    write_model(model, classes, args.network, args.spacing_mm, args.average)
                found = run(scan, model, args.options.split())
                results.append({"slices": slices, "classes": classes, **found})
                print(describe(results[-1]), flush=True)
                (args.out / "scale.json").write_text(json.dumps(results, indent=2))
            scan.unlink()
    for classes in args.classes:
        some = [result for result in results if result["classes"] == classes]
        if len(some) > 2:
            print(f"{classes} classes: {linearity(some)}")
    plot(results, args.out / "scale.svg")


if __name__ == "__main__":
    main()

"""What safety costs: reading and writing a CT and a mask with medseg against bare nibabel.

Bare nibabel reads without verifying the checksum of .nii.gz files and writes under the final name, neither
flushed nor read back. Both read and write the same 512x512x300 voxels, taking turns; medians are told.

    python scripts/bench_io.py [--runs 5] [--slices 300] [--folder DIR]
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import nibabel as nib
import numpy as np

import medseg.io.write as writing
from medseg.io import read_volume, write_volume
from medseg.volume import Geometry, Volume

Timer = Callable[[], object]


def ct_and_mask(slices: int) -> tuple[Volume, Volume]:
    """A body of soft tissue, fat, bone and lungs with the noise of a CT (int16), and 20 organs (uint8)."""
    random = np.random.default_rng(0)
    shape = (512, 512, slices)
    i, j, k = (np.linspace(-1, 1, n, dtype=np.float32) for n in shape)
    r = (i[:, None, None] / 0.85) ** 2 + (j[None, :, None] / 0.6) ** 2 + 0 * k
    image = np.full(shape, -1000, dtype=np.float32)
    for inside, value in ((1.0, -90), (0.85, 40)):
        image[r < inside] = value
    mask = np.zeros(shape, dtype=np.uint8)
    for organ in range(1, 21):
        centre, radius = random.uniform(-0.45, 0.45, 3), random.uniform(0.08, 0.22)
        ball = (i[:, None, None] - centre[0]) ** 2 + (j[None, :, None] - centre[1]) ** 2
        inside = ball + (k - centre[2]) ** 2 < radius**2
        mask[inside], image[inside] = organ, random.choice((-850, -20, 60, 120, 700))
    image += random.normal(0, 12, shape).astype(np.float32)
    affine = np.diag([-0.78, -0.78, 1.5, 1.0])
    affine[:3, 3] = (200, 180, -400)
    geometry = Geometry(shape, affine)
    scan = np.asfortranarray(image.clip(-1024, 3071).astype(np.int16))
    return Volume(scan, geometry), Volume(np.asfortranarray(mask), geometry)


def bare_read(path: Path) -> np.ndarray:
    return np.asanyarray(nib.load(path).dataobj)


def bare_write(volume: Volume, path: Path) -> None:
    nib.save(nib.Nifti1Image(volume.array, volume.geometry.affine), path)


def seconds(work: Timer) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


class Stages:
    """Seconds of the stages of ``write_volume``, by wrapping its functions."""

    def __init__(self) -> None:
        self.verifying: list[float] = []
        self.comparing: list[float] = []
        self._wrap("_verified", self.verifying)
        self._wrap("same_voxels", self.comparing)

    @staticmethod
    def _wrap(name: str, into: list[float]) -> None:
        real = getattr(writing, name)

        def timed(*arguments: object) -> object:
            began = time.perf_counter()
            try:
                return real(*arguments)
            finally:
                into.append(time.perf_counter() - began)

        setattr(writing, name, timed)


def measure(volume: Volume, folder: Path, runs: int) -> dict[str, list[float]]:
    """Seconds of each kind, taking turns. Each reads what it has written itself."""
    ours, bare = folder / "ours.nii.gz", folder / "bare.nii.gz"
    work: dict[str, Timer] = {
        "write medseg": lambda: write_volume(volume, ours),
        "write nibabel": lambda: bare_write(volume, bare),
        "read medseg": lambda: read_volume(bare),
        "read nibabel": lambda: bare_read(bare),
    }
    found: dict[str, list[float]] = {name: [] for name in work}
    for each in work.values():
        each()  # once unmeasured
    for run in range(runs):
        for name in work if run % 2 else reversed(work):
            found[name].append(seconds(work[name]))
    print(
        f"  file: {ours.stat().st_size / 1e6:.1f} MB by medseg, {bare.stat().st_size / 1e6:.1f} MB by nibabel"
    )
    return found


def tell(what: str, ours: list[float], bare: list[float]) -> None:
    ratios = sorted(a / b for a, b in zip(ours, bare, strict=True))
    print(
        f"  {what:5} medseg {median(ours):6.2f} s   nibabel {median(bare):6.2f} s   "
        f"ratio {median(ours) / median(bare):.2f} (runs {ratios[0]:.2f} to {ratios[-1]:.2f})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--folder", type=Path, help="where the files go; their disk is part of the result")
    options = parser.parse_args()
    scan, mask = ct_and_mask(options.slices)
    for name, volume in (("CT, int16", scan), ("mask, uint8", mask)):
        size = "x".join(str(n) for n in volume.array.shape)
        print(f"{name}, {size}, .nii.gz, {options.runs} runs each")
        stages = Stages() if name == "CT, int16" else stages
        stages.verifying.clear(), stages.comparing.clear()
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            found = measure(volume, Path(folder), options.runs)
        tell("read", found["read medseg"], found["read nibabel"])
        tell("write", found["write medseg"], found["write nibabel"])
        both = [
            [a + b for a, b in zip(found[f"read {who}"], found[f"write {who}"], strict=True)]
            for who in ("medseg", "nibabel")
        ]
        tell("both", *both)
        total = median(found["write medseg"])
        print(
            f"  of writing: {median(stages.verifying) / total:.0%} reading back, comparing and hashing; "
            f"{median(stages.comparing) / total:.1%} comparing alone"
        )


if __name__ == "__main__":
    main()

"""Patches of TorchIO: its own transforms behind its own queue.

    python patches_torchio.py SPEC.json

``"whole": false``: each patch is cut first and has draws of its own, as medseg's and nnU-Net's have;
true: as TorchIO's documentation does it, whole volumes are transformed and eight patches cut from each, which
share all draws.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torchio as tio
from torch.utils.data import DataLoader

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.clock import patches_a_second
from bench.patch_lists import LISTS, stock_transforms


class Cut(tio.Transform):  # type: ignore[misc]
    """A patch anywhere, cut by TorchIO's sampler."""

    def __init__(self, patch: tuple[int, int, int]) -> None:
        super().__init__()
        self.sampler = tio.UniformSampler(patch)

    def apply_transform(self, subject: tio.Subject) -> tio.Subject:
        return next(iter(self.sampler(subject, 1)))


def batches(spec: dict[str, Any]) -> Iterator[Any]:
    patch = tuple(spec["patch"])
    subjects = [
        tio.Subject(
            image=tio.ScalarImage(path),
            label=tio.LabelMap(path.with_name(path.name.replace("_image", "_label"))),
        )
        for path in sorted(Path(spec["nifti"]).glob("*_image.nii"))
    ]
    stock = stock_transforms(LISTS[spec["list"]])
    each = 8 if spec["whole"] else 1
    transform = tio.Compose(stock if spec["whole"] else [Cut(patch), *stock])
    queue = tio.Queue(
        tio.SubjectsDataset(subjects * 500, transform=transform),  # long epochs: workers begin anew with each
        max_length=2 * each,
        samples_per_volume=each,
        sampler=tio.UniformSampler(patch),
        num_workers=spec["workers"],
    )
    while True:
        yield from DataLoader(queue, batch_size=spec["batch"], drop_last=True, num_workers=0)


def main() -> None:
    spec = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    torch.set_num_threads(1)
    rate = patches_a_second(batches(spec), spec["batch"], spec["warm_up"], spec["seconds"])
    print(json.dumps({"patches_a_second": rate}))


if __name__ == "__main__":
    main()

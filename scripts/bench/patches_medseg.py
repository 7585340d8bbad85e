"""medseg's own patches: prepared cases in the cache, memory-mapped, augmented in processes.

    python patches_medseg.py SPEC.json

SPEC is what ``bench_data.py`` writes. The last line of standard output is JSON.
"""

import json
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.clock import patches_a_second
from bench.patch_lists import LISTS
from medseg.config import Experiment, parse_experiment
from medseg.data import PreparedCache, Split, find_cases
from medseg.training.batches import Batch, StepSampler, patch_batches
from medseg.training.dataset import PatchDataset
from medseg.training.prepare import open_prepared, prepare_cohort


def experiment(cohort: Path, patch: list[int], augmentation: list[dict[str, Any]], batch: int) -> Experiment:
    return parse_experiment(
        {
            "name": "bench",
            "labels": {f"organ_{value}": value for value in range(1, 5)},
            "data": {"cohort": str(cohort)},
            "preprocessing": {
                "spacing_mm": [1.5, 1.5, 1.5],
                "intensity": {"kind": "window", "center": 40, "width": 1000},
            },
            "augmentation": augmentation,
            "sampling": {"patch_size": patch, "foreground": 0.33},
            "model": {"kind": "unet", "spatial_dims": 3, "channels": [8, 16]},
            "training": {"stop": {"epochs": 1}, "batch_size": batch},
        },
        "bench",
    )


def write_prepared(cohort: Path, cache: Path, arrays: Path) -> None:
    """Into the cache, and as plain arrays for the other programs."""
    told = experiment(cohort, [32, 32, 32], [], 1)
    held = PreparedCache(cache)
    cases = find_cases(told.data, tuple(told.labels))
    arrays.mkdir(exist_ok=True)
    for case in prepare_cohort(told, Split(cases, (), ()), held).train:
        prepared = open_prepared(case, held)
        np.save(arrays / f"{case.id}_image.npy", prepared.image.numpy())
        np.save(arrays / f"{case.id}_label.npy", np.asarray(prepared.label))


def finished(dataset: PatchDataset, batch: Batch) -> Batch:
    """What a training step begins with; here on the CPU, by one thread."""
    if "left" in batch:
        batch["image"], batch["label"] = dataset.finish(batch["image"], batch["label"], batch["left"])
    return batch


def main() -> None:
    spec = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    torch.set_num_threads(1)
    told = experiment(Path(spec["cohort"]), spec["patch"], LISTS[spec["list"]], spec["batch"])
    cache = PreparedCache(Path(spec["cache"]))
    cohort = prepare_cohort(told, Split(find_cases(told.data, tuple(told.labels)), (), ()), cache)
    dataset = PatchDataset(told, cohort.train, cache, cohort.fitted.spacing_mm, augment_on=spec["augment_on"])
    sampler = StepSampler(spec["batch"])
    with closing(patch_batches(dataset, sampler, spec["workers"], pin=False)) as batches:
        whole = (finished(dataset, batch) for batch in batches)
        rate = patches_a_second(whole, spec["batch"], spec["warm_up"], spec["seconds"])
    print(json.dumps({"patches_a_second": rate}))


if __name__ == "__main__":
    main()

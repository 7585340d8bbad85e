"""What a training will find and cost, before it is paid."""

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric

from medseg.config import Experiment
from medseg.data import Case, find_cases, load_case, split_cases
from medseg.errors import Code, CohortError, MedsegError
from medseg.files import write_bytes_atomically
from medseg.training.objective import objective
from medseg.training.state import Learner
from medseg.training.train import build_fabric, build_learner
from medseg.transforms import Preprocessing, fit_preprocessing
from medseg.transforms.preview import augmentation_preview

Progress = Callable[[str, int, int], None]
_TIMED_STEPS = 3


@dataclass(frozen=True)
class Audit:
    """What was found, and the predicted cost on this machine."""

    name: str
    cases: int
    train: int
    validation: int
    test: int
    folds: int
    network: str
    parameters: int
    patch_size: tuple[int, int, int]
    seconds_per_step: float
    steps: int | None
    minutes: float
    """Of training, without validation."""
    peak_gib: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def audit(experiment: Experiment, progress: Progress | None = None) -> Audit:
    """Read every case, and time a few steps on random patches.

    Raises:
        CohortError: every case that cannot be used, one line each.
    """
    simulating = partial(progress, "simulating") if progress else None
    cases = find_cases(experiment.data, tuple(experiment.labels), progress=simulating)
    split = split_cases(cases, experiment.data)
    problems: list[str] = []
    seen: set[str] = set()
    for done, case in enumerate(cases, start=1):
        try:
            seen |= _structures_of(case, experiment)
        except MedsegError as error:
            problems += error.told
        if progress is not None:
            progress("reading", done, len(cases))
    problems += [
        f"{experiment.data.cohort}: no case shows {name}" for name in experiment.labels if name not in seen
    ]
    CohortError.raise_if(Code.COHORT_CASES, problems)
    fabric = build_fabric(experiment)
    learner = build_learner(fabric, experiment)
    seconds = time_step(fabric, learner, experiment)
    stop, config = experiment.training.stop, experiment.training
    per_epoch = config.steps_per_epoch or -(-len(split.train) // (config.batch_size * config.accumulate))
    steps = stop.epochs * per_epoch if stop.epochs else None
    minutes = [steps * seconds / 60] if steps else []
    return Audit(
        name=experiment.name,
        cases=len(cases),
        train=len(split.train),
        validation=len(split.validation),
        test=len(split.test),
        folds=experiment.data.folds,
        network=f"{experiment.model.spatial_dims}D {experiment.model.kind}",
        parameters=sum(parameter.numel() for parameter in learner.network.parameters()),
        patch_size=experiment.sampling.patch_size,
        seconds_per_step=seconds,
        steps=steps,
        minutes=min(minutes + ([stop.minutes] if stop.minutes else [])),
        peak_gib=_peak_gib(fabric),
    )


def time_step(fabric: Fabric, learner: Learner, experiment: Experiment) -> float:
    """Seconds of one optimiser step on random patches, the quickest of a few."""
    config = experiment.training
    shape = (config.batch_size, experiment.channel_count, *experiment.sampling.patch_size)
    image = fabric.to_device(torch.randn(shape)).contiguous(memory_format=torch.channels_last_3d)
    label = fabric.to_device(torch.zeros((shape[0], *shape[2:]), dtype=torch.uint8))
    known = fabric.to_device(torch.ones((shape[0], experiment.class_count), dtype=torch.bool))
    learner.network.train()
    times = []
    for _ in range(_TIMED_STEPS):
        start = time.perf_counter()
        for _ in range(config.accumulate):
            fabric.backward(objective(learner.network(image), label, known, config.loss))
        learner.optimizer.step()
        learner.optimizer.zero_grad(set_to_none=True)
        times.append(time.perf_counter() - start)
    return min(times)


def write_preview(experiment: Experiment, path: Path) -> None:
    """A picture of a training patch and what augmentation makes of it."""
    split = split_cases(find_cases(experiment.data, tuple(experiment.labels)), experiment.data)
    loaded = load_case(split.train[0], experiment.labels, experiment.data.missing_structures)
    fitted = fit_preprocessing(experiment.preprocessing, [loaded])
    prepared = Preprocessing(experiment.preprocessing, fitted)(loaded.images, loaded.label)
    write_bytes_atomically(path, augmentation_preview(prepared, experiment))


def _structures_of(case: Case, experiment: Experiment) -> set[str]:
    loaded = load_case(case, experiment.labels, experiment.data.missing_structures)
    if loaded.label is None:
        raise CohortError(
            Code.NO_LABEL,
            f"case {case.id}: no reference label, training needs one: add it, or remove the case",
        )
    present = set(np.flatnonzero(np.bincount(loaded.label.array.ravel())).tolist())
    return {name for index, name in enumerate(experiment.labels, start=1) if index in present}


def _peak_gib(fabric: Fabric) -> float:
    if fabric.device.type == "cuda":
        return torch.cuda.max_memory_allocated(fabric.device) / 2**30
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30

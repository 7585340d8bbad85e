"""What a training will cost, before it is paid."""

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medseg.config import Experiment
from medseg.data import default_cache, find_cases, load_case, split_cases
from medseg.files import write_bytes_atomically
from medseg.inference import plan_windows
from medseg.inference.device import choose_device, choose_precision
from medseg.inference.windows import window_starts
from medseg.planning.cost import LIBRARIES_CPU, network_cost, training_bytes
from medseg.processes import usable_cores
from medseg.training.cost import StepCost, patch_seconds
from medseg.training.survey import Survey
from medseg.training.train import choose_workers
from medseg.transforms import Preprocessing, fit_preprocessing
from medseg.transforms.preview import augmentation_preview
from medseg.volume import Shape

BYTES_A_VALUE = 4
"""Of a channel of a prepared case; its label takes a byte a voxel."""

WORKER_BYTES = 60 * 2**20
"""What a process that loads and augments has for itself, beside what it shares with the trainer."""

_READERS = 2.0
"""How much faster several threads prepare cases than one, where there are cores for them."""


@dataclass(frozen=True)
class Forecast:
    """The predicted cost on this machine. ``seconds_per_step`` and what follows from it
    are None where no step was timed."""

    name: str
    cases: int
    train: int
    validation: int
    test: int
    folds: int
    network: str
    parameters: int
    patch_size: tuple[int, int, int]
    device: str
    precision: str
    seconds_per_step: float | None
    """Of an optimiser step, with the augmentation that shares the cores."""
    waiting: float | None
    """Share of the time that the network will wait for data."""
    steps: int | None
    minutes: float | None
    """Of training and validation."""
    preparing_minutes: float
    """Of reading and preprocessing, the first time; later the cache serves."""
    peak_gib: float
    """RAM of the trainer and its workers."""
    vram_gib: float | None
    """Memory of the GPU, where one trains."""
    cache_gib: float
    """Disk for the prepared cases."""
    cache_free_gib: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def forecast(experiment: Experiment, found: Survey, measured: StepCost | None) -> Forecast:
    """What training on the surveyed cases takes; without a measured step no times are told."""
    seconds, waiting = _step_seconds(experiment, found, measured)
    steps, minutes = _length(experiment, found, seconds, measured)
    ram, vram = _memory(experiment, found, measured)
    split = found.split
    preparing = (len(split.train) + len(split.validation)) * (found.read_seconds + found.prepare_seconds)
    device = choose_device(experiment.training.device)
    return Forecast(
        name=experiment.name,
        cases=found.cases,
        train=len(split.train),
        validation=len(split.validation),
        test=len(split.test),
        folds=experiment.data.folds,
        network=f"{experiment.model.spatial_dims}D {experiment.model.kind}",
        parameters=network_cost(experiment).parameters,
        patch_size=experiment.sampling.patch_size,
        device=device.type,
        precision=choose_precision(experiment.training.precision, device),
        seconds_per_step=seconds,
        waiting=waiting,
        steps=steps,
        minutes=minutes,
        preparing_minutes=preparing / min(_READERS, usable_cores()) / 60,
        peak_gib=ram / 2**30,
        vram_gib=None if vram is None else vram / 2**30,
        cache_gib=_cache_bytes(experiment, found) / 2**30,
        cache_free_gib=_free_bytes(default_cache()) / 2**30,
    )


def _step_seconds(
    experiment: Experiment, found: Survey, measured: StepCost | None
) -> tuple[float | None, float | None]:
    """A step beside the processes that make its patches: they share the cores, or the network waits."""
    if measured is None:
        return None, None
    config = experiment.training
    samples = config.batch_size * config.accumulate
    patches = samples * patch_seconds(experiment, found.sample, found.spacing_mm)
    workers = choose_workers(config.workers)
    if workers == 0:
        total = measured.seconds + patches
        return total, patches / total
    threads = torch.get_num_threads() if choose_device(config.device).type == "cpu" else 1
    shared = (threads * measured.seconds + patches) / max(usable_cores(), threads)
    total = max(measured.seconds, shared, patches / workers)
    return total, max(0.0, 1 - max(measured.seconds, shared) / total)


def _length(
    experiment: Experiment, found: Survey, seconds: float | None, measured: StepCost | None
) -> tuple[int | None, float | None]:
    """Steps and minutes, validation included, until the first limit is reached."""
    config, train = experiment.training, len(found.split.train)
    per_epoch = config.steps_per_epoch or -(-train // (config.batch_size * config.accumulate))
    by_epochs = config.stop.epochs * per_epoch if config.stop.epochs else None
    if seconds is None or measured is None:
        return by_epochs, config.stop.minutes
    windows = sum(_windows(experiment, found.shapes[case.id]) for case in found.split.validation)
    interval = per_epoch * config.validate_every
    each = seconds + windows * measured.window_seconds / interval
    minutes = config.stop.minutes
    by_clock = None if minutes is None else max(1, int(60 * minutes / each))
    steps = min(n for n in (by_epochs, by_clock) if n is not None)
    validations = -(-steps // interval)
    return steps, (steps * seconds + validations * windows * measured.window_seconds) / 60


def _windows(experiment: Experiment, shape: Shape) -> int:
    """How many windows of a training patch's size a scan takes."""
    plan = plan_windows(experiment)
    count = 1
    for n, window, overlap in zip(shape, plan.size, plan.overlap, strict=True):
        count *= len(window_starts(n, window, overlap))
    mirrored = 2 ** len(plan.mirror_axes) if plan.mirror else 1
    larger = int(np.prod(plan.size)) / int(np.prod(experiment.sampling.patch_size))
    return int(np.ceil(count * mirrored * larger))


def _memory(experiment: Experiment, found: Survey, measured: StepCost | None) -> tuple[int, int | None]:
    """RAM of all processes, and memory of the GPU.

    Validation reuses what steps have freed, and adds the sums of a scan; a worker has its own patches.
    """
    device = choose_device(experiment.training.device).type
    precision = choose_precision(experiment.training.precision, choose_device(experiment.training.device))
    cost, config = network_cost(experiment), experiment.training
    trainer = measured.bytes if measured else training_bytes(cost, config.batch_size, precision, device)
    largest = max(int(np.prod(shape)) for shape in found.shapes.values())
    scan = largest * 4 * (experiment.channel_count + experiment.class_count)
    batch = 4 * config.batch_size * int(np.prod(experiment.sampling.patch_size)) * experiment.channel_count
    workers = choose_workers(config.workers) * (WORKER_BYTES + 8 * batch)
    if device == "cuda":
        return LIBRARIES_CPU + scan + workers, trainer
    return trainer + scan + workers, None


def _cache_bytes(experiment: Experiment, found: Survey) -> int:
    used = (*found.split.train, *found.split.validation)
    voxels = sum(int(np.prod(found.shapes[case.id])) for case in used)
    return voxels * (BYTES_A_VALUE * experiment.channel_count + 1)


def _free_bytes(folder: Path) -> int:
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def write_preview(experiment: Experiment, path: Path) -> None:
    """A picture of a training patch and what augmentation makes of it."""
    split = split_cases(find_cases(experiment.data, tuple(experiment.labels)), experiment.data)
    loaded = load_case(split.train[0], experiment.labels, experiment.data.missing_structures)
    fitted = fit_preprocessing(experiment.preprocessing, [loaded])
    prepared = Preprocessing(experiment.preprocessing, fitted)(loaded.images, loaded.label)
    write_bytes_atomically(path, augmentation_preview(prepared, experiment))

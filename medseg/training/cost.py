"""What training costs on this machine: a few steps on synthetic patches of the right shape, timed."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import numpy as np
import psutil
import torch
from lightning_fabric import Fabric

from medseg.config import Experiment
from medseg.inference.device import choose_device
from medseg.training.dataset import choose_augment_on
from medseg.training.objective import objective
from medseg.training.state import Learner
from medseg.training.train import build_fabric, build_learner
from medseg.transforms import ForegroundIndex, Prepared, sample_patch, single_thread
from medseg.transforms.augmentation import build_augmentation
from medseg.transforms.device import WorkerShare
from medseg.transforms.grid import Spacing

_STEPS = 4
_PATCHES = 24
_ENOUGH_SECONDS = 8.0


@dataclass(frozen=True)
class StepCost:
    """``seconds`` of an optimiser step, ``window_seconds`` of a window through the network at inference, and
    the ``bytes`` that the process takes (on a GPU: of its memory)."""

    seconds: float
    window_seconds: float
    bytes: int


def measure_step(experiment: Experiment) -> StepCost:
    """Train for a few steps, after one that warms up: about ``_ENOUGH_SECONDS`` at most, or three steps."""
    fabric = build_fabric(experiment)
    return measure_learner(fabric, build_learner(fabric, experiment), experiment)


def measure_learner(fabric: Fabric, learner: Learner, experiment: Experiment) -> StepCost:
    """As :func:`measure_step`, of a learner that is there; its weights are changed."""
    times: list[float] = []
    began = time.perf_counter()
    for _ in range(1 + _STEPS):
        times.append(_timed(fabric, lambda: _step(fabric, learner, experiment)))
        if len(times) > 2 and time.perf_counter() - began > _ENOUGH_SECONDS:
            break
    window = min(_timed(fabric, lambda: _window(fabric, learner, experiment)) for _ in range(2))
    return StepCost(median(times[1:]), window, _held(fabric))


def _step(fabric: Fabric, learner: Learner, experiment: Experiment) -> None:
    """As ``fit.train_step``, on random patches."""
    config = experiment.training
    shape = (config.batch_size, experiment.channel_count, *experiment.sampling.patch_size)
    learner.network.train()
    for _ in range(config.accumulate):
        image = fabric.to_device(torch.randn(shape)).contiguous(memory_format=torch.channels_last_3d)
        label = fabric.to_device(
            torch.randint(experiment.class_count, (shape[0], *shape[2:]), dtype=torch.uint8)
        )
        known = fabric.to_device(torch.ones((shape[0], experiment.class_count), dtype=torch.bool))
        fabric.backward(objective(learner.network(image), label, known, config.loss))
    if config.clip_norm is not None:
        fabric.clip_gradients(
            learner.network, learner.optimizer, max_norm=config.clip_norm, error_if_nonfinite=False
        )
    learner.optimizer.step()
    learner.optimizer.zero_grad(set_to_none=True)
    if learner.ema:
        learner.ema.update(learner.network, 0)


def _window(fabric: Fabric, learner: Learner, experiment: Experiment) -> None:
    network = learner.network.eval()
    shape = (1, experiment.channel_count, *experiment.sampling.patch_size)
    with torch.inference_mode():
        network(fabric.to_device(torch.randn(shape)).contiguous(memory_format=torch.channels_last_3d))


def _timed(fabric: Fabric, work: Callable[[], None]) -> float:
    if fabric.device.type == "cuda":
        torch.cuda.synchronize(fabric.device)
    start = time.perf_counter()
    work()
    if fabric.device.type == "cuda":
        torch.cuda.synchronize(fabric.device)
    return time.perf_counter() - start


def _held(fabric: Fabric) -> int:
    """Memory freed on a CPU stays with the process (``allocator``), so that what it has now is the most."""
    if fabric.device.type == "cuda":
        return torch.cuda.max_memory_reserved(fabric.device)
    return psutil.Process(os.getpid()).memory_info().rss


def patch_seconds(experiment: Experiment, prepared: Prepared, spacing_mm: Spacing) -> float:
    """Seconds of one core to cut a patch out of a prepared case and to augment it, the mean of a few.

    What CUDA does of the augmentation is left out; a CPU does all of it itself, whoever is told to.
    """
    if prepared.label is None:
        return 0.0
    size = experiment.sampling.patch_size
    augment = build_augmentation(experiment.augmentation, pairs=experiment.class_pairs, patch_size=size)
    device = choose_device(experiment.training.device)
    shared = device.type == "cuda" and choose_augment_on(experiment.training, device) == "device"
    begin = WorkerShare(augment) if shared else augment
    image, label = prepared.image.numpy(), prepared.label.numpy()
    index = ForegroundIndex.build(label)
    start = time.perf_counter()
    done = 0
    while done < _PATCHES and (done < 2 or time.perf_counter() - start < _ENOUGH_SECONDS):
        key = (0, 0, done)
        margin = augment.margin(spacing_mm, key)
        i, j, k = (n + 2 * m for n, m in zip(size, margin, strict=True))
        with single_thread():
            patch, classes = sample_patch(
                image,
                label,
                (i, j, k),
                foreground=experiment.sampling.foreground,
                index=index,
                rng=np.random.default_rng(key),
                margin=margin,
            )
            begin(patch, classes, spacing_mm, key=key)
        done += 1
    return (time.perf_counter() - start) / done

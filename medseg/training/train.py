"""From a configuration to a trained model in a run folder."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from medseg.config import Experiment
from medseg.data import PreparedCache, Split, find_cases, split_cases
from medseg.inference.device import choose_device, choose_precision, describe_device
from medseg.modelfile import ModelFile, save_model
from medseg.models import build_network
from medseg.training.allocator import keep_freed_memory
from medseg.training.dataset import PatchDataset
from medseg.training.ema import EMA
from medseg.training.fit import Job, build_optimizer, fit
from medseg.training.log import Listener, Plan, Silent
from medseg.training.prepare import PreparedCase, PreparedCohort, prepare_cohort
from medseg.training.run_folder import RunFolder, fingerprint, provenance
from medseg.training.schedule import Budget
from medseg.training.state import Learner, Progress

_FABRIC_PRECISION = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


@dataclass(frozen=True)
class Trained:
    """A finished training."""

    run: RunFolder
    split: Split
    progress: Progress


def train(
    experiment: Experiment,
    run: RunFolder,
    *,
    resume: bool = False,
    listener: Listener | None = None,
    command: str = "",
) -> Trained:
    """Train ``experiment`` into ``run``: model.safetensors, checkpoints, metrics, manifest.

    ``resume`` goes on from the last whole checkpoint, or starts where there is none yet.

    Raises:
        CohortError: cases that cannot be used, all of them.
        TrainingError: the loss is not finite.
        ModelFileError: no checkpoint is whole, or the configuration or the data changed since.
        EnvironmentProblem: another process trains into ``run``; the disk is full; a worker was killed.
        Interrupted: a signal came; go on with ``resume``.
    """
    with run.lock():
        run.require_usable(resume=resume)
        run.sweep()
        return _train(experiment, run, resume, listener or Silent(), command)


def _train(experiment: Experiment, run: RunFolder, resume: bool, listener: Listener, command: str) -> Trained:
    simulating = partial(listener.preparing, "simulating")
    cases = find_cases(experiment.data, tuple(experiment.labels), progress=simulating)
    split = split_cases(cases, experiment.data)
    cache = PreparedCache()
    cohort = prepare_cohort(experiment, split, cache, listener.preparing)
    mark = fingerprint(experiment, [case.key for case in (*cohort.train, *cohort.validation)])
    run.require_same(mark)
    origin = {**provenance(), "fingerprint": mark}
    record = {"command": command, **origin, "data": _cases_by_id(split, cohort)}
    run.write_manifest({**record, "finished": False})
    run.write_config(experiment)

    fabric = build_fabric(experiment)
    learner = build_learner(fabric, experiment)
    progress = (run.checkpoints.restore(learner, mark) if resume else None) or Progress()
    job = build_job(fabric, experiment, cohort, cache, run, {**origin, "data": _data_by_key(split, cohort)})
    listener.started(describe(job, split, learner, fabric, progress))
    progress = fit(fabric, job, learner, progress, listener)
    result = {"step": progress.step, "best_step": progress.best_step, "validation_dice": progress.best_dice}
    run.write_manifest({**record, "finished": True, "seconds": progress.seconds, "result": result})
    return Trained(run, split, progress)


def build_fabric(experiment: Experiment) -> Fabric:
    """Device and precision for training, by Lightning Fabric."""
    config = experiment.training
    device = choose_device(config.device)
    precision: Any = _FABRIC_PRECISION[choose_precision(config.precision, device)]
    torch.backends.cudnn.deterministic = True
    if device.type == "cpu":
        keep_freed_memory()
    return Fabric(accelerator="gpu" if device.type == "cuda" else device.type, devices=1, precision=precision)


def build_learner(fabric: Fabric, experiment: Experiment) -> Learner:
    """Network (its first weights drawn from ``training.seed``), optimiser and moving average."""
    config = experiment.training
    torch.manual_seed(config.seed)
    network: nn.Module = build_network(
        experiment.model,
        in_channels=experiment.channel_count,
        classes=experiment.class_count,
        patch_size=experiment.sampling.patch_size,
    )
    ema = EMA(network, config.ema) if config.ema else None
    wrapped, optimizer = fabric.setup(network, build_optimizer(config, network))
    if ema:
        ema.shadow.to(fabric.device)
    return Learner(wrapped, optimizer, ema)


def build_job(
    fabric: Fabric,
    experiment: Experiment,
    cohort: PreparedCohort,
    cache: PreparedCache,
    run: RunFolder,
    origin: dict[str, Any],
) -> Job:
    """``origin`` goes into the model file: how it came about, and nothing of a patient."""
    config = experiment.training
    per_epoch = config.batch_size * config.accumulate
    steps_per_epoch = config.steps_per_epoch or -(-len(cohort.train) // per_epoch)
    stop = config.stop
    budget = Budget(
        steps=stop.epochs * steps_per_epoch if stop.epochs else None,
        seconds=stop.minutes * 60 if stop.minutes else None,
    )

    def keep(network: nn.Module, progress: Progress) -> None:
        weights = {name: value.detach().cpu() for name, value in network.state_dict().items()}
        told = {**origin, "step": progress.step, "validation_dice": progress.best_dice}
        save_model(run.model, ModelFile(experiment, cohort.fitted.to_json(), told, weights))

    return Job(
        dataset=PatchDataset(experiment, cohort.train, cache, cohort.fitted.spacing_mm),
        validation=cohort.validation,
        cache=cache,
        run=run,
        budget=budget,
        steps_per_epoch=steps_per_epoch,
        workers=choose_workers(config.workers),
        pin_memory=fabric.device.type == "cuda",
        fingerprint=origin["fingerprint"],
        keep=keep,
    )


def choose_workers(wanted: int | str) -> int:
    """``auto``: one process a core but the one that trains, at most 8."""
    return int(wanted) if wanted != "auto" else min(8, max(1, (os.cpu_count() or 1) - 1))


def describe(job: Job, split: Split, learner: Learner, fabric: Fabric, progress: Progress) -> Plan:
    experiment = job.dataset.experiment
    return Plan(
        name=experiment.name,
        train_cases=len(split.train),
        validation_cases=len(split.validation),
        test_cases=len(split.test),
        fold=f"{experiment.data.fold} of {experiment.data.folds}",
        spacing_mm=job.dataset.spacing_mm,
        patch_size=experiment.sampling.patch_size,
        parameters=sum(parameter.numel() for parameter in learner.network.parameters()),
        device=describe_device(fabric.device),
        precision=choose_precision(experiment.training.precision, fabric.device),
        steps=job.budget.steps,
        seconds=job.budget.seconds,
        folder=job.run.path,
        first_step=progress.step,
    )


def _cases_by_id(split: Split, cohort: PreparedCohort) -> dict[str, Any]:
    """For the run's own manifest: which cases did what, and the hash of each one's content."""
    return {
        "train": {case.id: case.key for case in cohort.train},
        "validation": {case.id: case.key for case in cohort.validation},
        "test": [case.id for case in split.test],
    }


def _data_by_key(split: Split, cohort: PreparedCohort) -> dict[str, Any]:
    """For the model file, which is given away: ids are names of folders, and those may be names of people."""

    def told(cases: Sequence[PreparedCase]) -> dict[str, Any]:
        return {"cases": len(cases), "keys": sorted(case.key for case in cases)}

    return {
        "train": told(cohort.train),
        "validation": told(cohort.validation),
        "test": {"cases": len(split.test)},
    }

"""From a configuration to a trained model in a run folder."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from medseg.allocator import keep_freed_memory
from medseg.config import Experiment
from medseg.data import PreparedCache, Split, files_of_cases, find_cases, split_cases
from medseg.inference.device import choose_device, choose_precision, describe_device
from medseg.modelfile import ModelFile, save_model
from medseg.models import build_network
from medseg.processes import usable_cores
from medseg.training.compiling import compiled_where_it_pays
from medseg.training.dataset import PatchDataset, choose_augment_on
from medseg.training.ema import EMA
from medseg.training.environment import computing, environment, environment_lock, environment_mark
from medseg.training.first_weights import open_first_model, take_weights, tell_misfits
from medseg.training.fit import Job, fit, lost_patience
from medseg.training.log import Listener, Plan, Silent
from medseg.training.optimizer import build_optimizer, frozen_modules
from medseg.training.prepare import PreparedCase, PreparedCohort, prepare_cohort
from medseg.training.run_folder import RunFolder, fingerprint
from medseg.training.schedule import Budget
from medseg.training.state import Learner, Progress
from medseg.training.team import Team, start_team
from medseg.training.trust import add_review_rule

_FABRIC_PRECISION = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


@dataclass(frozen=True)
class Trained:
    """A finished training."""

    run: RunFolder
    split: Split
    progress: Progress
    note: str = ""
    """Where the clock ended it early."""


def train(
    experiment: Experiment,
    run: RunFolder,
    *,
    resume: bool = False,
    listener: Listener | None = None,
    command: str = "",
    team: Team | None = None,
    replay: Sequence[float] | None = None,
) -> Trained:
    """Train ``experiment`` into ``run``: model.safetensors, checkpoints, metrics, manifest.

    ``resume`` goes on from the last whole checkpoint, or starts where there is none yet. ``team``: processes
    that were started before; they are started here where it is unset and the configuration asks for several.

    Args:
        replay: learning rates of an earlier training, one a step: it is gone through again, step by step,
            whatever the clock and the stop rules of ``experiment`` say.

    Raises:
        CohortError: cases that cannot be used, all of them.
        TrainingError: the loss is not finite.
        ModelFileError: no checkpoint is whole, or the configuration or the data changed since.
        EnvironmentProblem: another process trains into ``run``; the disk is full; a worker was killed.
        Interrupted: a signal came; go on with ``resume``.
    """
    team = team or build_team(experiment)
    with run.lock() if team.leads else nullcontext():
        return _train(experiment, run, resume, listener or Silent(), command, team, replay)


def _train(
    experiment: Experiment,
    run: RunFolder,
    resume: bool,
    listener: Listener,
    command: str,
    team: Team,
    replay: Sequence[float] | None,
) -> Trained:
    simulating = partial(listener.preparing, "simulating")
    cache = PreparedCache()
    with team.together(), team.leader_first():
        if team.leads:
            run.require_usable(resume=resume)
            run.sweep()
        first = open_first_model(experiment)
        cases = find_cases(experiment.data, tuple(experiment.labels), progress=simulating)
        split = split_cases(cases, experiment.data)
        cohort = prepare_cohort(experiment, split, cache, listener.preparing)
        keys = [case.key for case in (*cohort.train, *cohort.validation)]
        mark = fingerprint(experiment, [*keys, first.mark()] if first else keys)
        run.require_same(mark)
        network = new_network(experiment)
        taken = take_weights(network, experiment, first) if first else None
        if first and team.leads:
            tell_misfits(experiment, first, cohort.fitted.spacing_mm)
        here = {**environment(), "computing": computing(experiment, team.size)}
        origin = {
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            **here,
            "seeds": {"training": experiment.training.seed, "data": experiment.data.seed},
            "fingerprint": mark,
            **({"first_weights": {**taken.to_json(), "sha256": first.mark()}} if taken and first else {}),
        }
        record = {"command": command, **origin, "data": _cases_by_id(split, cohort)}
        if team.leads:
            start = {"started": origin["started"], "command": command, "environment": environment_mark(here)}
            record["starts"] = [*run.starts(), start]
            run.write_manifest({**record, "finished": False})
            run.write_config(experiment)
            run.write_environment(environment_lock())
    learner = build_learner(team.fabric, experiment, network)  # all of them together: outside the block
    progress = (run.checkpoints.restore(learner, mark) if resume else None) or Progress()
    job = build_job(team, experiment, cohort, cache, run, {**origin, "data": _data_by_key(split, cohort)})
    if replay is not None:
        job = replace(job, budget=Budget.of_replay(replay))
    plan = describe(job, split, learner, progress)
    listener.started(replace(plan, first_weights=taken.line()) if taken else plan)
    progress = fit(job, learner, progress, listener)
    if team.leads:
        add_review_rule(run.model, cohort, cache, partial(listener.preparing, "calibrating"))
    result = {"step": progress.step, "best_step": progress.best_step, "validation_dice": progress.best_dice}
    if team.leads:
        run.write_manifest({**record, "finished": True, "seconds": progress.seconds, "result": result})
    return Trained(run, split, progress, cut_short(job, progress))


def build_team(experiment: Experiment) -> Team:
    """The processes that train, one a device (``training.devices``); they run when this returns."""
    config = experiment.training
    return _team(experiment, config.devices)


def build_fabric(experiment: Experiment) -> Fabric:
    """Device and precision for training in this process alone, by Lightning Fabric."""
    return _team(experiment, 1).fabric


def _team(experiment: Experiment, devices: int | str) -> Team:
    config = experiment.training
    device = choose_device(config.device)
    precision = _FABRIC_PRECISION[choose_precision(config.precision, device)]
    torch.backends.cudnn.deterministic = True
    if device.type == "cpu":
        keep_freed_memory()
    accelerator = "gpu" if device.type == "cuda" else device.type
    return start_team(accelerator, precision, devices, config.batch_size)


def new_network(experiment: Experiment) -> nn.Module:
    """Its first weights are drawn from ``training.seed``."""
    torch.manual_seed(experiment.training.seed)
    network: nn.Module = build_network(
        experiment.model,
        in_channels=experiment.channel_count,
        classes=experiment.class_count,
        patch_size=experiment.sampling.patch_size,
    )
    return network


def build_learner(fabric: Fabric, experiment: Experiment, network: nn.Module | None = None) -> Learner:
    """Network (unset: a new one), optimiser and moving average."""
    config = experiment.training
    network = network or new_network(experiment)
    ema = EMA(network, config.ema) if config.ema else None
    optimizer = build_optimizer(experiment, network)
    frozen = frozen_modules(experiment, network)
    compiled = compiled_where_it_pays(network, config.compile, fabric.device)
    wrapped, optimizer = fabric.setup(compiled, optimizer)
    if ema:
        ema.shadow.to(fabric.device)
    return Learner(wrapped, optimizer, ema, frozen)


def build_job(
    team: Team,
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
        team=team,
        dataset=PatchDataset(
            experiment,
            cohort.train,
            cache,
            cohort.fitted.spacing_mm,
            augment_on=choose_augment_on(config, team.fabric.device),
        ),
        validation=cohort.validation,
        cache=cache,
        run=run,
        budget=budget,
        steps_per_epoch=steps_per_epoch,
        workers=choose_workers(config.workers, team.size),
        pin_memory=team.fabric.device.type == "cuda",
        fingerprint=origin["fingerprint"],
        frozen_steps=config.freeze_epochs * steps_per_epoch if config.freeze_epochs else None,
        keep=keep,
    )


def cut_short(job: Job, progress: Progress) -> str:
    """What to tell of a training that the clock ended well before its steps were done."""
    budget = job.budget
    if (
        not budget.steps
        or not budget.seconds
        or progress.step >= 0.9 * budget.steps
        or lost_patience(job, progress)
    ):
        return ""
    return (
        f"its {budget.seconds / 60:.3g} minutes were over after {progress.step} of {budget.steps} steps: if "
        "the Dice falls short, give it more (--set training.stop.minutes=...)"
    )


def choose_workers(wanted: int | str, trainers: int = 1) -> int:
    """Of each trainer. ``auto``: together one process a core but those that train, at most 8 each."""
    return int(wanted) if wanted != "auto" else min(8, max(1, usable_cores() // trainers - 1))


def describe(job: Job, split: Split, learner: Learner, progress: Progress) -> Plan:
    experiment, fabric = job.dataset.experiment, job.team.fabric
    several = f"{job.team.size} x " if job.team.size > 1 else ""
    return Plan(
        name=experiment.name,
        train_cases=len(split.train),
        validation_cases=len(split.validation),
        test_cases=len(split.test),
        fold=f"{experiment.data.fold} of {experiment.data.folds}",
        spacing_mm=job.dataset.spacing_mm,
        patch_size=experiment.sampling.patch_size,
        parameters=sum(parameter.numel() for parameter in learner.network.parameters()),
        device=several + describe_device(fabric.device),
        precision=choose_precision(experiment.training.precision, fabric.device),
        steps=job.budget.steps,
        seconds=job.budget.seconds,
        folder=job.run.path,
        first_step=progress.step,
    )


def _cases_by_id(split: Split, cohort: PreparedCohort) -> dict[str, Any]:
    """For the run's own manifest: which cases did what, the key of each one's preparation, and its files."""
    return {
        "files": files_of_cases((*split.train, *split.validation, *split.test)),
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

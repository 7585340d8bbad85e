"""Training: the page that everyone reads."""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import assert_never

import torch
from lightning_fabric import Fabric
from torch import nn

from medseg.config.training import SGD, AdamW, TrainingConfig
from medseg.data import PreparedCache
from medseg.errors import Code, TrainingError
from medseg.training.batches import Batch, naming_dead_workers, patch_batches
from medseg.training.dataset import PatchDataset
from medseg.training.interrupt import Interrupted, StopSignals
from medseg.training.log import Listener, MetricsLog, Step, Validation
from medseg.training.objective import objective
from medseg.training.prepare import PreparedCase
from medseg.training.run_folder import RunFolder
from medseg.training.schedule import Budget, learning_rate
from medseg.training.state import Learner, Progress, seed_step
from medseg.training.validate import validate


@dataclass(frozen=True)
class Job:
    """What a training needs and does not change."""

    dataset: PatchDataset
    validation: Sequence[PreparedCase]
    cache: PreparedCache
    run: RunFolder
    budget: Budget
    steps_per_epoch: int
    workers: int
    pin_memory: bool
    fingerprint: str
    keep: Callable[[nn.Module, Progress], None]
    """Writes the best weights so far as the run's model file."""

    @property
    def config(self) -> TrainingConfig:
        return self.dataset.experiment.training

    @property
    def validation_interval(self) -> int:
        """Steps between validations."""
        return self.steps_per_epoch * self.config.validate_every

    def epoch(self, step: int) -> int:
        """Epoch that the last of ``step`` steps belonged to, from 0."""
        return (step - 1) // self.steps_per_epoch


def fit(fabric: Fabric, job: Job, learner: Learner, progress: Progress, listener: Listener) -> Progress:
    """Train until the budget is spent, patience is lost, or a signal comes; then validate and save.

    Raises:
        TrainingError: the loss is not finite.
        EnvironmentProblem: the disk is full, or a process that loads data was killed.
        Interrupted: a signal came; the checkpoint holds the step it came in.
    """
    clock = Clock(progress)
    log = MetricsLog(job.run.metrics, job.run.events, first_step=progress.step, first_byte=progress.log_bytes)
    listeners = (log, listener)
    steps = batches_of_steps(job, progress.step)
    with StopSignals() as signals, naming_dead_workers(), closing(log), closing(steps):
        try:
            while True:
                if validation_due(job, progress):
                    run_validation(job, learner, progress, clock, listeners, signals)
                    save(job, learner, progress, log)
                if job.budget.over(progress.step, clock.seconds) or lost_patience(job, progress):
                    break
                batches = clock.wait_for(steps)
                rate = learning_rate(job.config, job.budget.fraction(progress.step, clock.seconds))
                loss = train_step(fabric, job, learner, batches, rate, progress.step)
                progress.step, progress.seconds = progress.step + 1, clock.seconds
                tell_step(job, progress, loss, rate, clock.waiting, listeners)
                signals.check()
                if job.run.checkpoints.due(job.config.checkpoint_minutes):
                    save(job, learner, progress, log)
            if progress.validated_step < progress.step or progress.best_step < 0:
                run_validation(job, learner, progress, clock, listeners, signals)
                save(job, learner, progress, log)
        except Interrupted:
            save(job, learner, progress, log)
            raise
    return progress


def tell_step(
    job: Job, progress: Progress, loss: float, rate: float, waiting: float, listeners: Sequence[Listener]
) -> None:
    done = job.budget.fraction(progress.step, progress.seconds)
    step = Step(progress.step, job.epoch(progress.step), done, progress.seconds, loss, rate, waiting)
    for listener in listeners:
        listener.stepped(step)


def train_step(
    fabric: Fabric, job: Job, learner: Learner, batches: Sequence[Batch], rate: float, step: int
) -> float:
    """One update of the weights from ``batches`` whose gradients are averaged; returns the mean loss."""
    config = job.config
    seed_step(config.seed, step)
    learner.network.train()
    for group in learner.optimizer.param_groups:
        group["lr"] = rate
    total = 0.0
    for batch in batches:
        image = fabric.to_device(batch["image"]).contiguous(memory_format=torch.channels_last_3d)
        label, known = fabric.to_device(batch["label"]), fabric.to_device(batch["known"])
        loss = objective(learner.network(image), label, known, config.loss) / len(batches)
        value = float(loss.detach())
        if not torch.isfinite(loss):
            names = ", ".join(sorted({job.dataset.cases[c].id for c in batch["case"].tolist()}))
            raise TrainingError(
                Code.LOSS,
                f"epoch {job.epoch(step + 1)}, step {step}: the loss is {value} (cases {names}): "
                "lower training.learning_rate, use precision fp32, or look at these cases",
            )
        fabric.backward(loss)
        total += value
    if config.clip_norm is not None:
        fabric.clip_gradients(
            learner.network, learner.optimizer, max_norm=config.clip_norm, error_if_nonfinite=False
        )
    learner.optimizer.step()
    learner.optimizer.zero_grad(set_to_none=True)
    if learner.ema:
        learner.ema.update(learner.network, step)
    return total


def validation_due(job: Job, progress: Progress) -> bool:
    """Also after a resume, when the run was stopped before or in its validation."""
    return progress.step % job.validation_interval == 0 and progress.validated_step < progress.step


def run_validation(
    job: Job,
    learner: Learner,
    progress: Progress,
    clock: "Clock",
    listeners: Sequence[Listener],
    signals: StopSignals,
) -> None:
    """Score whole validation volumes, and keep the weights if they are the best.

    Raises:
        Interrupted: a signal came; nothing is changed, and the resumed run validates again.
    """
    dice = validate(learner.evaluated, job.dataset.experiment, job.validation, job.cache, signals.check)
    best = dice["mean"] > progress.best_dice
    if best:
        progress.best_dice, progress.best_step, progress.bad_validations = dice["mean"], progress.step, 0
    else:
        progress.bad_validations += 1
    progress.validated_step, progress.seconds = progress.step, clock.seconds
    validation = Validation(progress.step, job.epoch(progress.step), clock.seconds, dice, best)
    for listener in listeners:
        listener.validated(validation)
    if best:
        job.keep(learner.evaluated, progress)


def save(job: Job, learner: Learner, progress: Progress, log: MetricsLog) -> None:
    """The log reaches the disk before the checkpoint that knows its length."""
    progress.log_bytes = log.sync()
    job.run.checkpoints.write(learner, progress, job.fingerprint)


def batches_of_steps(job: Job, first_step: int) -> Generator[list[Batch], None, None]:
    """For each step from ``first_step`` on, the batches whose gradients it sums."""
    size, together = job.config.batch_size, job.config.accumulate
    pin = job.pin_memory
    with closing(patch_batches(job.dataset, size, first_step * together, job.workers, pin)) as batches:
        while True:
            yield [next(batches) for _ in range(together)]


def lost_patience(job: Job, progress: Progress) -> bool:
    patience = job.config.stop.patience
    return patience is not None and progress.bad_validations >= patience


class Clock:
    """Seconds of training over all starts, and the share of this start's that was spent waiting for data."""

    def __init__(self, progress: Progress) -> None:
        self._before = progress.seconds
        self._start = time.perf_counter()
        self._waited = 0.0

    @property
    def seconds(self) -> float:
        return self._before + time.perf_counter() - self._start

    @property
    def waiting(self) -> float:
        return self._waited / max(1e-9, time.perf_counter() - self._start)

    def wait_for(self, steps: Iterator[list[Batch]]) -> list[Batch]:
        start = time.perf_counter()
        batches = next(steps)
        self._waited += time.perf_counter() - start
        return batches


def build_optimizer(config: TrainingConfig, network: nn.Module) -> torch.optim.Optimizer:
    """AdamW (Loshchilov 2019) or SGD with Nesterov momentum."""
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    match config.optimizer:
        case AdamW(weight_decay=decay):
            return torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=decay, fused=True)
        case SGD(momentum=momentum, weight_decay=decay):
            return torch.optim.SGD(
                parameters,
                lr=config.learning_rate,
                momentum=momentum,
                nesterov=momentum > 0,
                weight_decay=decay,
            )
        case _:
            assert_never(config.optimizer)

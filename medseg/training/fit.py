"""Training: the page that everyone reads."""

import math
import signal
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from medseg.config.training import TrainingConfig
from medseg.data import PreparedCache
from medseg.errors import Code, TrainingError
from medseg.training.batches import Batch, StepSampler, naming_dead_workers, patch_batches
from medseg.training.dataset import PatchDataset
from medseg.training.interrupt import Interrupted, StopSignals
from medseg.training.log import Listener, MetricsLog, NoLog, Step, Validation
from medseg.training.objective import objective
from medseg.training.prepare import PreparedCase
from medseg.training.run_folder import RunFolder
from medseg.training.schedule import Budget, Clock
from medseg.training.state import Learner, Progress, seed_step
from medseg.training.team import Team, not_synchronised
from medseg.training.validate import validate


@dataclass(frozen=True)
class Job:
    """What a training needs and does not change."""

    team: Team
    dataset: PatchDataset
    validation: Sequence[PreparedCase]
    cache: PreparedCache
    run: RunFolder
    budget: Budget
    steps_per_epoch: int
    workers: int
    pin_memory: bool
    fingerprint: str
    frozen_steps: int | None
    """The frozen part learns after this many; None: never."""
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


def fit(job: Job, learner: Learner, progress: Progress, listener: Listener) -> Progress:
    """Train until the budget is spent, patience is lost, or a signal comes; then validate and save.

    Raises:
        TrainingError: the loss is not finite.
        EnvironmentProblem: the disk is full, or a process that loads data was killed.
        Interrupted: a signal came; the checkpoint holds the step it came in.
    """
    clock = Clock(progress.seconds)
    log = open_log(job, progress)
    listeners = (log, listener) if job.team.leads else ()
    steps = batches_of_steps(job, progress.step)
    with StopSignals() as signals, naming_dead_workers(), job.team.together(), closing(log), closing(steps):
        try:
            while True:
                if validation_due(job, progress):
                    run_validation(job, learner, progress, clock, listeners, signals)
                    save(job, learner, progress, log)
                if job.budget.over(progress.step, progress.seconds) or lost_patience(job, progress):
                    break
                batches = clock.wait_for(steps)
                rate = job.budget.rate(job.config, progress.step, progress.seconds)
                ours = train_step(job, learner, batches, rate, progress.step)
                due = job.run.checkpoints.due(job.config.checkpoint_minutes)
                loss, due = agree(job, progress, clock, float(ours), due, signals)
                require_finite(job, progress, loss, batches)
                progress.step += 1
                tell_step(job, progress, loss, rate, clock, listeners)
                signals.check()
                if due:
                    save(job, learner, progress, log)
            if progress.validated_step < progress.step or progress.best_step < 0:
                run_validation(job, learner, progress, clock, listeners, signals)
                save(job, learner, progress, log)
        except Interrupted:
            save(job, learner, progress, log)
            raise
    return progress


def agree(
    job: Job, progress: Progress, clock: Clock, loss: float, due: bool, signals: StopSignals
) -> tuple[float, bool]:
    """After a step, all processes go by the mean loss, the leader's clock, and a signal that came to any."""
    team, leads = job.team, job.team.leads
    mean, seconds, is_due, interrupted, terminated = team.sums(
        loss / team.size,
        clock.seconds if leads else 0.0,
        float(due and leads),
        float(signals.received == signal.SIGINT),
        float(signals.received == signal.SIGTERM),
    )
    progress.seconds = seconds
    if interrupted or terminated:
        signals.received = signal.SIGINT if interrupted else signal.SIGTERM
    return mean, bool(is_due)


def require_finite(job: Job, progress: Progress, loss: float, batches: Sequence[Batch]) -> None:
    """Looked at once a step, when all of it is under way on the device; such weights are never saved.

    Raises:
        TrainingError: the loss is not finite.
    """
    if math.isfinite(loss):
        return
    here = {case for batch in batches for case in batch["case"].tolist()}
    counts = job.team.sums(*(float(case in here) for case in range(len(job.dataset.cases))))
    names = ", ".join(sorted(case.id for case, count in zip(job.dataset.cases, counts, strict=True) if count))
    raise TrainingError(
        Code.LOSS,
        f"epoch {job.epoch(progress.step + 1)}, step {progress.step}: the loss is {loss} (cases {names}): "
        "lower training.learning_rate, use precision fp32, or look at these cases",
    )


def train_step(job: Job, learner: Learner, batches: Sequence[Batch], rate: float, step: int) -> Tensor:
    """One update of the weights from ``batches`` whose gradients are averaged; returns its loss here."""
    config, team, fabric = job.config, job.team, job.team.fabric
    seed_step(config.seed, step, fabric.global_rank)
    learner.begin_step(rate, frozen=job.frozen_steps is None or step < job.frozen_steps)
    total = torch.zeros((), device=fabric.device)
    for number, batch in enumerate(batches, start=1):
        image, label, known = on_device(job, batch)
        with not_synchronised(fabric, learner.network, last=number == len(batches)):
            loss = objective(learner.network(image), label, known, config.loss, team.total) / len(batches)
            fabric.backward(loss)
        total += loss.detach()
    if config.clip_norm is not None:
        fabric.clip_gradients(
            learner.network, learner.optimizer, max_norm=config.clip_norm, error_if_nonfinite=False
        )
    learner.optimizer.step()
    learner.optimizer.zero_grad(set_to_none=True)
    if learner.ema:
        learner.ema.update(learner.network, step)
    return total


def on_device(job: Job, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Image, label and known classes where the network is, with all of their augmentation done.

    What the workers left of it is part of the step: it is computing, and not waiting for data.
    """
    move = job.team.fabric.to_device
    image, label, known = move(batch["image"]), move(batch["label"]), move(batch["known"])
    if "left" in batch:
        image, label = job.dataset.finish(image, label, batch["left"])
    return image.contiguous(memory_format=torch.channels_last_3d), label, known


def validation_due(job: Job, progress: Progress) -> bool:
    """Also after a resume, when the run was stopped before or in its validation."""
    return progress.step % job.validation_interval == 0 and progress.validated_step < progress.step


def run_validation(
    job: Job,
    learner: Learner,
    progress: Progress,
    clock: Clock,
    listeners: Sequence[Listener],
    signals: StopSignals,
) -> None:
    """Score whole validation volumes, and keep the weights if they are the best.

    Raises:
        Interrupted: a signal came; nothing is changed, and the resumed run validates again.
    """
    team = job.team
    alone = signals.check if team.size == 1 else lambda: None  # together they stop after a step
    dice = validate(learner.evaluated, job.dataset.experiment, job.validation, job.cache, team, alone)
    best = dice["mean"] > progress.best_dice
    if best:
        progress.best_dice, progress.best_step, progress.bad_validations = dice["mean"], progress.step, 0
    else:
        progress.bad_validations += 1
    (seconds,) = team.sums(clock.seconds if team.leads else 0.0)
    progress.validated_step, progress.seconds = progress.step, seconds
    for listener in listeners:
        listener.validated(Validation(progress.step, job.epoch(progress.step), seconds, dice, best))
    if best and team.leads:
        job.keep(learner.evaluated, progress)


def tell_step(
    job: Job, progress: Progress, loss: float, rate: float, clock: Clock, listeners: Sequence[Listener]
) -> None:
    done = job.budget.fraction(progress.step, progress.seconds)
    pace = clock.stepped()
    step = Step(
        step=progress.step,
        epoch=job.epoch(progress.step),
        fraction=done,
        seconds=progress.seconds,
        loss=loss,
        learning_rate=rate,
        waiting=pace.waiting,
        steps_per_second=pace.steps_per_second,
    )
    for listener in listeners:
        listener.stepped(step)


def open_log(job: Job, progress: Progress) -> MetricsLog | NoLog:
    """The leader's; the others write nothing."""
    if not job.team.leads:
        return NoLog()
    return MetricsLog(
        job.run.metrics, job.run.events, first_step=progress.step, first_byte=progress.log_bytes
    )


def save(job: Job, learner: Learner, progress: Progress, log: MetricsLog | NoLog) -> None:
    """The log reaches the disk before the checkpoint that knows its length; the leader writes both."""
    if not job.team.leads:
        return
    progress.log_bytes = log.sync()
    job.run.checkpoints.write(learner, progress, job.fingerprint)


def batches_of_steps(job: Job, first_step: int) -> Generator[list[Batch], None, None]:
    """For each step from ``first_step`` on, the batches whose gradients it sums."""
    size, together = job.config.batch_size, job.config.accumulate
    sampler = StepSampler(size, first_step * together, job.team.share)
    with closing(patch_batches(job.dataset, sampler, job.workers, job.pin_memory)) as batches:
        while True:
            yield [next(batches) for _ in range(together)]


def lost_patience(job: Job, progress: Progress) -> bool:
    """A training that is gone through again ends where the first one did."""
    patience = None if job.budget.replayed else job.config.stop.patience
    return patience is not None and progress.bad_validations >= patience

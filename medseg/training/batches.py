"""Batches of patches, made by processes that need no shared memory and never outlive the trainer."""

import logging
import os
import signal
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NotRequired, TypedDict

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64, UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from medseg.allocator import keep_freed_memory
from medseg.errors import Code, EnvironmentProblem, MedsegError
from medseg.processes import end_with
from medseg.training.dataset import PatchDataset, Sample
from medseg.transforms.device import Left, put_together

log = logging.getLogger(__name__)


Share = Callable[[Sequence[int]], list[int]]


class Batch(TypedDict):
    image: Float32[Tensor, "B C i j k"]
    label: UInt8[Tensor, "B i j k"]
    known: Bool[Tensor, "B L"]
    case: Int64[Tensor, "B"]
    left: NotRequired[Left]
    """What is still to be done to the patches, where the workers did not do all: they have a margin, and are
    padded to the largest of the batch."""


@dataclass(frozen=True)
class Packed:
    """A batch on its way to the trainer.

    Arrays go through a pipe; tensors would go through /dev/shm, which is small in containers, and a process
    that finds it full is killed by a bus error.
    """

    image: np.ndarray
    label: np.ndarray
    known: np.ndarray
    case: np.ndarray
    left: Left | None = None

    def tensors(self) -> Batch:
        batch = Batch(
            image=torch.from_numpy(self.image),
            label=torch.from_numpy(self.label),
            known=torch.from_numpy(self.known),
            case=torch.from_numpy(self.case),
        )
        if self.left is not None:
            batch["left"] = self.left
        return batch

    def pin_memory(self) -> Batch:
        """Called by the DataLoader, in a thread of its own."""
        batch = self.tensors()
        batch["image"] = batch["image"].pin_memory()
        batch["label"] = batch["label"].pin_memory()
        batch["known"] = batch["known"].pin_memory()
        return batch


@dataclass
class PatchBatches:
    """The dataset as the DataLoader takes it: a list of sample numbers in, a packed batch out."""

    dataset: PatchDataset

    def __getitem__(self, numbers: Sequence[int]) -> "Packed | MedsegError":
        """An error is returned, not raised: the DataLoader would rebuild it from its text alone."""
        try:
            samples: list[Sample] = [self.dataset[number] for number in numbers]
        except MedsegError as error:
            return error
        left = None
        if self.dataset.augment_on == "device":
            left = Left.of([sample["label"].shape for sample in samples], [one["left"] for one in samples])
        return Packed(
            image=put_together([sample["image"] for sample in samples]),
            label=put_together([sample["label"] for sample in samples]),
            known=np.stack([sample["known"] for sample in samples]),
            case=np.array([sample["case"] for sample in samples]),
            left=left,
        )


@dataclass
class StepSampler(Sampler[list[int]]):
    """Batches of sample numbers from a step on, without end; sample numbers depend on the step alone."""

    batch_size: int
    first_step: int = 0
    share: Share = list
    """The part of a batch that this process trains on."""

    def __iter__(self) -> Iterator[list[int]]:
        step = self.first_step
        while True:
            yield self.share(range(step * self.batch_size, (step + 1) * self.batch_size))
            step += 1


def patch_batches(
    dataset: PatchDataset, sampler: StepSampler, workers: int, pin: bool
) -> Generator[Batch, None, None]:
    """Batches of ``sampler``, the same ones for any number of workers; closing ends the workers.

    Raises:
        MedsegError: what went wrong in a worker.
    """
    batches = _load(dataset, sampler, workers, pin)
    try:
        while True:
            found = next(batches)
            if isinstance(found, MedsegError):
                raise found
            yield found.tensors() if isinstance(found, Packed) else found
    finally:
        _end_workers(batches)


@contextmanager
def naming_dead_workers() -> Iterator[None]:
    """The DataLoader tells of a killed worker wherever the trainer is at that moment.

    Raises:
        EnvironmentProblem: a worker was killed.
    """
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise EnvironmentProblem(
            Code.MEMORY,
            "a process that loads training data was killed, most likely for lack of memory: "
            "lower training.workers or training.batch_size, then go on with --resume",
        ) from error


def _end_workers(batches: Any) -> None:
    """Now, not when the iterator is forgotten: a traceback may hold it, and workers do not heed TERM.

    Python would wait for them at its end, for ever.
    """
    if hasattr(batches, "_shutdown_workers"):  # not where the trainer itself loads
        batches._shutdown_workers()
        for worker in batches._workers:
            if worker.is_alive():
                worker.kill()


def _load(dataset: PatchDataset, sampler: StepSampler, workers: int, pin: bool) -> Iterator[Any]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This DataLoader will create")  # more workers than cores: as asked
        loader: DataLoader[Any] = DataLoader(
            PatchBatches(dataset),  # type: ignore[arg-type]  # asked for by lists, as a batch sampler does
            sampler=sampler,
            batch_size=None,
            num_workers=workers,
            prefetch_factor=4 if workers else None,
            pin_memory=pin,
            collate_fn=_as_it_is,
            worker_init_fn=partial(_serve, os.getpid()),
        )
        try:
            return iter(loader)
        except OSError as error:
            if not workers:
                raise
            log.warning(
                "no processes can be started to load training data (%s): the trainer loads it itself", error
            )
    return _load(dataset, sampler, 0, pin)


def _as_it_is(batch: Any) -> Any:
    return batch


def _serve(trainer: int, _worker: int) -> None:
    """What a worker does first: leave signals to the trainer, and see to it that it dies with it.

    Ctrl-C and a cluster's TERM reach every process; workers go on until the step in hand is saved. A trainer
    that is killed would leave its workers writing into a pipe that nobody reads, for ever.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    end_with(trainer)
    keep_freed_memory()  # patches come and go

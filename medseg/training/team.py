"""The processes that train one network together, each on a device of its own, by Lightning Fabric.

The first of them leads: it alone writes, shows and reports. Each takes its share of every batch, so that the
batches together are those of one process, and sums that a loss takes over the batch are taken over all.
"""

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from typing import Any

import torch
import torch.distributed
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor
from torch.distributed.nn.functional import all_reduce

from medseg.errors import Code, EnvironmentProblem, UsageError

_PATIENCE = timedelta(days=7)
"""The others wait while the leader preprocesses a cohort."""


class Left(BaseException):
    """The leader, or another process, stopped; it has told why."""


class Team:
    """Fabric, and what the processes say to each other. Started, it has all of them running."""

    def __init__(self, fabric: Fabric) -> None:
        self.fabric = fabric

    @property
    def size(self) -> int:
        return self.fabric.world_size

    @property
    def leads(self) -> bool:
        return self.fabric.global_rank == 0

    def share(self, numbers: Sequence[int]) -> list[int]:
        """This process's part of the sample numbers of a batch."""
        part = len(numbers) // self.size
        first = self.fabric.global_rank * part
        return list(numbers[first : first + part])

    def total(self, values: Tensor) -> Tensor:
        """Sum over processes; gradients go back to all of them."""
        if self.size == 1:
            return values
        summed: Tensor = all_reduce(values)  # type: ignore[no-untyped-call]
        return summed

    def sums(self, *values: float) -> list[float]:
        """Sum of each number over processes, the same everywhere."""
        if self.size == 1:
            return list(values)
        table = torch.tensor(values, dtype=torch.float64, device=self.fabric.device)
        torch.distributed.all_reduce(table)
        return [float(value) for value in table.tolist()]

    def of_leader(self, value: Any) -> Any:
        """What the leader gives."""
        return value if self.size == 1 else self.fabric.broadcast(value)

    @contextmanager
    def leader_first(self) -> Iterator[None]:
        """The leader goes through the block, then the others.

        Raises:
            Left: the leader failed.
        """
        if not self.leads:
            if not self.of_leader(None):
                raise Left
            yield
            return
        went = False
        try:
            yield
            went = True
        finally:
            self.of_leader(went)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Where the processes talk: one that is gone is told of.

        Raises:
            EnvironmentProblem: another process ended, told by the leader.
            Left: the same, elsewhere.
        """
        try:
            yield
        except RuntimeError as error:
            if self.size == 1 or not any(name in str(error) for name in ("Gloo", "gloo", "NCCL", "nccl")):
                raise
            if not self.leads:
                raise Left from None
            raise EnvironmentProblem(
                Code.MEMORY,
                f"one of the {self.size} processes that train together ended, most likely for lack of "
                "memory: lower training.devices or training.batch_size, then go on with --resume",
            ) from error


def start_team(accelerator: str, precision: Any, wanted: int | str, batch_size: int) -> Team:
    """Fabric with its devices; where they are several, their processes run when this returns.

    Under torchrun, and in a SLURM step of several tasks, the processes are there already.

    Raises:
        UsageError: more devices are asked for than there are.
    """
    count = choose_devices(accelerator, wanted, batch_size)
    strategy = DDPStrategy(timeout=_PATIENCE) if count > 1 else "auto"
    fabric = Fabric(
        accelerator=accelerator,
        devices=count,
        strategy=strategy,
        precision=precision,
        plugins=None if _started_outside() else LightningEnvironment(),
    )
    if count > 1:
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it tells of every process it starts
        warnings.filterwarnings("ignore", "Grad strides do not match")  # of 1x1 weights: a few numbers
        fabric.launch()
    return Team(fabric)


def _started_outside() -> bool:
    """Unasked, Fabric takes a SLURM job for one of several tasks, and warns where ``srun`` is installed."""
    return TorchElasticEnvironment.detect() or int(os.environ.get("SLURM_NTASKS", "1")) > 1


def choose_devices(accelerator: str, wanted: int | str, batch_size: int) -> int:
    """How many processes; ``auto``: the most CUDA devices that divide the batch."""
    there = torch.cuda.device_count() if accelerator == "gpu" else 1
    if wanted == "auto":
        return next(n for n in range(max(1, there), 0, -1) if batch_size % n == 0)
    if accelerator == "gpu" and int(wanted) > there:
        raise UsageError(
            Code.OPTION,
            f"training.devices: {wanted}, but {there} CUDA devices are there: give {there} or fewer",
        )
    if accelerator == "mps" and int(wanted) > 1:
        raise UsageError(Code.OPTION, "training.devices: Apple's MPS is one device: give 1")
    return int(wanted)


def not_synchronised(fabric: Fabric, network: Any, *, last: bool) -> Any:
    """Gradients of a step are averaged over processes once, with its last batch."""
    return nullcontext() if last or fabric.world_size == 1 else fabric.no_backward_sync(network)

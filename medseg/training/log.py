"""What is told while training: to whoever listens, to metrics.jsonl, and to TensorBoard."""

import json
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from medseg.files import cannot_write

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """What a training found before it starts."""

    name: str
    train_cases: int
    validation_cases: int
    test_cases: int
    fold: str
    spacing_mm: tuple[float, float, float]
    patch_size: tuple[int, int, int]
    parameters: int
    device: str
    precision: str
    steps: int | None
    seconds: float | None
    folder: Path
    first_step: int = 0
    """Above 0 when a training goes on."""
    first_weights: str = ""
    """Where they come from, when not drawn."""


@dataclass(frozen=True)
class Step:
    step: int
    epoch: int
    fraction: float
    """Share of the training that is done."""
    seconds: float
    loss: float
    learning_rate: float
    waiting: float
    """Share of the time of recent steps that was spent waiting for data."""
    steps_per_second: float
    """Of recent steps, without validations."""


@dataclass(frozen=True)
class Validation:
    step: int
    epoch: int
    seconds: float
    dice: dict[str, float]
    """``mean`` and each structure."""
    best: bool


@runtime_checkable
class Listener(Protocol):
    """Shows a training to a person."""

    def preparing(self, what: str, done: int, total: int) -> None: ...
    def started(self, plan: Plan) -> None: ...
    def stepped(self, step: Step) -> None: ...
    def validated(self, validation: Validation) -> None: ...


class Silent:
    """A listener for scripts and tests."""

    def preparing(self, what: str, done: int, total: int) -> None:
        """Nothing is shown."""

    def started(self, plan: Plan) -> None:
        """Nothing is shown."""

    def stepped(self, step: Step) -> None:
        """Nothing is shown."""

    def validated(self, validation: Validation) -> None:
        """Nothing is shown."""


class NoLog(Silent):
    """Of a process that does not lead."""

    def sync(self) -> int:
        return 0

    def close(self) -> None:
        """Nothing is open."""


class MetricsLog(Silent):
    """metrics.jsonl (one row a step and one a validation) and TensorBoard events.

    Wall-clock figures stand under ``seconds``, ``waiting`` and ``steps_per_second`` alone; all else repeats
    bit for bit.
    """

    def __init__(self, metrics: Path, events: Path, *, first_step: int = 0, first_byte: int = 0) -> None:
        """Args: first_byte: length of the log when the checkpoint was written; what came later is cut off."""
        self._metrics, self._folder = metrics, events
        with _writing(metrics):
            metrics.parent.mkdir(parents=True, exist_ok=True)
            self._file = metrics.open("ab", buffering=0)
            if self._file.tell() < first_byte:
                log.warning("%s: rows before step %d are missing", metrics, first_step)
            else:
                self._file.truncate(first_byte)
        with warnings.catch_warnings(), _writing(events):
            warnings.simplefilter("ignore")  # TensorBoard's own imports
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - heavy

            self._events = SummaryWriter(str(events), purge_step=first_step + 1)

    def stepped(self, step: Step) -> None:
        row = asdict(step)
        row.pop("fraction")
        scalars = {"train/loss": step.loss, "train/learning_rate": step.learning_rate}
        self._write(row, scalars, step.step)

    def validated(self, validation: Validation) -> None:
        row: dict[str, Any] = {
            "step": validation.step,
            "epoch": validation.epoch,
            "seconds": validation.seconds,
        }
        for name, dice in validation.dice.items():
            row["validation_dice" if name == "mean" else f"validation_dice/{name}"] = dice
        scalars = {f"validation/dice_{name}": dice for name, dice in validation.dice.items()}
        self._write(row, scalars, validation.step)

    def sync(self) -> int:
        """All rows are on the disk when this returns; the length of metrics.jsonl."""
        with _writing(self._metrics):
            os.fsync(self._file.fileno())
            length = self._file.seek(0, os.SEEK_END)
        with _writing(self._folder):
            self._events.flush()
        return length

    def close(self) -> None:
        self._file.close()
        with _writing(self._folder):
            self._events.close()

    def _write(self, row: dict[str, Any], scalars: Mapping[str, float], step: int) -> None:
        with _writing(self._metrics):
            line = (json.dumps(row) + "\n").encode()
            while line:
                line = line[self._file.write(line) :]
        with _writing(self._folder):
            for name, value in scalars.items():
                self._events.add_scalar(name, value, step)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise cannot_write(path, error) from None

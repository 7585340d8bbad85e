"""What is told while training: to whoever listens, to metrics.jsonl, and to TensorBoard."""

import json
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from medseg.files import write_text_atomically


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
    """Share of the time since the start that was spent waiting for data."""


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


class MetricsLog(Silent):
    """metrics.jsonl (one row a step and one a validation) and TensorBoard events.

    Wall-clock figures stand under ``seconds`` and ``waiting`` alone; all else repeats bit for bit.
    """

    def __init__(self, metrics: Path, events: Path, *, first_step: int) -> None:
        _drop_rows_after(metrics, first_step)
        metrics.parent.mkdir(parents=True, exist_ok=True)
        self._file = metrics.open("a", encoding="utf-8")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TensorBoard's own imports
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - heavy

            self._events = SummaryWriter(str(events), purge_step=first_step or None)

    def stepped(self, step: Step) -> None:
        row = asdict(step)
        row.pop("fraction")
        self._write(row)
        self._events.add_scalar("train/loss", step.loss, step.step)
        self._events.add_scalar("train/learning_rate", step.learning_rate, step.step)

    def validated(self, validation: Validation) -> None:
        row: dict[str, Any] = {
            "step": validation.step,
            "epoch": validation.epoch,
            "seconds": validation.seconds,
        }
        for name, dice in validation.dice.items():
            key = "validation_dice" if name == "mean" else f"validation_dice/{name}"
            row[key] = dice
            self._events.add_scalar(f"validation/dice_{name}", dice, validation.step)
        self._write(row)

    def close(self) -> None:
        self._file.close()
        self._events.close()

    def _write(self, row: dict[str, Any]) -> None:
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()


def _drop_rows_after(metrics: Path, step: int) -> None:
    """A resumed run repeats the steps after its checkpoint, so their old rows go."""
    if not metrics.is_file():
        return
    kept = []
    for line in metrics.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            break
        if row.get("step", 0) <= step:
            kept.append(line)
    write_text_atomically(metrics, "".join(f"{line}\n" for line in kept))

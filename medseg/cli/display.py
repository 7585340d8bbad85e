"""What a person sees while something long runs: bars with an ETA in a terminal, plain lines in a log."""

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from medseg.training import Plan, Step, Validation

_SECONDS_BETWEEN_LINES = 30


class Bars:
    """Progress bars on standard error; where that is no terminal, a line every half minute."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False)
        self._live = self.console.is_terminal
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[told]}"),
            console=self.console,
            disable=not self._live,
        )
        self._tasks: dict[str, TaskID] = {}
        self._started: dict[str, tuple[float, float]] = {}
        self._last_line = 0.0

    def __enter__(self) -> "Bars":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._progress.stop()

    def line(self, text: str) -> None:
        self._progress.console.print(text, markup=False, soft_wrap=True)

    def show(self, what: str, done: float, total: float, told: str = "") -> None:
        """Move the bar named ``what``; it appears with its first call."""
        if not self._live:
            self._plain(what, done, total, told)
            return
        if what not in self._tasks:
            self._tasks[what] = self._progress.add_task(what, total=total, told=told)
        self._progress.update(self._tasks[what], completed=done, total=total, told=told)

    def _plain(self, what: str, done: float, total: float, told: str) -> None:
        now = time.monotonic()
        share = done / max(total, 1e-9)
        since, before = self._started.setdefault(what, (now, share))
        if done < total and now - self._last_line < _SECONDS_BETWEEN_LINES:
            return
        self._last_line = now
        left = (now - since) * (1 - share) / (share - before) if share > before else 0.0
        eta = f", {left / 60:.1f} min left" if left > 0 else ""
        sys.stderr.write(f"{what} {100 * share:.0f}%{eta}  {told}".rstrip() + "\n")
        sys.stderr.flush()


class TrainingDisplay:
    """Listens to a training and moves the bars."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._dice = ""

    def preparing(self, what: str, done: int, total: int) -> None:
        self._bars.show(what, done, total, f"{done} of {total} cases")

    def started(self, plan: "Plan") -> None:
        patch = "x".join(str(n) for n in plan.patch_size)
        spacing = "x".join(f"{s:.3g}" for s in plan.spacing_mm)
        if plan.steps and plan.seconds:
            length = f"{plan.steps} steps or {plan.seconds / 60:.3g} min"
        else:
            length = f"{plan.steps} steps" if plan.steps else f"{(plan.seconds or 0) / 60:.3g} min"
        self._bars.line(
            f"{plan.name}: {plan.train_cases} cases to train, {plan.validation_cases} to validate "
            f"(fold {plan.fold}), {plan.test_cases} held out\n"
            f"network of {plan.parameters / 1e6:.2f} M parameters, patch {patch} at {spacing} mm, "
            f"{plan.device}, {plan.precision}; {length}\n"
            f"into {plan.folder}"
            + (f", going on from step {plan.first_step}" if plan.first_step else "")
            + (f"\n{plan.first_weights}" if plan.first_weights else "")
        )

    def stepped(self, step: "Step") -> None:
        pace = f"{step.steps_per_second:.2f} steps/s, waiting for data {100 * step.waiting:.0f}%"
        told = f"epoch {step.epoch}, loss {step.loss:.3f}{self._dice}, {pace}"
        self._bars.show("training", step.fraction, 1.0, told)

    def validated(self, validation: "Validation") -> None:
        mean = validation.dice["mean"]
        each = ", ".join(f"{name} {dice:.3f}" for name, dice in validation.dice.items() if name != "mean")
        self._dice = f", Dice {mean:.3f}"
        best = "  best so far" if validation.best else ""
        self._bars.line(f"epoch {validation.epoch}: validation Dice {mean:.3f} ({each}){best}")

    def reporting(self, case: str, done: int, total: int) -> None:
        self._bars.show("scoring", done, total, case)

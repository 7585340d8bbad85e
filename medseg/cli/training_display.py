"""What a person sees of a training: a live table of its validations above a bar, or plain lines in a log."""

from collections import deque
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from medseg.cli.display import Bars, duration

if TYPE_CHECKING:
    from medseg.training import Plan, Step, Validation

_ROWS, _MOST_STRUCTURES = 8, 6


class TrainingDisplay:
    """Listens to a training; the table and the bar in a terminal, lines elsewhere."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._losses: list[float] = []
        self._rows: deque[tuple[Validation, float | None]] = deque(maxlen=_ROWS)
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
        self._losses.append(step.loss)
        pace = f"{step.steps_per_second:.2f} steps/s, waiting for data {100 * step.waiting:.0f}%"
        told = f"epoch {step.epoch}, loss {step.loss:.3f}{self._dice}, {pace}"
        self._bars.show("training", step.fraction, 1.0, told)

    def validated(self, validation: "Validation") -> None:
        mean = validation.dice["mean"]
        loss = sum(self._losses) / len(self._losses) if self._losses else None
        self._losses.clear()
        self._rows.append((validation, loss))
        self._dice = f", Dice {mean:.3f}"
        if self._bars.live:
            self._bars.above(self._table())
            return
        each = ", ".join(f"{name} {dice:.3f}" for name, dice in validation.dice.items() if name != "mean")
        told = f"loss {loss:.3f}, " if loss is not None else ""
        best = "  best so far" if validation.best else ""
        self._bars.line(f"epoch {validation.epoch}: {told}validation Dice {mean:.3f} ({each}){best}")

    def reporting(self, case: str, done: int, total: int) -> None:
        self._bars.show("scoring", done, total, case)

    def _table(self) -> Table:
        """The last validations: mean loss since the one before, Dice of each structure."""
        names = [name for name in self._rows[-1][0].dice if name != "mean"]
        shown = names[:_MOST_STRUCTURES]
        table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
        for head in ("epoch", "step", "time", "loss", "Dice"):
            table.add_column(head, justify="right", no_wrap=True)
        for name in shown:
            table.add_column(Text(name), justify="right", overflow="ellipsis", no_wrap=True)
        if len(names) > len(shown):
            table.add_column(f"lowest of {len(names)}", no_wrap=True)
        for validation, loss in self._rows:
            dice = validation.dice
            lead = Text(f"{dice['mean']:.3f}", style="bold green" if validation.best else "")
            cells: list[Text | str] = [
                str(validation.epoch),
                str(validation.step),
                duration(validation.seconds),
                "" if loss is None else f"{loss:.3f}",
                lead,
                *(f"{dice.get(name, float('nan')):.3f}" for name in shown),
            ]
            if len(names) > len(shown):
                lowest = min(names, key=lambda name: dice.get(name, 1.0))
                cells.append(Text(f"{lowest} {dice.get(lowest, float('nan')):.3f}"))
            table.add_row(*cells)
        return table

"""What is shown while something long runs, in a terminal and in a log."""

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from medseg.batch import PatientResult
from medseg.cli import batch_display, display
from medseg.cli.batch_display import BatchDisplay
from medseg.cli.display import Bars, Rate, duration
from medseg.cli.training_display import TrainingDisplay
from medseg.training import Step, Validation


def step(number: int, fraction: float) -> Step:
    return Step(number, number // 10, fraction, number * 0.5, 0.25, 1e-3, 0.125, 2.5)


def validation(epoch: int, mean: float, best: bool = True, structures: int = 2) -> Validation:
    names = ("prostate", "bladder", *(f"organ{at}" for at in range(structures - 2)))
    dice = {"mean": mean} | {name: mean - at / 100 for at, name in enumerate(names)}
    return Validation(epoch * 10, epoch, epoch * 90.0, dice, best)


def terminal(width: int = 150) -> Bars:
    return Bars(Console(file=StringIO(), force_terminal=True, width=width, highlight=False))


def written(bars: Bars) -> str:
    """Text of the last screen, without colours."""
    shown = bars.console.file
    assert isinstance(shown, StringIO)
    return shown.getvalue()


def last_table(bars: Bars) -> str:
    found = written(bars)
    return found[found.rindex("epoch") :] if "epoch" in found else found


def test_a_terminal_has_a_table_of_validations_and_a_bar() -> None:
    with terminal() as bars:
        shown = TrainingDisplay(bars)
        for epoch in range(1, 4):
            shown.stepped(step(epoch * 10, epoch / 4))
            shown.validated(validation(epoch, 0.5 + epoch / 10, best=epoch != 2))
        shown.stepped(step(31, 0.8))
    text = written(bars)
    for word in ("epoch", "step", "time", "loss", "Dice", "prostate", "bladder", "waiting for data 12%"):
        assert word in text
    assert "0.800" in text and "0.790" in text and "80%" in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1, "the cursor comes back"


def test_many_structures_fold_into_the_lowest_and_old_rows_go() -> None:
    with terminal(200) as bars:
        shown = TrainingDisplay(bars)
        for epoch in range(1, 21):
            shown.stepped(step(epoch, 0.5))
            shown.validated(validation(epoch, 0.7, structures=20))
    screen = written(bars).split("lowest of 20")[-1]
    assert "organ17 0.510" in screen
    rows = [line for line in screen.splitlines() if "organ17" in line]
    assert len(rows) == 8, "the last validations"


def test_hostile_names_of_structures_are_text() -> None:
    with terminal() as bars:
        dice = {"mean": 0.5, "[red]liver[/red]": 0.5}
        TrainingDisplay(bars).validated(Validation(1, 1, 1.0, dice, True))
    assert "[red]liver[/red]" in written(bars)


def test_a_log_has_plain_lines(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(display.time, "monotonic", lambda: now[0])
    log = StringIO()
    with Bars(Console(file=log, width=80)) as bars:
        shown = TrainingDisplay(bars)
        for number in range(1, 101):
            now[0] += 1.0
            shown.stepped(step(number, number / 100))
        shown.validated(validation(10, 0.8))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 5, "the first, one every half minute, the last"
    assert lines[1].startswith("training 31%, 1 min left  epoch 3, loss 0.250")
    assert lines[-1].startswith("training 100%  epoch 10")
    told = "epoch 10: loss 0.250, validation Dice 0.800 (prostate 0.800, bladder 0.790) best so far"
    assert " ".join(log.getvalue().split()) == told
    assert "\x1b" not in log.getvalue() + "".join(lines)


def test_a_resumed_training_is_not_taken_for_a_fast_one() -> None:
    with terminal() as bars:
        bars.show("training", 0.5, 1.0)
        task = bars._progress.tasks[0]
        bars.show("training", 0.5, 1.0)
        assert task.completed == 0.5 and not task.speed


def result(name: str, seconds: float | None = 2.0, problem: str = "") -> PatientResult:
    mask = None if problem else Path(f"{name}.nii.gz")
    return PatientResult(name, mask, {}, seconds, problems=(problem,) if problem else (), code="E406")


def test_a_batch_tells_counts_rate_failures_and_each_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(display.time, "monotonic", lambda: now[0])
    with terminal() as bars:
        shown = BatchDisplay(bars)
        shown.planned(4, {"new": 3})
        shown.finished(result("kept", seconds=None))
        for number in range(2):
            now[0] += 30
            shown.window(f"p{number}", 3, 10)
            shown.finished(result(f"p{number}"))
        shown.window("p2", 1, 2)
        told = {task.description: task for task in bars._progress.tasks}
        assert told["patients"].fields["told"] == "3 of 4, 2 a minute"
        assert told["patients"].completed == 3.5 and told["this patient"].fields["told"] == "p2"
        shown.finished(result("p2", None, "cannot be read: look at it"))
        assert [task.description for task in bars._progress.tasks] == ["patients"]
        assert bars._progress.tasks[0].fields["told"] == "4 of 4, 2 a minute, 1 failed"
    assert "failed: p2: cannot be read: look at it [E406]" in written(bars)


def test_a_batch_in_a_log_is_one_kind_of_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Bars(Console(file=StringIO(), width=80)) as bars:
        shown = batch_display.BatchDisplay(bars)
        shown.planned(1, {"new": 1})
        shown.window("p1", 1, 2)
        shown.finished(result("p1"))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and lines[0].startswith("patients 50%  0 of 1, p1")
    assert lines[1].startswith("patients 100%  1 of 1, ") and lines[1].endswith("p1")


@pytest.mark.parametrize(
    ("seconds", "told"), [(4, "4 s"), (59, "59 s"), (61, "1 min"), (3599, "1 h 00 min"), (7500, "2 h 05 min")]
)
def test_durations(seconds: float, told: str) -> None:
    assert duration(seconds) == told
    assert str(Rate()) == ""

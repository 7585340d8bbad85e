"""medseg reproduce"""

import shlex
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medseg.cli.options import Json
from medseg.cli.train import follow, leave

if TYPE_CHECKING:
    from medseg.reproduction import Difference, Recorded, Verdict
    from medseg.training import RunFolder
    from medseg.training.team import Team


def reproduce(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a finished run.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="The new run's folder. Default: <RUN>-again.")
    ] = None,
    cohort: Annotated[
        str | None, typer.Option(help="Where the patients lie now, if not where the configuration says.")
    ] = None,
    check_only: Annotated[
        bool, typer.Option("--check-only", help="Tell what differs from then, and do not train.")
    ] = False,
    tolerance: Annotated[
        float, typer.Option(min=0, max=1, help="Mean Dice may differ by so much where something differs.")
    ] = 0.02,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a repetition that was stopped.")
    ] = False,
    json: Json = False,
) -> int:
    """Run a training again, step by step, and compare weights, masks and metrics.

    First it is told what differs from then: patients (which case, which file), code, libraries, machine.
    A run that a clock ended is repeated to the same step, at the same learning rates. Where nothing differs
    the result has to be the same bit for bit; else the mean Dice of each structure within --tolerance.

    Exit code 0: it came out again. 3: it did not; with --check-only: something differs.
    """
    from medseg.cli.printing import print_json, say
    from medseg.files import write_json_atomically
    from medseg.reproduction import compare_runs, differences, read_recorded
    from medseg.reproduction.differences import Now
    from medseg.training import RunFolder
    from medseg.training.train import build_team

    recorded = read_recorded(run, cohort)
    again = RunFolder(out or run.with_name(f"{run.resolve().name}-again"))
    _set_threads(recorded)
    if check_only:
        found = differences(recorded, Now.of(recorded.experiment, _devices(recorded)))
        _tell(found, say)
        if json:
            print_json({"run": str(run), "differences": _as_json(found)})
        return 3 if any(difference.counts for difference in found) else 0
    team = build_team(recorded.experiment)
    if not team.leads:
        follow(partial(_train_again, recorded, again, team, resume))
    found = differences(recorded, Now.of(recorded.experiment, team.size))
    _tell(found, say)
    _train_and_report(recorded, again, team, resume)
    bitwise = not any(difference.counts for difference in found)
    verdict = compare_runs(recorded.run, again, bitwise=bitwise, tolerance=tolerance)
    told = {
        "run": str(run),
        "again": str(again.path),
        "differences": _as_json(found),
        **verdict.to_json(),
    }
    write_json_atomically(again.path / "reproduction.json", told)
    if json:
        print_json(told)
    else:
        _print(verdict)
    return 0 if verdict.good else 3


def _set_threads(recorded: "Recorded") -> None:
    """As many as then, where there are so many cores: sums are formed in parts, one a thread."""
    import torch

    from medseg.processes import usable_cores

    if recorded.threads and recorded.threads <= usable_cores():
        torch.set_num_threads(recorded.threads)


def _devices(recorded: "Recorded") -> int:
    """How many would train together; none is started."""
    from medseg.inference.device import choose_device
    from medseg.training.team import choose_devices

    config = recorded.experiment.training
    kind = choose_device(config.device).type
    return choose_devices("gpu" if kind == "cuda" else kind, config.devices, config.batch_size)


def _train_again(recorded: "Recorded", again: "RunFolder", team: "Team", resume: bool, **more: Any) -> Any:
    from medseg.training.train import train

    return train(recorded.experiment, again, resume=resume, team=team, replay=recorded.rates, **more)


def _train_and_report(recorded: "Recorded", again: "RunFolder", team: "Team", resume: bool) -> None:
    from medseg.cli.display import Bars
    from medseg.cli.printing import say
    from medseg.cli.training_display import TrainingDisplay
    from medseg.report.run import report_on_run
    from medseg.training import Interrupted, leaving_at_once

    command = shlex.join(["medseg", *sys.argv[1:]])
    with Bars() as bars:
        display = TrainingDisplay(bars)
        try:
            with leaving_at_once(), again.lock():
                trained = _train_again(recorded, again, team, resume, listener=display, command=command)
                report_on_run(again, recorded.experiment, trained.split, display.reporting)
        except Interrupted as interrupted:
            bars.close()
            words = sys.argv[1:] + ([] if "--resume" in sys.argv else ["--resume"])
            say(f"{interrupted}; go on with: {shlex.join(['medseg', *words])}")
            leave(interrupted.exit_code)


def _tell(found: "tuple[Difference, ...]", say: Any) -> None:
    counting = [difference for difference in found if difference.counts]
    for difference in counting:
        say(f"differs: {difference}")
    for difference in found:
        if not difference.counts:
            say(f"differs, of no weight: {difference}")
    if not counting:
        say("nothing that counts differs from then: configuration, patients, code, libraries, machine")


def _as_json(found: "tuple[Difference, ...]") -> list[dict[str, Any]]:
    from dataclasses import asdict

    return [asdict(difference) for difference in found]


def _print(verdict: "Verdict") -> None:
    lines = [f"weights: {verdict.weights}", f"masks: {verdict.masks}", f"metrics: {verdict.metrics}"]
    if verdict.first_step is not None:
        lines.append(f"losses: differ from step {verdict.first_step} on")
    sys.stdout.write("\n".join([*lines, f"verdict: {verdict}"]) + "\n")

"""medseg train"""

import os
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from medseg.cli.options import ConfigFile, Json, Overrides, Wait

if TYPE_CHECKING:
    from medseg.training.lock import FolderLock


def train(
    config: ConfigFile,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="The run folder. Default: runs/<name>-<date>-<time>.")
    ] = None,
    set_: Overrides = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on from the last checkpoint (of -o, or of the newest run), or start where none is yet.",
        ),
    ] = False,
    wait: Wait = False,
    json: Json = False,
) -> int:
    """Train a network, then report on the held-out patients.

    The run folder holds the model, masks, scores (cases.csv, summary.json) and report.html.

    Ctrl-C or a TERM signal saves a checkpoint and a report so far; --resume goes on from there and ends in
    the same weights. After a kill or a power cut it goes on from a checkpoint at most
    training.checkpoint_minutes old.
    """
    from medseg.config import load_experiment

    experiment = load_experiment(config, set_ or ())  # its mistakes are told before seconds of imports

    from medseg.cli.display import Bars
    from medseg.cli.printing import print_json, print_summary, say
    from medseg.cli.training_display import TrainingDisplay
    from medseg.cli.waiting import when_free
    from medseg.report.run import report_on_interrupted, report_on_run
    from medseg.training import Interrupted, RunFolder, leaving_at_once
    from medseg.training.train import build_team
    from medseg.training.train import train as run_training

    team = build_team(experiment)
    run = RunFolder(out or Path(team.of_leader(str(_default_folder(experiment.name, resume)))))
    command = shlex.join(["medseg", *sys.argv[1:]])
    if not team.leads:
        follow(partial(run_training, experiment, run, resume=resume, team=team))
    when_free(partial(_have, run.lock), wait)
    with Bars() as bars:
        display = TrainingDisplay(bars)
        try:
            with leaving_at_once(), run.lock():
                try:
                    trained = run_training(
                        experiment, run, resume=resume, listener=display, command=command, team=team
                    )
                except Interrupted:
                    report_on_interrupted(run, experiment)
                    raise
                summary = report_on_run(run, experiment, trained.split, display.reporting)
        except Interrupted as interrupted:
            bars.close()
            say(f"{interrupted}; go on with: {_to_go_on(str(config), set_ or (), run.path)}")
            if run.report.is_file():
                say(f"report so far: {run.report}")
            leave(interrupted.exit_code)
    if json:
        paths = {"run": str(run.path), "report": str(run.report), "summary": str(run.summary)}
        print_json({**paths, "note": trained.note})
    else:
        print_summary(summary)
        if trained.note:
            say(f"note: {trained.note}")
        say(f"report: {run.report}\nmodel:  {run.model}")
    return 0


def _have(lock: "FolderLock") -> None:
    with lock():
        pass


def follow(work: Callable[[], object]) -> NoReturn:
    """Train as one of several processes; the one that leads tells how it goes, and reports.

    This one ends without an error code: Fabric would kill the leader, which may be saving.
    """
    from medseg.errors import MedsegError
    from medseg.training import Interrupted
    from medseg.training.team import Left

    with suppress(MedsegError, Interrupted, Left):
        work()
    leave(0)


def _to_go_on(config: str, changes: Sequence[str], folder: Path) -> str:
    """The command that goes on with a run; the same settings have to be given."""
    changed = [word for change in changes for word in ("--set", change)]
    return shlex.join(["medseg", "train", config, *changed, "-o", str(folder), "--resume"])


def leave(exit_code: int) -> NoReturn:
    """At once: threads may have minutes of preparing cases in hand, and nobody will want them."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)


def _default_folder(name: str, resume: bool) -> Path:
    from medseg.errors import Code, UsageError
    from medseg.training import find_runs
    from medseg.training.run_folder import new_run_folder

    if not resume:
        return new_run_folder(name)
    for run in find_runs():
        if run.path.name.startswith(f"{name}-") and not run.reported:
            return run.path
    raise UsageError(
        Code.RUN_FOLDER, f"--resume: no unfinished run of {name} under runs/: give its folder with -o"
    )

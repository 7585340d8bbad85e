"""medseg train"""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from medseg.cli.options import ConfigFile, Json, Overrides


def train(
    config: ConfigFile,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="The run folder. Default: runs/<name>-<date>-<time>.")
    ] = None,
    set_: Overrides = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint (of -o, or of the newest run).")
    ] = False,
    json: Json = False,
) -> int:
    """Train a network, then report on the held-out patients.

    The run folder holds the model, masks, scores (cases.csv, summary.json) and report.html.

    Ctrl-C or a TERM signal saves a checkpoint; --resume goes on from there and ends in the same weights.
    """
    from medseg.cli.display import Bars, TrainingDisplay
    from medseg.cli.printing import print_json, print_summary, say
    from medseg.config import load_experiment
    from medseg.report.run import report_on_run
    from medseg.training import Interrupted, RunFolder
    from medseg.training import train as run_training

    experiment = load_experiment(config, set_ or ())
    run = RunFolder(out or _default_folder(experiment.name, resume))
    with Bars() as bars:
        display = TrainingDisplay(bars)
        try:
            trained = run_training(
                experiment,
                run,
                resume=resume,
                listener=display,
                command=shlex.join(["medseg", *sys.argv[1:]]),
            )
        except Interrupted as interrupted:
            bars.close()
            say(f"{interrupted}; go on with: medseg train {config} -o {run.path} --resume")
            return interrupted.exit_code
        summary = report_on_run(run, experiment, trained.split, display.reporting)
    if json:
        print_json({"run": str(run.path), "report": str(run.report), "summary": str(run.summary)})
    else:
        print_summary(summary)
        say(f"report: {run.report}\nmodel:  {run.model}")
    return 0


def _default_folder(name: str, resume: bool) -> Path:
    from medseg.errors import Code, UsageError
    from medseg.training import find_runs
    from medseg.training.run_folder import new_run_folder

    if not resume:
        return new_run_folder(name)
    for run in find_runs():
        if run.path.name.startswith(f"{name}-") and not run.read_manifest().get("finished"):
            return run.path
    raise UsageError(
        Code.RUN_FOLDER, f"--resume: no unfinished run of {name} under runs/: give its folder with -o"
    )

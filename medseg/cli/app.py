"""The ``medseg`` command, and what every verb has in common: errors on one line, exit codes, signals.

Heavy libraries are imported inside the verbs, so that ``medseg --help`` answers at once.
"""

import logging
import os
import sys
from typing import Annotated

import typer

import medseg
from medseg.cli.check import check
from medseg.cli.compare import compare
from medseg.cli.convert import convert
from medseg.cli.evaluate import evaluate
from medseg.cli.export import export
from medseg.cli.infer import infer
from medseg.cli.merge import merge
from medseg.cli.models import models
from medseg.cli.plan import plan
from medseg.cli.postprocess import postprocess
from medseg.cli.reproduce import reproduce
from medseg.cli.split import split
from medseg.cli.train import train
from medseg.errors import MedsegError

app = typer.Typer(
    name="medseg",
    help=(
        "CT and MR segmentation: train a network, segment scans on their own grid, report what to trust.\n\n"
        "Start with: medseg train configs/prostate_ct.yaml"
    ),
    epilog=(
        "Exit codes: 0 all good; 1 a bug; 2 usage, configuration or data; 3 some patients failed, or a run "
        "did not come out again; "
        "4 disk, memory or device; 130/143 stopped by a signal. "
        "Codes of errors, such as E406, are explained in docs/errors.md."
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_VERBS = (train, infer, evaluate, compare, plan, check, reproduce, split, postprocess, merge)
for verb in (*_VERBS, models, convert, export):
    app.command()(verb)


def _show_version(wanted: bool | None) -> None:
    if wanted:
        typer.echo(f"medseg {medseg.__version__}")
        raise typer.Exit


@app.callback()
def _common(
    _version: Annotated[
        bool | None,  # what the callback returns
        typer.Option("--version", help="Tell the version.", callback=_show_version, is_eager=True),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Tell what is done, line by line.")
    ] = False,
) -> None:
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING, format="%(levelname)s %(message)s"
    )


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        code = app(standalone_mode=False)
    except MedsegError as error:
        for problem in error.problems:
            typer.echo(f"error {error.code}: {problem}", err=True)
        sys.exit(error.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        typer.echo("stopped", err=True)
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output left, as in `medseg ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except Exception as error:
        show = getattr(error, "show", None)  # click's own complaints about the command line
        if show is None:
            raise
        show()
        sys.exit(2)
    sys.exit(code if isinstance(code, int) else 0)

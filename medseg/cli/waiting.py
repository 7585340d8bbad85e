"""Waiting for a folder in which another process works."""

import time
from collections.abc import Callable

import typer

_SECONDS = 2.0


def when_free(require: Callable[[], None], wait: bool) -> None:
    """Call ``require``, which refuses a folder in use, again and again while ``wait``.

    A workflow that was killed leaves its commands behind, at work; started again, it waits for them.

    Raises:
        EnvironmentProblem: in use, and ``wait`` is off; or the folder cannot be used at all.
    """
    from medseg.errors import Code, EnvironmentProblem

    told = False
    while True:
        try:
            return require()
        except EnvironmentProblem as error:
            if error.code != Code.LOCKED or not wait:
                raise
            if not told:
                typer.echo(f"waiting: {error}", err=True)
            told = True
        time.sleep(_SECONDS)

"""Names and paths of models to files."""

import difflib
import os
from dataclasses import dataclass
from pathlib import Path

from medseg.errors import Code, UsageError
from medseg.shipped.card import Card, read_card

FOLDER = Path(__file__).resolve().parent
"""Where the models at hand lie: inside the package, so that they need no network."""

SUFFIX = ".safetensors"


@dataclass(frozen=True)
class Shipped:
    """A model at hand."""

    path: Path
    card: Card


def shipped_models(folder: Path | None = None) -> tuple[Shipped, ...]:
    """All models at hand, sorted by name.

    Raises:
        ModelFileError: a model has no card, or one that cannot be read.
    """
    return tuple(_shipped(path) for path in sorted((folder or FOLDER).glob(f"*{SUFFIX}")))


def shipped_model(name: str, folder: Path | None = None) -> Shipped:
    """The model at hand of this name.

    Raises:
        UsageError: there is none; near names are told.
    """
    path = (folder or FOLDER) / f"{name}{SUFFIX}"
    if name not in _names(folder):
        raise UsageError(Code.NO_MODEL, f"{name}: no such model at hand{_near(name, folder)}: give {_SEE}")
    return _shipped(path)


def find_model(named: str | Path, folder: Path | None = None) -> Path:
    """A model's file by its path, its run's folder, or the name of one at hand. What exists as a path wins.

    A folder without a model in it is passed over: a cohort may have the name of a model.

    Raises:
        UsageError: there is no such model; near names are told.
    """
    path = Path(named)
    if os.path.isdir(path):  # noqa: PTH112 - a name that is too long is no folder
        inside = path / "model.safetensors"
        if inside.is_file():
            return inside
    elif os.path.exists(path):  # noqa: PTH110
        return path
    name = str(named)
    if name in _names(folder):
        return (folder or FOLDER) / f"{name}{SUFFIX}"
    what = "a folder without model.safetensors" if os.path.isdir(path) else "no such model"  # noqa: PTH112
    raise UsageError(
        Code.NO_MODEL, f"{named}: {what}{_near(name, folder)}: give a model file, a run folder, or {_SEE}"
    )


def is_shipped(path: Path) -> bool:
    """Whether a file lies among the models at hand."""
    return path.resolve().parent == FOLDER


_SEE = "a name that medseg models lists"


def _names(folder: Path | None) -> list[str]:
    return sorted(path.stem for path in (folder or FOLDER).glob(f"*{SUFFIX}"))


def _near(name: str, folder: Path | None) -> str:
    """Names at hand that are nearly ``name``, whatever its ending."""
    close = difflib.get_close_matches(name.removesuffix(SUFFIX), _names(folder), n=1, cutoff=0.5)
    return f" (did you mean {close[0]}?)" if close else ""


def _shipped(path: Path) -> Shipped:
    return Shipped(path, read_card(path.with_suffix(".json")))

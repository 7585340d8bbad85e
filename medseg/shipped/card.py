"""The card of a model: what it segments, what it learned from, how well, and where it must not be trusted."""

import json
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from medseg.config.base import Count, Positive, Probability, Settings
from medseg.errors import Code, ModelFileError
from medseg.files import read_regular

MAX_BYTES = 200_000


class MeasuredDice(Settings):
    """Mean Dice over held-out patients, and its 95 % interval over patients (BCa bootstrap)."""

    mean: Probability
    low: Probability | None
    high: Probability | None
    """None with fewer than two patients."""
    cases: Count


class StructureCard(Settings):
    name: str
    value: int
    """Of its voxels in a mask."""
    dice: MeasuredDice | None
    """None where no held-out patient shows it."""


class DataCard(Settings):
    name: str
    source: str
    licence: str
    training_patients: Count
    validation_patients: int = Field(ge=0)
    held_out_patients: Count
    """Never trained on, and never looked at to choose anything; the Dice is theirs."""


class TrainingCard(Settings):
    command: str
    """Makes the model again, from the repository and the cohort."""
    minutes: Positive
    hardware: str
    date: str
    medseg: str
    git: str | None


class Card(Settings):
    """A model at hand, as JSON beside its file."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_]{0,63}$")
    title: str
    """One line: what it segments, on what."""
    input: str
    """Which scans it takes."""
    network: str
    spacing_mm: tuple[Positive, Positive, Positive]
    structures: tuple[StructureCard, ...] = Field(min_length=1)
    mean_dice: MeasuredDice
    """The mean over structures."""
    data: DataCard
    training: TrainingCard
    limits: tuple[str, ...] = Field(min_length=1)
    licence: str
    """Of the weights."""
    use: Literal["Not for clinical use."] = "Not for clinical use."
    weights: Literal["fp16", "fp32", "int8"]
    bytes: Count
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    """Of the model file."""


def read_card(path: Path) -> Card:
    """Read a card.

    Raises:
        ModelFileError: it is not there, or is no card.
    """
    try:
        return Card.model_validate(json.loads(read_regular(path, MAX_BYTES)))
    except FileNotFoundError:
        raise ModelFileError(Code.NO_CARD, f"{path}: no such file: {_FIX}") from None
    except (OSError, ValueError, RecursionError) as error:  # JSON's and pydantic's errors are ValueErrors
        places = error.errors()[0]["loc"] if isinstance(error, ValidationError) else ()
        told = f" at {'.'.join(map(str, places))}" if places else ""
        raise ModelFileError(Code.NO_CARD, f"{path}: not the card of a model{told}: {_FIX}") from None


_FIX = "install medseg again, or make the model again with scripts/make_models.py"

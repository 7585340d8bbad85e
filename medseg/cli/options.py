"""Options that several verbs share."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medseg.errors import Code, UsageError

if TYPE_CHECKING:
    from medseg.data import Part

ConfigFile = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="The experiment, a YAML file (see configs/).")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Change a key, as in --set training.stop.minutes=20. Repeatable."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Precision = Annotated[
    str,
    typer.Option(
        help="auto, fp32, bf16, fp16 or int8. auto: bf16 where the device computes in it, else "
        "fp32. int8: for models that medseg export --precision int8 wrote."
    ),
]
Engine = Annotated[
    str,
    typer.Option(
        help="auto, torch, torch-compile (minutes at first, for long batches), openvino. auto: OpenVINO on a "
        "CPU, which is faster there; else PyTorch."
    ),
]


Split = Annotated[
    str | None,
    typer.Option(
        help="Patients of the configuration's cohort: validation, test, train, or folds (not held out)."
    ),
]
Wait = Annotated[
    bool, typer.Option("--wait", help="Where another process works in the folder, wait until it ends.")
]


def parse_part(text: str) -> "Part":
    """A part of a cohort."""
    parts: tuple[Part, ...] = ("train", "validation", "test", "folds")
    for part in parts:
        if text == part:
            return part
    raise UsageError(Code.OPTION, f"--split {text}: give one of {', '.join(parts)}")


def parse_shard(text: str) -> tuple[int, int]:
    """``2/8``, the second of eight: number and count."""
    number, slash, count = text.partition("/")
    if not (slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count) <= 100_000):
        raise UsageError(
            Code.OPTION, f"--shard {text}: write NUMBER/COUNT, as in 2/8 for the second of eight"
        )
    return int(number), int(count)


def parse_labels(texts: Sequence[str]) -> dict[str, int]:
    """``prostate=1,bladder=2``, in one text or several, to name and value."""
    labels = {}
    for part in ",".join(texts).split(","):
        name, equals, value = part.partition("=")
        if not equals or not name.strip() or not re.fullmatch(r"-?[0-9]{1,10}", value.strip()):
            raise UsageError(Code.OPTION, f"--labels {part}: write name=value, as in prostate=1,bladder=2")
        labels[name.strip()] = int(value)
    return labels


def parse_bytes(text: str | None, option: str = "--max-ram") -> int | None:
    """``8GB``, ``512 MB`` or ``8GiB`` in bytes; the units are taken as powers of 1024."""
    if text is None:
        return None
    units = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}
    number = text.strip().upper().removesuffix("B").removesuffix("I")
    unit = number[-1:] if number[-1:] in units else ""
    try:
        count = float(number.removesuffix(unit)) * 2 ** units[unit]
    except ValueError:
        count = 0.0
    if not 1 <= count < 2**60:
        raise UsageError(Code.OPTION, f"{option} {text}: give a size, as in 8GB or 800MB")
    return int(count)

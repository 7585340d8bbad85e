"""Options that several verbs share."""

from pathlib import Path
from typing import Annotated

import typer

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
        help="auto, torch or openvino. auto: OpenVINO on a CPU, which is faster there; else PyTorch."
    ),
]


def model_file(path: Path) -> Path:
    """A model is named by its file or by its run's folder."""
    return path / "model.safetensors" if path.is_dir() else path

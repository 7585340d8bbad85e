"""Which engine computes, on which device, and in which precision: decided before anything heavy is loaded."""

from dataclasses import dataclass
from typing import Any, Literal

import torch

from medseg.errors import Code, EnvironmentProblem, UsageError
from medseg.inference.device import choose_device, choose_precision, describe_device, missing_compiler
from medseg.inference.openvino_graph import load_openvino, openvino_core, openvino_installed

ENGINES = ("auto", "torch", "torch-compile", "openvino")
PRECISIONS = ("auto", "fp32", "bf16", "fp16", "int8")


@dataclass(frozen=True)
class EngineChoice:
    """What was chosen. ``asked``: the engine was named, and no other may take its place."""

    engine: Literal["torch", "torch-compile", "openvino"]
    device: torch.device
    precision: Literal["fp32", "bf16", "fp16", "int8"]
    asked: bool = False
    note: str | None = None
    """What a user should know about it."""

    def __str__(self) -> str:
        return f"{self.engine}, {self.precision}, {describe_device(self.device)}"

    def to_json(self) -> dict[str, Any]:
        """What a mask depends on."""
        return {"engine": self.engine, "precision": self.precision}


def choose_engine(engine: str = "auto", device: str = "auto", precision: str = "auto") -> EngineChoice:
    """``auto``: OpenVINO on the CPU, PyTorch elsewhere; int8 only when it is named.

    Raises:
        UsageError: not a name, or names that do not go together.
        EnvironmentProblem: the device is not there, or the engine is not installed.
    """
    for option, value, known in (("engine", engine, ENGINES), ("precision", precision, PRECISIONS)):
        if value not in known:
            raise UsageError(Code.OPTION, f"--{option} {value}: give one of {', '.join(known)}")
    place = choose_device("cpu" if engine == "openvino" and device == "auto" else device)
    if place.type != "cpu" and (engine == "openvino" or precision == "int8"):
        what = "--engine openvino" if engine == "openvino" else "--precision int8"
        raise UsageError(
            Code.OPTION, f"{what} computes on the CPU, not on {place.type}: use --device cpu, or leave it out"
        )
    if place.type != "cpu" or engine.startswith("torch"):
        if precision == "int8":
            raise UsageError(
                Code.OPTION, "--precision int8 needs OpenVINO: use --engine openvino, or another precision"
            )
        chosen = choose_precision(precision, place)
        if engine == "torch-compile":
            _require_compiler(place)
            return EngineChoice("torch-compile", place, chosen, asked=True)
        return EngineChoice("torch", place, chosen, engine == "torch")
    if not openvino_installed():
        if engine == "auto" and precision != "int8":
            note = "OpenVINO is not installed: PyTorch is used, which is slower"
            return EngineChoice("torch", place, choose_precision(precision, place), note=note)
        load_openvino()  # says so
    return _openvino(place, precision, asked=engine == "openvino" or precision == "int8")


def _require_compiler(place: torch.device) -> None:
    missing = missing_compiler(place)
    if missing:
        raise EnvironmentProblem(
            Code.DEVICE,
            f"--engine torch-compile: {missing} was not found on this machine; install it, or use "
            "--engine torch",
        )


def _openvino(place: torch.device, precision: str, *, asked: bool) -> EngineChoice:
    if precision == "int8":
        return EngineChoice("openvino", place, "int8", asked)
    chosen = choose_precision(precision, place)
    if chosen == "fp32" or _computes_in(chosen):
        return EngineChoice("openvino", place, chosen, asked)
    note = f"precision {chosen}: this processor does not compute in it; fp32 is used"
    return EngineChoice("openvino", place, "fp32", asked, note)


def _computes_in(precision: Literal["bf16", "fp16"]) -> bool:
    """OpenVINO would compute in fp32 without a word."""
    name = {"bf16": "BF16", "fp16": "FP16"}[precision]
    return name in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")

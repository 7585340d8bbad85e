"""The programs that are compared: the command of each, where its mask lies, and its own clock."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
MEDSEG = (sys.executable, "-m", "medseg")


@dataclass(frozen=True)
class Tool:
    """``command`` and ``mask`` take the folder of a run; ``seconds`` its standard output."""

    name: str
    command: Callable[[Path], list[str]]
    mask: Callable[[Path], Path]
    seconds: Callable[[str], dict[str, float]]


def nnunet_tool(python: Path, folder: Path, scan: Path) -> Tool:
    return Tool(
        "nnU-Net",
        lambda out: [str(python), str(HERE / "run_nnunet.py"), str(folder), str(scan), str(out / "mask")],
        lambda out: out / "mask.nii.gz",
        _last_line,
    )


def monai_tool(model: Path, scan: Path) -> Tool:
    return Tool(
        "MONAI script",
        lambda out: [sys.executable, str(HERE / "run_monai.py"), str(model), str(scan), str(out)],
        lambda out: next(out.glob("*_seg.nii.gz")),
        _last_line,
    )


def medseg_tools(model: Path, scan: Path, asked: list[str], int8_model: Path | None) -> list[Tool]:
    """``asked``: as in ``openvino:bf16``; those that this medseg has not are left out."""
    text = subprocess.run([*MEDSEG, "infer", "--help"], capture_output=True, text=True, check=True).stdout
    tools = []
    for each in asked:
        engine, _, precision = each.partition(":")
        if "--engine" not in text and engine != "torch":
            continue
        if precision == "int8" and int8_model is None:
            continue
        used = int8_model if precision == "int8" and int8_model is not None else model
        options = ["--precision", precision, "--json"]
        options += ["--engine", engine] if "--engine" in text else []
        options += ["--profile"] if "--profile" in text else []
        tools.append(_medseg(f"medseg {engine} {precision}", used, scan, options))
    return tools


def _medseg(name: str, model: Path, scan: Path, options: list[str]) -> Tool:
    def command(out: Path) -> list[str]:
        return [*MEDSEG, "infer", str(scan), "--model", str(model), "-o", str(out / "mask.nii.gz"), *options]

    return Tool(name, command, lambda out: out / "mask.nii.gz", _medseg_seconds)


def _last_line(stdout: str) -> dict[str, float]:
    found: dict[str, float] = json.loads(stdout.strip().splitlines()[-1])
    return found


def _medseg_seconds(stdout: str) -> dict[str, float]:
    """What ``--profile`` tells, if it was there."""
    told: Any = json.loads(stdout)
    profile = told.get("profile", {}) if isinstance(told, dict) else {}
    return {
        name: float(value)
        for name, value in profile.get("seconds", {}).items()
        if isinstance(value, int | float)
    }

"""Rates of programs that took turns: median, spread, and how many times as fast as each other program."""

import platform
import subprocess
from pathlib import Path
from statistics import median

Rates = dict[str, list[float]]
"""Program to its rate in each round; all programs ran in every round."""


def rate_table(rates: Rates, unit: str, ours: str) -> str:
    """Markdown: a row a program; ratios are of ``ours`` to it, taken within each round."""
    lines = [f"| program | {unit} | {ours}: times as fast |", "|---|---|---|"]
    for name, values in rates.items():
        ratios = [mine / theirs for mine, theirs in zip(rates[ours], values, strict=True)]
        lines.append(f"| {name} | {_spread(values)} | {'-' if name == ours else _spread(ratios)} |")
    return "\n".join(lines) + "\n"


def machine_lines(versions: list[str]) -> str:
    """Processor, cores and versions, as the lines below a table."""
    return f"{_processor()}; Python {platform.python_version()}; {'; '.join(versions)}.\n"


def version_of(python: Path, package: str) -> str:
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    found = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True)
    return f"{package} {found.stdout.strip()}"


def _spread(values: list[float]) -> str:
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        text = info.read_text(encoding="utf-8", errors="replace")
        names = [line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")]
        if names:
            return f"{names[0]}, {len(names)} cores"
    return platform.processor() or platform.machine()

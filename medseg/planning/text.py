"""A plan as a YAML file: a value a line, with its reason as a comment."""

from typing import Any

import yaml

from medseg.planning.plan import Plan, plain

WIDTH = 110
_COLUMN = 46
_OF_BLOCKS = ("data", "preprocessing", "sampling", "model", "training", "inference", "evaluation")


def plan_text(plan: Plan, heading: tuple[str, ...]) -> str:
    """YAML that ``medseg train`` runs as it stands.

    Args:
        heading: lines of the comment at its top.
    """
    lines = [f"# {line}" for line in heading]
    for key, value in plan.raw.items():
        if key in _OF_BLOCKS or key == "augmentation":
            lines.append("")
        lines += _entry(key, value, key, 0, plan.reasons)
    return "\n".join(lines) + "\n"


def _entry(key: str, value: Any, dotted: str, depth: int, reasons: dict[str, str]) -> list[str]:
    """One key: its value on its own line, or the keys below it when some of those have reasons."""
    indent = "  " * depth
    if dotted == "augmentation" and value:
        told = [f"{indent}{key}:"]
        for index, one in enumerate(value):
            told += _line(f"{indent}  - {_flow(one)}", reasons.get(f"{dotted}.{index}", ""))
        return told
    if isinstance(value, dict) and ((depth == 0 and key != "labels") or _any_below(dotted, reasons)):
        told = _line(f"{indent}{key}:", reasons.get(dotted, ""))
        for below, inner in value.items():
            told += _entry(below, inner, f"{dotted}.{below}", depth + 1, reasons)
        return told
    return _line(f"{indent}{_flow(key)}: {_flow(value)}", reasons.get(dotted, ""))


def _any_below(dotted: str, reasons: dict[str, str]) -> bool:
    return any(key.startswith(f"{dotted}.") for key in reasons)


def _line(text: str, reason: str) -> list[str]:
    """With its reason behind it, or above it where there is no room."""
    if not reason:
        return [text]
    beside = f"{text:<{_COLUMN}}  # {reason}"
    if len(beside) <= WIDTH:
        return [beside]
    indent = text[: len(text) - len(text.lstrip())]
    return [f"{indent}# {reason}", text]


def _flow(value: Any) -> str:
    """On one line."""
    text = yaml.safe_dump(
        plain(value), default_flow_style=True, sort_keys=False, width=10_000, allow_unicode=True
    )
    return text.removesuffix("\n").removesuffix("\n...").strip()

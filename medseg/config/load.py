"""YAML file and ``--set`` overrides to an :class:`Experiment`, or every problem at once."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import ValidationError

from medseg.config.experiment import Experiment
from medseg.config.explain import explain
from medseg.config.yaml_text import parse_yaml
from medseg.errors import Code, ConfigError
from medseg.files import read_regular

MAX_BYTES = 200_000
_MAX_KEYS = 20  # in a dotted path; the deepest of the schema has half as many


def load_experiment(path: Path, overrides: Sequence[str] = ()) -> Experiment:
    """Read ``path`` and apply ``overrides`` (``"training.stop.minutes=20"``, the value is YAML).

    Raises:
        ConfigError: with one line a problem, each with its dotted path.
    """
    raw = read_yaml(path)
    for override in overrides:
        _apply(raw, override)
    return parse_experiment(raw, str(path))


def parse_experiment(raw: dict[str, Any], subject: str) -> Experiment:
    """Validate a plain dictionary; ``subject`` names its origin in errors."""
    try:
        return Experiment.model_validate(raw)
    except ValidationError as error:
        lines = explain(error.errors(), raw, Experiment)
        count = f"{len(lines)} problem{'s' if len(lines) > 1 else ''}"
        raise ConfigError(
            Code.CONFIG_VALUE,
            *(f"{subject}: {line}" for line in lines),
            f"{subject}: {count}; nothing was run",
        ) from None


def dump_experiment(experiment: Experiment) -> str:
    """YAML of the fully resolved experiment; loads back to an equal one."""
    return yaml.safe_dump(experiment.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping, read safely: bounded in size, no aliases, plain values only."""
    try:
        text = read_regular(path, MAX_BYTES).decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(Code.CONFIG_FILE, f"{path}: no such file{_near(path)}: correct the path") from None
    except (OSError, UnicodeDecodeError) as error:
        told = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ConfigError(
            Code.CONFIG_FILE,
            f"{path}: cannot be read as text ({told}): give a YAML file; a configuration has at most "
            f"{MAX_BYTES} bytes",
        ) from None
    raw = parse_yaml(text, str(path))
    if not isinstance(raw, dict):
        raise ConfigError(
            Code.CONFIG_VALUE, f"{path}: a mapping of keys is expected, as in 'name: my_experiment'"
        )
    return cast(dict[str, Any], raw)


def _near(path: Path) -> str:
    if not path.parent.is_dir():
        return f" (and no folder {path.parent})"
    close = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.y*ml")], n=1)
    return f" (did you mean {path.parent / close[0]}?)" if close else ""


def _apply(raw: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise ConfigError(
            Code.CONFIG_OVERRIDE, f"--set {override}: write key=value, as in --set training.stop.minutes=20"
        )
    is_pattern = text.lstrip().startswith("*")  # a file pattern; to YAML it would be an alias
    value = text.strip() if is_pattern else parse_yaml(text, f"--set {override}")
    *parents, last = key.strip().split(".")
    if len(parents) >= _MAX_KEYS:
        raise ConfigError(
            Code.CONFIG_OVERRIDE,
            f"--set {override:.60}...: {len(parents) + 1} keys deep; write a key of the schema",
        )
    node: Any = raw
    for depth, name in enumerate(parents):
        node = _step(node, name, ".".join(parents[: depth + 1]), override)
    if isinstance(node, list):
        node[_index(node, last, override)] = value
    elif isinstance(node, dict):
        node[last] = value
    else:
        raise ConfigError(
            Code.CONFIG_OVERRIDE,
            f"--set {override}: {'.'.join(parents)} is a single value and has no keys: set it as a whole",
        )


def _step(node: Any, name: str, dotted: str, override: str) -> Any:
    if isinstance(node, list):
        return node[_index(node, name, override)]
    if isinstance(node, dict):
        child = node.setdefault(name, {})
        if child is None:
            child = node[name] = {}
        return child
    raise ConfigError(
        Code.CONFIG_OVERRIDE,
        f"--set {override}: {dotted} is a single value and has no keys: set it as a whole",
    )


def _index(node: list[Any], name: str, override: str) -> int:
    if not name.isdecimal() or len(name) > 9 or int(name) >= len(node):  # Python reads 4300 digits at most
        entries = f"0 to {len(node) - 1}" if node else "none"
        raise ConfigError(
            Code.CONFIG_OVERRIDE,
            f"--set {override:.200}: '{name:.20}' is not an entry of the list ({entries}); or set the whole "
            "list",
        )
    return int(name)

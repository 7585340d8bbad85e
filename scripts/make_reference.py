"""The reference of configuration keys, docs/reference.md, from the schema that checks configurations.

python scripts/make_reference.py            # writes it
python scripts/make_reference.py --check    # exit code 1 where it is out of date
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from medseg.config import Experiment

PAGE = Path(__file__).parent.parent / "docs" / "reference.md"
HEAD = """# Configuration keys

Made from the schema by `python scripts/make_reference.py`. `medseg check CONFIG --schema` prints that schema
for editors, and any key can be set on the command line: `--set training.stop.minutes=20`,
`--set augmentation.0.p=0.9`. What is not in a table is refused, with the nearest key that exists.
"""
Schema = Mapping[str, Any]


def reference() -> str:
    """The page."""
    schema = Experiment.model_json_schema()
    parts = schema["$defs"]
    lines = [HEAD, "## The file", "", *_table(schema, parts)]
    for name in _in_order(schema, parts):
        lines += ["", f"## {_heading(parts[name], name)}", "", *_prose(parts[name].get("description", ""))]
        lines += _table(parts[name], parts)
    return "\n".join(lines) + "\n"


def _in_order(schema: Schema, parts: Mapping[str, Schema]) -> list[str]:
    """Parts as they are met from the top of the file on."""
    found: dict[str, None] = {}

    def visit(part: Schema) -> None:
        for name in _named(part["properties"]):
            if name not in found and "properties" in parts[name]:
                found[name] = None
                visit(parts[name])

    visit(schema)
    return list(found)


def _named(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        if "$ref" in value:
            yield value["$ref"].rsplit("/", 1)[1]
        for key, inner in value.items():
            if key != "discriminator":
                yield from _named(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _named(inner)


def _heading(part: Schema, name: str) -> str:
    kind = part["properties"].get("kind", {}).get("const")
    words = re.sub(r"(?<=[a-z])(?=[A-Z][a-z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name.removesuffix("Config"))
    words = words.capitalize()
    return f"{words}: `kind: {kind}`" if kind else words


def _prose(text: str) -> list[str]:
    return [re.sub(r"``", "`", text), ""] if text else []


def _table(part: Schema, parts: Mapping[str, Schema]) -> list[str]:
    needed = part.get("required", ())
    rows = ["| key | what | values | default |", "|---|---|---|---|"]
    for key, told in part.get("properties", {}).items():
        if key == "kind":
            continue
        default = "*needed*" if key in needed else _default(told)
        text = " ".join(re.sub(r"``", "`", told.get("description", "")).split())
        rows.append(f"| `{key}` | {_cell(text)} | {_cell(_values(told, parts))} | {_cell(default)} |")
    return rows if len(rows) > 2 else ["No keys."]


def _default(told: Schema) -> str:
    default = told.get("default")
    if default is None:
        return "unset"
    if isinstance(default, Mapping):
        return f"`{default['kind']}`" if "kind" in default else "as below"
    return f"`{json.dumps(default)}`"


def _values(told: Schema, parts: Mapping[str, Schema]) -> str:
    if "$ref" in told:
        name = told["$ref"].rsplit("/", 1)[1]
        return _link(parts[name], name) if "properties" in parts[name] else "any"
    if "oneOf" in told or "anyOf" in told:
        some = (one for one in told.get("oneOf", told.get("anyOf")) if one != {"type": "null"})
        return ", or ".join(dict.fromkeys(_values(one, parts) for one in some))
    if "enum" in told or "const" in told:
        return ", ".join(f"`{value}`" for value in told.get("enum", [told.get("const")]))
    return _by_type(told, parts)


def _by_type(told: Schema, parts: Mapping[str, Schema]) -> str:
    kind, inner = told.get("type", "any"), told.get("additionalProperties")
    if kind == "array":
        return _list(told, parts)
    if kind == "object" and isinstance(inner, Mapping):
        return f"names to {_values(inner, parts)}"
    names = {
        "boolean": "true or false",
        "string": "text",
        "integer": "whole number",
        "number": "number",
        "object": "a mapping",
    }
    return names.get(kind, "any") + _bounds(told)


def _list(told: Schema, parts: Mapping[str, Schema]) -> str:
    if "prefixItems" in told:
        return "[" + ", ".join(_values(one, parts) for one in told["prefixItems"]) + "]"
    return f"list of: {_values(told.get('items', {}), parts)}"


def _bounds(told: Schema) -> str:
    words = {
        "minimum": "at least",
        "exclusiveMinimum": "above",
        "maximum": "at most",
        "exclusiveMaximum": "below",
    }
    found = [f"{text} {told[key]:g}" for key, text in words.items() if key in told and told[key] < 2**60]
    return f", {', '.join(found)}" if found else ""


def _link(part: Schema, name: str) -> str:
    anchor = re.sub(r"[^a-z0-9 _-]", "", _heading(part, name).lower()).replace(" ", "-")
    kind = part["properties"].get("kind", {}).get("const")
    return f"[{kind or _heading(part, name).lower()}](#{anchor})"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> int:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--check", action="store_true", help="only tell whether the page is up to date")
    text = reference()
    if options.parse_args().check:
        return int(not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != text)
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""YAML to plain dictionaries and lists, strictly: no aliases, no merging, no key twice, and bounded."""

from collections.abc import Hashable
from typing import Any

import yaml

from medseg.errors import Code, ConfigError

MAX_DEPTH = 30
MAX_NODES = 10_000
_MAX_NUMBER = 40  # characters; Python takes long over endless numbers, and refuses to print them


def parse_yaml(text: str, subject: str) -> Any:
    """The value of ``text``.

    Raises:
        ConfigError: naming ``subject`` and, where known, the line.
    """
    try:
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - a SafeLoader that refuses more
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f" line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = error.problem or error.context or "not YAML"
        fix = "" if ":" in problem else ": correct the line"
        raise ConfigError(Code.CONFIG_SYNTAX, f"{subject}{place}: {problem}{fix}") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise ConfigError(
            Code.CONFIG_SYNTAX, f"{subject}: not YAML ({error}): write it as plain text in UTF-8"
        ) from None


class _StrictLoader(yaml.SafeLoader):
    """Aliases and nesting can blow a small file up; of a key that is there twice, one would be lost."""

    _nodes = 0
    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if self.check_event(yaml.AliasEvent):
            raise _refused(
                event.start_mark, "YAML anchors and aliases are not used here: write the value out"
            )
        self._nodes += 1
        self._depth += 1
        if self._depth > MAX_DEPTH:
            problem = f"nested too deeply for a configuration (more than {MAX_DEPTH}): write it flat"
            raise _refused(event.start_mark, problem)
        if self._nodes > MAX_NODES:
            problem = f"more than {MAX_NODES} values, too many for a configuration: is this the right file?"
            raise _refused(event.start_mark, problem)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                raise _refused(
                    key_node.start_mark, "<< merges mappings, which is not used here: write them out"
                )
            if isinstance(key_node, yaml.ScalarNode):
                if key_node.value in seen:
                    raise _refused(
                        key_node.start_mark, f"{key_node.value}: this key is there twice; keep one"
                    )
                seen.add(key_node.value)
        mapping = super().construct_mapping(node, deep)
        if len(mapping) < len(node.value):  # 1 and 0x1
            raise _refused(node.start_mark, "two of these keys mean the same: keep one")
        return mapping

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        if len(node.value) > _MAX_NUMBER:
            problem = (
                f"a number of {len(node.value)} characters: write at most {_MAX_NUMBER}, or put it in quotes"
            )
            raise _refused(node.start_mark, problem)
        if node.tag == "tag:yaml.org,2002:int":
            return self.construct_yaml_int(node)
        return self.construct_yaml_float(node)


for _kind in ("int", "float"):
    _StrictLoader.add_constructor(f"tag:yaml.org,2002:{_kind}", _StrictLoader.construct_number)


def _refused(mark: yaml.Mark, problem: str) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, problem, mark)

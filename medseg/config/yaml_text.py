"""YAML to plain dictionaries and lists, strictly: no aliases, no key twice, no recursion without end."""

from collections.abc import Hashable
from typing import Any

import yaml

from medseg.errors import Code, ConfigError


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
        raise ConfigError(
            Code.CONFIG_SYNTAX, f"{subject}{place}: {error.problem or error.context or 'not YAML'}"
        ) from None
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(Code.CONFIG_SYNTAX, f"{subject}: not YAML ({error})") from None
    except RecursionError:
        raise ConfigError(Code.CONFIG_SYNTAX, f"{subject}: nested too deeply for a configuration") from None


class _StrictLoader(yaml.SafeLoader):
    """Aliases can blow a small file up to gigabytes; of a key that is there twice, one would be lost."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(
                None,
                None,
                "YAML anchors and aliases are not used here: write the value out",
                event.start_mark,
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            if isinstance(key_node, yaml.ScalarNode):
                if key_node.value in seen:
                    problem = f"{key_node.value}: this key is there twice; keep one"
                    raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
                seen.add(key_node.value)
        return super().construct_mapping(node, deep)

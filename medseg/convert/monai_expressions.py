"""Values of a bundle's configuration: references and plain arithmetic, read and never run.

MONAI hands text behind a ``$`` to Python's ``eval``. Here it is parsed, and only what stands for a value is
worked out: literals, references (``@roi``, ``@sizes#0``), sums and products of numbers, joined texts and
lists, ``len``, ``not``, comparisons and ``a if b else c``. Calls, attributes and all else are refused, where
the value is needed; what nobody asks for is not looked at.
"""

import ast
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from medseg.errors import Code, ModelFileError

MAX_DEPTH = 30
_MAX_TEXT = 2_000
_MAX_NUMBER = 1e12
_REFERENCE = re.compile(r"@(\w+(?:(?:#|::)\w+)*)")

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


class NotPlainError(Exception):
    """An expression that stands for no plain value; its text says what is in it."""


@dataclass(frozen=True)
class Component:
    """An object of the configuration: the class ``target`` with its arguments, not yet looked at."""

    target: str
    place: str
    told: dict[str, Any]
    bundle: "Expressions"

    @property
    def name(self) -> str:
        """The class without the packages of MONAI that may stand before it."""
        return re.sub(r"^monai\.(transforms|networks\.nets|inferers)\.(?:\w+\.)*", "", self.target)

    @property
    def arguments(self) -> list[str]:
        return [name for name in self.told if not (name.startswith("_") and name.endswith("_"))]

    def get(self, name: str, default: Any = None) -> Any:
        """The value of an argument."""
        if name not in self.told:
            return default
        return self.bundle.value(self.told[name], f"{self.place}.{name}")

    @property
    def is_off(self) -> bool:
        return self.get("_disabled_", False) in (True, "true", "True")


class Expressions:
    """The whole configuration of a bundle, whose values are worked out when they are asked for."""

    def __init__(self, raw: dict[str, Any], subject: str) -> None:
        self._raw = raw
        self.subject = subject

    def __contains__(self, name: str) -> bool:
        return name in self._raw

    def at(self, name: str) -> Any:
        """The value under the key ``name`` of the configuration.

        Raises:
            ModelFileError: it is not there, or no plain value.
        """
        return self.value("@" + name, name)

    def value(self, raw: Any, place: str, depth: int = 0) -> Any:
        """``raw`` with references and arithmetic worked out; objects become :class:`Component`.

        Raises:
            ModelFileError: it is no plain value; ``place`` and the fix are told.
        """
        if depth > MAX_DEPTH:
            raise self.refusal(place, f"its references lead deeper than {MAX_DEPTH}: write the value out")
        if isinstance(raw, dict):
            if "_target_" in raw:
                return self._component(raw, place)
            return {key: self.value(entry, f"{place}.{key}", depth + 1) for key, entry in raw.items()}
        if isinstance(raw, list):
            return [self.value(entry, f"{place}.{index}", depth + 1) for index, entry in enumerate(raw)]
        return self._text(raw, place, depth) if isinstance(raw, str) else raw

    def _text(self, raw: str, place: str, depth: int) -> Any:
        if _REFERENCE.fullmatch(raw):
            return self.value(*self._find(raw[1:], place), depth + 1)
        if raw.startswith("$"):
            return self._worked_out(raw, place, depth)
        if raw.startswith(("%", "@")):
            raise self.refusal(
                place, f"{raw!r:.80} is not read (it leads to another file): write the value out"
            )
        return raw

    def refusal(self, place: str, problem: str) -> ModelFileError:
        return ModelFileError(Code.MODEL_UNSUPPORTED, f"{self.subject}: {place}: {problem}")

    def _component(self, raw: dict[str, Any], place: str) -> Component:
        if raw.get("_mode_", "default") != "default" or raw.get("_requires_"):
            raise self.refusal(place, "_mode_ and _requires_ are not known: write the object plainly")
        return Component(str(raw["_target_"]), place, raw, self)

    def _find(self, reference: str, place: str) -> tuple[Any, str]:
        keys = re.split(r"#|::", reference)
        node: Any = self._raw
        for key in keys:
            if isinstance(node, dict) and key in node:
                node = node[key]
            elif isinstance(node, list) and key.isdecimal() and int(key) < len(node):
                node = node[int(key)]
            else:
                raise self.refusal(place, f"{'.'.join(keys):.80} is not there: write the value out")
        return node, ".".join(keys)

    def _worked_out(self, raw: str, place: str, depth: int) -> Any:
        found: dict[str, str] = {}

        def remembered(match: re.Match[str]) -> str:
            name = f"_reference_{len(found)}"
            found[name] = match[1]
            return f" {name} "

        try:
            if len(raw) > _MAX_TEXT:
                raise NotPlainError("a very long text")
            tree = ast.parse(_REFERENCE.sub(remembered, raw[1:]).strip(), mode="eval")
            return _Plain(lambda name: self.value(*self._find(found[name], place), depth + 1), found)(
                tree.body
            )
        except NotPlainError as problem:
            told = str(problem)
        except (SyntaxError, ValueError, TypeError, ArithmeticError, RecursionError, MemoryError) as problem:
            told = type(problem).__name__
        raise self.refusal(
            place,
            f"{raw!r:.80} is an expression with {told:.60}, and expressions are never run: write its value",
        )


class _Plain:
    """Works out a parsed expression, node by node; there is a method for each kind of node that may be."""

    def __init__(self, reference: Callable[[str], Any], names: dict[str, str]) -> None:
        self._reference, self._names = reference, names

    def __call__(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=bool() | int() | float() | str() | None):
                return node.value
            case ast.Name(id=name) if name in self._names:
                return self._reference(name)
            case ast.List(elts=entries) | ast.Tuple(elts=entries):
                return [self(entry) for entry in entries]
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return self(body) if self(test) else self(orelse)
            case ast.Call(func=ast.Name(id="len"), args=[values], keywords=[]):
                return len(self(values))
        return self._operation(node)

    def _operation(self, node: ast.expr) -> Any:
        match node:
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -_number(self(operand))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return not self(operand)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
                return _combined(type(op), self(left), self(right))
            case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _COMPARE:
                return _COMPARE[type(op)](self(left), self(right))
        raise NotPlainError(f"a {type(node).__name__} in it")


def _combined(op: type[ast.operator], left: Any, right: Any) -> Any:
    """Numbers by any operation; texts and lists only joined, and bounded."""
    if op is ast.Add and any(isinstance(left, kind) and isinstance(right, kind) for kind in (str, list)):
        if len(left) + len(right) > _MAX_TEXT:
            raise NotPlainError("a very long value")
        return left + right
    result = _BINARY[op](_number(left), _number(right))
    return _number(result)


def _number(value: Any) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _MAX_NUMBER:
        raise NotPlainError("something that is no number")
    return value

"""What pydantic found wrong, in the words of the user's file: one line a problem, with its dotted path."""

import difflib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

Place = tuple[int | str, ...]

_NO_VALUE = ("missing", "extra_forbidden")
_EXPECTED: dict[str, Callable[[dict[str, Any]], str]] = {
    "int_type": lambda _: "a whole number",
    "int_parsing": lambda _: "a whole number",
    "int_from_float": lambda _: "a whole number",
    "float_type": lambda _: "a number",
    "float_parsing": lambda _: "a number",
    "finite_number": lambda _: "a finite number",
    "bool_type": lambda _: "true or false",
    "bool_parsing": lambda _: "true or false",
    "string_type": lambda _: "text (in quotes)",
    "tuple_type": lambda _: "a list",
    "dict_type": lambda _: "a mapping of keys to values",
    "model_type": lambda _: "a mapping of keys to values",
    "model_attributes_type": lambda _: "a mapping of keys to values",
    "literal_error": lambda ctx: _one_of(str(ctx["expected"])),
    "greater_than": lambda ctx: f"more than {ctx['gt']:g}",
    "greater_than_equal": lambda ctx: f"at least {ctx['ge']:g}",
    "less_than": lambda ctx: f"less than {ctx['lt']:g}",
    "less_than_equal": lambda ctx: f"at most {ctx['le']:g}",
    "multiple_of": lambda ctx: f"a multiple of {ctx['multiple_of']}",
    "too_short": lambda ctx: f"at least {ctx['min_length']} of them",
    "too_long": lambda ctx: f"at most {ctx['max_length']} of them",
    "string_pattern_mismatch": lambda _: (
        "letters, digits, dot, dash or underscore, the first a letter or digit"
    ),
}


@dataclass(frozen=True)
class _Problem:
    place: Place
    """Where it is in the user's file: pydantic's path without the kinds and types of unions."""
    details: ErrorDetails
    is_branch: bool
    """One alternative of a union did not fit; another may say more."""


def explain(errors: Sequence[ErrorDetails], raw: Any, model: type[BaseModel]) -> list[str]:
    """One line for each place of ``raw`` that does not fit ``model``, in the order of ``errors``."""
    problems = [_locate(details, raw) for details in errors]
    deeper = [problem.place for problem in problems]
    groups: dict[Place, list[_Problem]] = defaultdict(list)
    for problem in problems:
        length = len(problem.place)
        if not (problem.is_branch and any(p[:length] == problem.place and len(p) > length for p in deeper)):
            groups[_of_list(problem)].append(problem)
    lines: list[str] = []
    for place, group in groups.items():
        lines += _lines(".".join(str(part) for part in place), group, model)
    return list(dict.fromkeys(lines))


def _locate(details: ErrorDetails, raw: Any) -> _Problem:
    place: list[int | str] = []
    node, chosen, dropped = raw, False, False
    for index, part in enumerate(details["loc"]):
        last = index == len(details["loc"]) - 1
        dropped = True
        if isinstance(node, dict):
            is_kind = not chosen and node.get("kind") == part and not (last and part == "kind")
            chosen = is_kind
            if is_kind or not (part in node or (last and details["type"] in _NO_VALUE)):
                continue
            node = node.get(part)
        elif isinstance(node, list) and isinstance(part, int):
            node = node[part] if part < len(node) else None
        elif not (last and details["type"] in _NO_VALUE):
            continue
        place.append(part)
        chosen, dropped = False, False
    return _Problem(tuple(place), details, dropped)


def _of_list(problem: _Problem) -> Place:
    """Too few entries are a matter of the list, not of the entry that is not there."""
    return problem.place[:-1] if _entry_is_missing(problem) else problem.place


def _entry_is_missing(problem: _Problem) -> bool:
    return problem.details["type"] == "missing" and isinstance(problem.place[-1], int)


def _lines(dotted: str, group: Sequence[_Problem], model: type[BaseModel]) -> list[str]:
    prefix = f"{dotted}: " if dotted else ""
    missing = [int(problem.place[-1]) for problem in group if _entry_is_missing(problem)]
    if missing:
        return [f"{prefix}found {min(missing)} entries; expected {max(missing) + 1}"]
    lines: list[str] = []
    expected: list[str] = []
    hint = ""
    for problem in group:
        details, context = problem.details, problem.details.get("ctx", {})
        match details["type"]:
            case "extra_forbidden":
                lines.append(f"{prefix}unknown key{_known_keys(details['loc'], model)}")
            case "missing":
                lines.append(f"{prefix}missing, and it has no default")
            case "union_tag_invalid" | "union_tag_not_found" | "model_attributes_type":
                lines.append(_no_kind(dotted, details, model))
            case "value_error":
                lines.append(f"{prefix}{context.get('error', details['msg'])}")
            case "literal_error":
                expected.append(_EXPECTED["literal_error"](context))
                hint = _did_you_mean(str(details["input"]), expected[-1].removeprefix("one of ").split(", "))
            case other:
                expected.append(_EXPECTED[other](context) if other in _EXPECTED else _plain(details["msg"]))
    if expected:
        found = _found(group[0].details["input"])
        lines.append(f"{prefix}found {found}; expected {' or '.join(dict.fromkeys(expected))}{hint}")
    return lines


def _no_kind(dotted: str, details: ErrorDetails, model: type[BaseModel]) -> str:
    """A union tells its members apart by ``kind``: it is missing, unknown, or there is no mapping at all."""
    kinds = [kind for kind in map(_kind, _models_at(model, details["loc"])) if kind]
    if not kinds:
        return f"{dotted}: found {_found(details['input'])}; expected a mapping of keys to values"
    choices = ", ".join(kinds)
    if details["type"] == "model_attributes_type":
        return (
            f"{dotted}: found {_found(details['input'])}; expected {{kind: ...}}, kind being one of {choices}"
        )
    tag = details.get("ctx", {}).get("tag")
    if tag is None:
        return f"{dotted}.kind: missing; give one of {choices}"
    return f"{dotted}.kind: found {_found(tag)}; expected one of {choices}{_did_you_mean(str(tag), kinds)}"


def _found(value: Any) -> str:
    if value is None:
        return "nothing"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _one_of(quoted: str) -> str:
    """``'a', 'b' or 'c'`` as ``one of a, b, c``."""
    plain = quoted.replace("'", "").replace(" or ", ", ")
    return f"one of {plain}" if "," in plain else plain


def _plain(message: str) -> str:
    return message[:1].lower() + message[1:]


def _did_you_mean(word: str, choices: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, choices, n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _known_keys(loc: Place, model: type[BaseModel]) -> str:
    keys = sorted({key for candidate in _models_at(model, loc[:-1]) for key in candidate.model_fields})
    return _did_you_mean(str(loc[-1]), keys) or (f" (known here: {', '.join(keys)})" if keys else "")


def _models_at(model: type[BaseModel], loc: Place) -> list[type[BaseModel]]:
    """The models that may stand where pydantic's path leads; the kinds in the path choose among unions."""
    current = [model]
    for part in loc:
        following: list[type[BaseModel]] = []
        for candidate in current:
            field = candidate.model_fields.get(str(part))
            if field is not None:
                following += _models_in(field.annotation)
            elif isinstance(part, int) or _kind(candidate) == part:
                following.append(candidate)
        current = following
    return current


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for argument in get_args(annotation) for found in _models_in(argument)]


def _kind(model: type[BaseModel]) -> str | None:
    field = model.model_fields.get("kind")
    choices = get_args(field.annotation) if field is not None else ()
    return str(choices[0]) if choices else None

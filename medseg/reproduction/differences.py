"""What is not as it was when a run was made: configuration, code, libraries, machine, patients."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from medseg.config import Experiment
from medseg.data import Case, Split, files_of_cases, find_cases, split_cases
from medseg.modelfile import load_model
from medseg.reproduction.recorded import Recorded
from medseg.training.environment import computing, environment, environment_lock, read_lock
from medseg.training.first_weights import open_first_model

Kind = Literal["configuration", "code", "library", "machine", "data", "history"]

_UNSEEN = ("OMP_NUM_THREADS", "PYTHONHASHSEED")
"""Of the first only the number of threads counts, which is compared; of the second nothing depends."""


_SHOWING = frozenset(
    f"medseg/{part}"
    for part in (
        "__init__.py", "__main__.py", "audit", "batch", "cli", "comparison", "convert", "lock.py", "planning",
        "report", "reproduction", "shipped",
    )
)  # fmt: skip
"""Parts of medseg that show, look up or write; no number of a run comes from them."""


@dataclass(frozen=True)
class Difference:
    """One thing that was otherwise; ``counts`` unless no number depends on it."""

    kind: Kind
    what: str
    then: str
    now: str
    counts: bool = True

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}: {self.then} then, {self.now} now"


@dataclass(frozen=True)
class Now:
    """The present, to be compared with a manifest."""

    environment: dict[str, Any]
    lock: dict[str, str]
    split: Split
    files: dict[str, dict[str, str]] = field(default_factory=dict)
    first_weights: str | None = None

    @classmethod
    def of(cls, experiment: Experiment, devices: int) -> "Now":
        """Look at everything; the files of the patients are read.

        Raises:
            CohortError: the patients cannot be found.
        """
        split = split_cases(find_cases(experiment.data, tuple(experiment.labels)), experiment.data)
        first = open_first_model(experiment)
        return cls(
            {**environment(), "computing": computing(experiment, devices)},
            read_lock(environment_lock()),
            split,
            files_of_cases((*split.train, *split.validation, *split.test)),
            first.mark() if first else None,
        )


def differences(recorded: Recorded, now: Now) -> tuple[Difference, ...]:
    """All that differs, the most telling first."""
    then = recorded.manifest
    return (
        *_configuration(recorded),
        *_data(then, now),
        *_first_weights(then, now),
        *_code(then, now),
        *_each("library", then.get("packages"), now.environment["packages"]),
        *_one("library", "python", then.get("python"), now.environment["python"]),
        *_machine(then, now.environment),
        *_history(recorded),
        *_without_weight(recorded, now),
    )


def _configuration(recorded: Recorded) -> Iterator[Difference]:
    """The file beside the model against the configuration within it."""
    used = _flat(load_model(recorded.run.model).experiment.model_dump(mode="json"))
    told = _flat(recorded.experiment.model_dump(mode="json"))
    for flat in (used, told):
        flat.pop("data.cohort")  # one that moved is the same; its files are compared
    yield from _each("configuration", used, told)


def _data(then: Mapping[str, Any], now: Now) -> Iterator[Difference]:
    recorded = then.get("data", {})
    files = recorded.get("files")
    if not isinstance(files, dict):
        yield Difference("data", "hashes of the files", "not recorded", "not to be compared")
        return
    split: dict[str, tuple[Case, ...]] = {
        "train": now.split.train,
        "validation": now.split.validation,
        "test": now.split.test,
    }
    parts = {case.id: part for part, cases in split.items() for case in cases}
    cases = {case.id: case for part in split.values() for case in part}
    parts_then = {name: part for part in split for name in recorded.get(part, ())}
    for name in sorted(parts_then.keys() | parts.keys()):
        told, found = parts_then.get(name, "not there"), parts.get(name, "not there")
        yield from _one("data", f"case {name}", told, found)
        if name in parts and name in parts_then:
            yield from _files(cases[name], files.get(name, {}), now.files.get(name, {}))


def _files(case: Case, then: Mapping[str, str], now: Mapping[str, str]) -> Iterator[Difference]:
    roles = ["image", *(f"image {number}" for number in range(2, len(case.images) + 1)), "label"]
    places = dict(zip(roles, (*case.images, case.label), strict=True))
    for role in sorted(then.keys() | now.keys()):
        place = f" ({places[role]})" if places.get(role) else ""
        old, new = then.get(role, "none")[:12], now.get(role, "none")[:12]
        yield from _one("data", f"case {case.id}: content of {role}{place}", old, new)


def _code(then: Mapping[str, Any], now: Now) -> Iterator[Difference]:
    for difference in _each("code", then.get("code"), now.environment["code"]):
        yield _light(difference) if difference.what in _SHOWING else difference


def _first_weights(then: Mapping[str, Any], now: Now) -> Iterator[Difference]:
    told = then.get("first_weights", {}).get("sha256")
    if told or now.first_weights:
        old, new = (told or "none")[:12], (now.first_weights or "none")[:12]
        yield from _one("data", "model of the first weights", old, new)


def _machine(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Difference]:
    for part in ("hardware", "numerics", "computing", "variables"):
        told, found = dict(then.get(part) or {}), dict(now.get(part) or {})
        for name in ("cores", *_UNSEEN):
            told.pop(name, None), found.pop(name, None)
        yield from _each("machine", told, found)


def _history(recorded: Recorded) -> Iterator[Difference]:
    starts = recorded.run.starts()
    places = list(dict.fromkeys(start.get("environment") for start in starts))
    if len(places) > 1:
        told = f"{len(starts)} starts in {len(places)} environments"
        yield Difference("history", "the run was interrupted and went on elsewhere", told, "one environment")


def _without_weight(recorded: Recorded, now: Now) -> Iterator[Difference]:
    """Told, for whoever looks for a cause; no number of medseg depends on these."""
    then = recorded.manifest
    for difference in _one("code", "git, working folder", then.get("git"), now.environment["git"]):
        yield _light(difference)
    for difference in _one("machine", "system", then.get("system"), now.environment["system"]):
        yield _light(difference)
    path = recorded.run.environment
    known = {name.lower() for name in (*now.environment["packages"], *then.get("packages", {}))}
    lock = read_lock(path.read_text(encoding="utf-8")) if path.is_file() else now.lock
    others = [{n: v for n, v in told.items() if n not in known} for told in (lock, now.lock)]
    for difference in _each("library", others[0], others[1]):
        yield _light(difference)


def _light(difference: Difference) -> Difference:
    return Difference(difference.kind, difference.what, difference.then, difference.now, counts=False)


def _each(kind: Kind, then: object, now: object) -> Iterator[Difference]:
    told, found = then if isinstance(then, dict) else {}, now if isinstance(now, dict) else {}
    for name in _in_order(found, told):
        yield from _one(kind, name, told.get(name, "none"), found.get(name, "none"))


def _one(kind: Kind, what: str, then: object, now: object) -> Iterator[Difference]:
    if then != now:
        yield Difference(kind, what, _text(then), _text(now))


def _text(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


def _in_order(*mappings: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(name for mapping in mappings for name in mapping))


def _flat(value: object, path: str = "") -> dict[str, Any]:
    """Dotted path to value, of nested mappings and lists."""
    if isinstance(value, dict):
        parts = {f"{path}.{name}" if path else str(name): inner for name, inner in value.items()}
    elif isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
        parts = {f"{path}.{index}": inner for index, inner in enumerate(value)}
    else:
        return {path: value}
    return {key: told for name, inner in parts.items() for key, told in _flat(inner, name).items()}

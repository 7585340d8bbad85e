"""What a check can find: each kind of finding with its stable name, how bad it is, and one line a finding."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from medseg.data.naming import safe_id
from medseg.errors import Code, MedsegError


class Severity(StrEnum):
    """How bad a finding is. A fault is wrong, whatever was meant; a warning is so unlike the rest of the
    cohort that a person should look; a note is good to know."""

    FAULT = "fault"
    WARNING = "warning"
    NOTE = "note"


KINDS: Mapping[str, Severity] = {
    "cohort": Severity.FAULT,
    "channels": Severity.FAULT,
    "unreadable": Severity.FAULT,
    "nonfinite": Severity.FAULT,
    "grid-mismatch": Severity.FAULT,
    "not-labels": Severity.FAULT,
    "no-label": Severity.FAULT,
    "cannot-prepare": Severity.FAULT,
    "constant-image": Severity.FAULT,
    "image-is-a-mask": Severity.FAULT,
    "structure-never-drawn": Severity.FAULT,
    "duplicate-image": Severity.FAULT,
    "near-duplicate": Severity.WARNING,
    "duplicate-label": Severity.FAULT,
    "same-patient": Severity.WARNING,
    "left-right-swapped": Severity.FAULT,
    "mirrored": Severity.WARNING,
    "structures-out-of-order": Severity.WARNING,
    "label-shifted": Severity.WARNING,
    "label-mirrored": Severity.WARNING,
    "label-intensity": Severity.WARNING,
    "empty-label": Severity.WARNING,
    "unknown-label-value": Severity.WARNING,
    "contoured-after-all": Severity.WARNING,
    "cut-by-border": Severity.WARNING,
    "size-outlier": Severity.WARNING,
    "speckle": Severity.WARNING,
    "spacing-unit": Severity.FAULT,
    "spacing-outlier": Severity.WARNING,
    "intensity-shifted": Severity.WARNING,
    "intensity-rescaled": Severity.WARNING,
    "other-modality": Severity.WARNING,
    "channels-exchanged": Severity.WARNING,
    "structure-not-judged": Severity.WARNING,
    "values-left-out": Severity.NOTE,
    "left-is-right": Severity.NOTE,
    "small-cohort": Severity.NOTE,
}
"""Names are never given another meaning. ``docs/checking.md`` states the rule of each."""

_KIND_OF: Mapping[Code, str] = {
    Code.CHANNELS: "channels",
    Code.NONFINITE: "nonfinite",
    Code.GRID_MISMATCH: "grid-mismatch",
    Code.NOT_PARALLEL: "grid-mismatch",
    Code.NOT_LABELS: "not-labels",
    Code.TOO_MANY_CLASSES: "not-labels",
    Code.NO_LABEL: "no-label",
    Code.BLANK: "constant-image",
}


@dataclass(frozen=True)
class Finding:
    """``subject`` names what it is about (``case 017``), ``told`` what was found and expected, ``fix`` what
    to do; ``cases`` are the ids of the cases to look at."""

    name: str
    subject: str
    told: str
    fix: str
    cases: tuple[str, ...] = ()

    @property
    def severity(self) -> Severity:
        return KINDS[self.name]

    def __str__(self) -> str:
        fix = f": {self.fix}" if self.fix else ""
        return f"{self.subject}: {self.told}{fix} [{self.name}]"

    def to_json(self) -> dict[str, Any]:
        told = {"name": self.name, "severity": self.severity.value, "subject": self.subject}
        return {**told, "found": self.told, "fix": self.fix, "cases": list(self.cases)}


def of_case(name: str, case: str, told: str, fix: str, *others: str) -> Finding:
    """A finding about one case; ``others`` are further ones that it names."""
    return Finding(name, f"case {case}", told, fix, (case, *others))


def from_error(error: MedsegError, case: str) -> tuple[Finding, ...]:
    """What reading a case refused; the message has its own subject and fix."""
    name = _KIND_OF.get(error.code, "unreadable")
    return tuple(_parsed(name, problem, case, error.code) for problem in error.problems)


def _parsed(name: str, problem: str, case: str, code: Code) -> Finding:
    subject = f"case {case}"
    told = problem.removeprefix(f"{subject}: ")
    return Finding(name, subject, f"{told} ({code})", "", (case,))


def from_cohort(problems: Iterable[str]) -> tuple[Finding, ...]:
    """What the search for cases tells: lines that name their place and their fix."""
    found = []
    for problem in problems:
        subject, _, told = problem.partition(": ")
        name = "channels" if "channel" in told else "cohort"
        case = subject.removeprefix("case ") if subject.startswith("case ") else ""
        found.append(Finding(name, subject, told, "", (case,) if case and case == safe_id(case) else ()))
    return tuple(found)


def ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Faults first, then by the order of the kinds and by case."""
    places = {name: place for place, name in enumerate(KINDS)}
    severities = list(Severity)
    return tuple(
        sorted(findings, key=lambda f: (severities.index(f.severity), places[f.name], f.cases, f.told))
    )

"""The same scan or reference twice, and one patient under two names: what would leak between the folds."""

import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator

import numpy as np

from medseg.audit.cohort import AXES, Cohort
from medseg.audit.findings import Finding, of_case
from medseg.audit.likeness import most_alike
from medseg.audit.look import CaseFacts

SAME, SAME_AT_MOST = 0.945, 0.975
"""Correlation from which two scans are one; ``docs/checking.md`` tells what was measured. In a cohort of
scans that are all alike a pair must be half as far from 1 as the most alike usually are, up to the second."""

_SESSION = re.compile(
    r"^(?P<patient>.*\d)[ ._-]*(?:(?:ses|session|visit|scan|series|tp|time|t|v|day|d|week|w)[ ._-]?\d+|"
    r"baseline|followup|follow[ _-]up|pre|post|planning|repeat|copy|rep|[a-c])$",
    re.IGNORECASE,
)


def identical(cohort: Cohort) -> Iterator[Finding]:
    for names in _groups(cohort, lambda each: each.channels[0].content):
        told = f"its image is voxel by voxel that of case {names[1]}{_where(cohort, names)}"
        yield of_case("duplicate-image", names[0], told, "keep one of them", *names[1:])
    for names in _groups(cohort, lambda each: each.label_content or None):
        if len({cohort.facts[name].channels[0].content for name in names}) == 1:
            continue
        told = f"its reference is voxel by voxel that of case {names[1]}, whose image is another"
        yield of_case("duplicate-label", names[0], told, "correct the path, or draw it anew", *names[1:])


def near(cohort: Cohort, progress: Callable[[int, int], None] | None = None) -> Iterator[Finding]:
    """Scans that are one but for contrast, crop, resolution or a turn, of two patients."""
    ids = cohort.ids
    pairs = list(most_alike([each.thumbnail for each in cohort.facts.values()], progress))
    usual = float(np.median([pair.correlation for pair in pairs if not any(pair.turn)] or [0.0]))
    least = min(max(SAME, (1 + usual) / 2), SAME_AT_MOST)
    for pair in pairs:
        a, b = ids[pair.first], ids[pair.second]
        same = cohort.facts[a].channels[0].content == cohort.facts[b].channels[0].content
        if pair.correlation < least or same or cohort.patient(a) == cohort.patient(b):
            continue
        turned = [AXES[axis] for axis in range(3) if pair.turn[axis]]
        how = f", turned over {' and '.join(turned)}" if turned else ""
        told = (
            f"its image is that of case {b}{how}, but for contrast, crop or resolution "
            f"(correlation {pair.correlation:.3f}, below {least:.2f} in scans of two people)"
            f"{_where(cohort, [a, b])}"
        )
        yield of_case("near-duplicate", a, told, "keep one of them, or give both the same patient", b)


def patients(cohort: Cohort) -> Iterator[Finding]:
    """Names of patients that differ only in how they are written, or in what looks like a visit."""
    spelled: dict[str, set[str]] = defaultdict(set)
    for case in cohort.cases:
        spelled[_plain(case.patient)].add(case.patient)
    visits: dict[str, set[str]] = defaultdict(set)
    for case in cohort.cases:
        found = _SESSION.match(case.patient)
        visits[_plain(found["patient"] if found else case.patient)].add(case.patient)
    told = set()
    for groups, how in ((spelled, "are written alike"), (visits, "look like visits of one patient")):
        for names in groups.values():
            key = frozenset(names)
            if len(names) < 2 or key in told:
                continue
            told.add(key)
            cases = [case.id for case in cohort.cases if case.patient in names]
            text = f"{len(names)} patients of the cases {', '.join(cases[:4])} {how}{_where(cohort, cases)}"
            fix = "give all scans of one person the same name in column patient"
            yield Finding("same-patient", "cohort", text, fix, tuple(cases))


def _plain(name: str) -> str:
    """Without case, marks and leading zeros."""
    return re.sub(r"\d+", lambda number: str(int(number[0])), re.sub(r"[\W_]+", " ", name.casefold()).strip())


def _groups(cohort: Cohort, key: Callable[[CaseFacts], Hashable | None]) -> Iterator[list[str]]:
    groups: dict[Hashable, list[str]] = defaultdict(list)
    for name, each in cohort.facts.items():
        found = key(each)
        if found is not None:
            groups[found].append(name)
    yield from (names for names in groups.values() if len(names) > 1)


def _where(cohort: Cohort, names: list[str]) -> str:
    """In which parts of the split: what leaks now; another fold may part what is together here."""
    parts = dict.fromkeys(cohort.part(name) for name in names)
    return f"; they are in {' and '.join(parts)}" if cohort.split is not None and len(parts) > 1 else ""


RULES = (identical, patients)

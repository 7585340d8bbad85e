"""The pairs behind a comparison: the same structure of the same case in two evaluations."""

from collections.abc import Mapping
from dataclasses import dataclass

from medseg.comparison.direction import OVERALL, as_error, best
from medseg.comparison.sources import Evaluated
from medseg.evaluation import CaseScore, FailedCase, StructureScore

WHOLE_VOLUME = "whole volume"
MEAN = "mean of structures"


@dataclass(frozen=True)
class Pair:
    """One structure of one case: its values in the baseline and in the other evaluation, and how each stands.

    A status is that of the evaluation, or ``failed``.
    """

    case: str
    patient: str
    baseline: float
    other: float
    baseline_status: str = ""
    other_status: str = ""

    @property
    def difference(self) -> float:
        return self.other - self.baseline


@dataclass(frozen=True)
class LeftOut:
    """What could not be paired, and why. ``structure`` is empty when that holds for the whole case."""

    case: str
    structure: str
    reason: str


@dataclass(frozen=True)
class Paired:
    """``structures``: name to its pairs. ``unmeasured``: name to the cases in which neither has a value."""

    structures: Mapping[str, tuple[Pair, ...]]
    unmeasured: Mapping[str, int]
    left_out: tuple[LeftOut, ...]


def common_cases(baseline: Evaluated, other: Evaluated) -> list[str]:
    return [case for case in baseline.cases if case in other.cases]


def pair_up(baseline: Evaluated, other: Evaluated, metric: str, patients: Mapping[str, str]) -> Paired:
    """All pairs of a metric.

    Where one evaluation rightly leaves an absent structure out and the other invents it, the right one has
    the best value of the metric: the invention must not go unseen. Volume errors lose their signs.

    Args:
        patients: of each common case.
    """
    first, second = _Values.of(baseline, metric), _Values.of(other, metric)
    names = dict.fromkeys([*first.structures, *second.structures])
    pairs: dict[str, list[Pair]] = {name: [] for name in names}
    unmeasured = dict.fromkeys(names, 0)
    left_out = _only_in_one(baseline, other)
    for case in common_cases(baseline, other):
        for name in names:
            here, there = first.cell(case, name), second.cell(case, name)
            a, b = _settle(here, there, metric)
            if a is not None and b is not None:
                pairs[name].append(Pair(case, patients[case], a, b, here.status, there.status))
            elif a is None and b is None:
                unmeasured[name] += 1
            else:
                lacking, cell = (baseline.name, here) if a is None else (other.name, there)
                left_out.append(LeftOut(case, name, f"{metric} is undefined in {lacking} ({cell.told})"))
    found = {name: tuple(each) for name, each in pairs.items()}
    if len(found) > 1:
        found[MEAN] = _means(found)
    return Paired(found, unmeasured, tuple(left_out))


def _only_in_one(baseline: Evaluated, other: Evaluated) -> list[LeftOut]:
    ways = ((baseline, other), (other, baseline))
    return [
        LeftOut(case, "", f"not in {lacking.name}")
        for having, lacking in ways
        for case in having.cases
        if case not in lacking.cases
    ]


@dataclass(frozen=True)
class _Cell:
    value: float | None
    status: str
    failed: bool = False

    @property
    def told(self) -> str:
        return "failed" if self.failed else self.status.replace("_", " ") or "no such structure"


@dataclass(frozen=True)
class _Values:
    cells: Mapping[tuple[str, str], _Cell]
    failed: frozenset[str]

    @classmethod
    def of(cls, evaluated: Evaluated, metric: str) -> "_Values":
        cells: dict[tuple[str, str], _Cell] = {}
        for case in evaluated.cases.values():
            if metric.startswith(OVERALL):
                cells[case.case, WHOLE_VOLUME] = _whole(case, metric.removeprefix(OVERALL))
            else:
                cells |= {(case.case, one.structure): _cell(case, one, metric) for one in case.structures}
        failed = (case.case for case in evaluated.cases.values() if isinstance(case, FailedCase))
        return cls(cells, frozenset(failed))

    @property
    def structures(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for _, name in self.cells))

    def cell(self, case: str, structure: str) -> _Cell:
        return self.cells.get((case, structure), _Cell(None, "", case in self.failed))


def _whole(case: CaseScore | FailedCase, metric: str) -> _Cell:
    if isinstance(case, FailedCase):
        return _Cell(0.0, "failed", True)
    return _Cell(case.overall.get(metric), "scored")


def _cell(case: CaseScore | FailedCase, one: StructureScore, metric: str) -> _Cell:
    value, failed = one.values.get(metric), isinstance(case, FailedCase)
    status = "failed" if failed and one.status == "missed" else one.status
    return _Cell(None if value is None else as_error(metric, value), status, failed)


def _settle(a: _Cell, b: _Cell, metric: str) -> tuple[float | None, float | None]:
    if a.status == "both_empty" and a.value is None and b.status == "false_positive" and b.value is not None:
        return best(metric), b.value
    if b.status == "both_empty" and b.value is None and a.status == "false_positive" and a.value is not None:
        return a.value, best(metric)
    return a.value, b.value


def _means(found: Mapping[str, tuple[Pair, ...]]) -> tuple[Pair, ...]:
    """Of each case over the structures that are paired in it."""
    by_case: dict[str, list[Pair]] = {}
    for pairs in found.values():
        for pair in pairs:
            by_case.setdefault(pair.case, []).append(pair)
    return tuple(
        Pair(
            case,
            each[0].patient,
            sum(pair.baseline for pair in each) / len(each),
            sum(pair.other for pair in each) / len(each),
        )
        for case, each in by_case.items()
    )

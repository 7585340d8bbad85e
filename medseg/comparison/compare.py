"""The comparison itself: a row for each structure of each metric of each two evaluations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from jaxtyping import Float64

from medseg.comparison.comparable import patients_of, require_comparable
from medseg.comparison.direction import higher_is_better, require_known
from medseg.comparison.pairs import LeftOut, Pair, pair_up
from medseg.comparison.rules import RULES
from medseg.comparison.signed_rank import DECIMALS, Differences, SignedRank, cohen_dz, holm, signed_rank
from medseg.comparison.sources import Evaluated
from medseg.errors import Code, UsageError
from medseg.evaluation.bootstrap import bca_interval, resample_patients

LEVEL = 0.05
BETTER, WORSE, MIXED, NOT_SHOWN = "better", "worse", "mixed", "not shown"


@dataclass(frozen=True)
class Row:
    """One structure in one metric. Differences are the other evaluation minus the baseline.

    ``cases`` are paired, of ``patients`` different people; ``unmeasured`` ones have no value in either.
    ``low`` and ``high`` bound ``difference`` at 95 %. ``p_holm`` is corrected for all rows of the comparison.
    ``wins`` count the cases in which the other evaluation is better by more than the margin. ``verdict`` is
    ``better``, ``worse``, ``mixed`` (most patients go one way, the mean the other) or ``not shown``. None:
    not defined with so few pairs.
    """

    metric: str
    higher_is_better: bool
    structure: str
    cases: int
    patients: int
    unmeasured: int
    left_out: int
    baseline_mean: float | None
    other_mean: float | None
    difference: float | None
    low: float | None
    high: float | None
    median_difference: float | None
    test: SignedRank | None
    p_holm: float | None
    cohen_dz: float | None
    wins: int
    ties: int
    losses: int
    verdict: str


@dataclass(frozen=True)
class CaseDifference:
    metric: str
    structure: str
    pair: Pair


@dataclass(frozen=True)
class PairComparison:
    """Two evaluations. ``cases`` go by metric, and in each from the largest difference to the smallest."""

    baseline: str
    other: str
    rows: tuple[Row, ...]
    cases: tuple[CaseDifference, ...]
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """All of it. ``evaluations``: name to the path of its table; ``tie`` is the margin of wins and losses."""

    evaluations: Mapping[str, str]
    metrics: tuple[str, ...]
    tie: float
    pairs: tuple[PairComparison, ...]
    rules: tuple[str, ...]


def compare(
    evaluations: Sequence[Evaluated],
    metrics: Sequence[str] = ("dice",),
    *,
    all_pairs: bool = False,
    tie: float = 0.0,
    different_references: bool = False,
    seed: int = 0,
) -> Comparison:
    """Compare each evaluation with the first, or all with one another.

    Args:
        metrics: columns of ``cases.csv``.
        tie: cases whose values differ by no more than this are ties, in the unit of the metric.
        different_references: let references differ, and tell it.
        seed: of the bootstrap.

    Raises:
        UsageError: a metric is unknown, or no evaluation has it.
        CohortError: the evaluations cannot be compared (other cases, references, rules or patients).
    """
    metrics = tuple(dict.fromkeys(metrics))
    require_known(metrics)
    patients = patients_of(evaluations)
    chosen = [(a, b) for a, b in combinations(evaluations, 2) if all_pairs or a is evaluations[0]]
    pairs = []
    for baseline, other in chosen:
        notes = require_comparable(baseline, other, metrics, different_references=different_references)
        pairs.append(replace(_compare_two(baseline, other, metrics, patients, (tie, seed)), notes=notes))
    names = {each.name: str(each.path) for each in evaluations}
    return Comparison(names, metrics, tie, _corrected(pairs), RULES)


def _compare_two(
    baseline: Evaluated,
    other: Evaluated,
    metrics: Sequence[str],
    patients: Mapping[str, str],
    settings: tuple[float, int],
) -> PairComparison:
    rows: list[Row] = []
    cases: list[CaseDifference] = []
    left_out: list[LeftOut] = []
    for metric in metrics:
        paired = pair_up(baseline, other, metric, patients)
        if not any(paired.structures.values()):
            raise UsageError(
                Code.OPTION,
                f"--metric {metric}: {baseline.name} and {other.name} have no pair of values; choose another",
            )
        left_out += [each for each in paired.left_out if each not in left_out]
        for name, pairs in paired.structures.items():
            missing = sum(each.structure in ("", name) for each in paired.left_out)
            row = _row(metric, name, pairs, settings)
            rows.append(replace(row, unmeasured=paired.unmeasured.get(name, 0), left_out=missing))
        found = [
            CaseDifference(metric, name, pair) for name, pairs in paired.structures.items() for pair in pairs
        ]
        cases += sorted(found, key=lambda each: -abs(each.pair.difference))
    return PairComparison(baseline.name, other.name, tuple(rows), tuple(cases), tuple(left_out), ())


def _row(metric: str, structure: str, pairs: Sequence[Pair], settings: tuple[float, int]) -> Row:
    tie, seed = settings
    upwards = higher_is_better(metric)
    differences = np.array([pair.difference for pair in pairs], dtype=np.float64)
    people, by_patient = _by_patient(pairs, differences)
    better = np.round(differences if upwards else -differences, DECIMALS)
    low, high = _interval([pair.patient for pair in pairs], differences, seed)
    return Row(
        metric=metric,
        higher_is_better=upwards,
        structure=structure,
        cases=len(pairs),
        patients=people,
        unmeasured=0,
        left_out=0,
        baseline_mean=_mean([pair.baseline for pair in pairs]),
        other_mean=_mean([pair.other for pair in pairs]),
        difference=_mean(differences.tolist()),
        low=low,
        high=high,
        median_difference=float(np.median(by_patient)) if people else None,
        test=signed_rank(by_patient),
        p_holm=None,
        cohen_dz=cohen_dz(by_patient),
        wins=int((better > tie).sum()),
        ties=int((np.abs(better) <= tie).sum()),
        losses=int((better < -tie).sum()),
        verdict=NOT_SHOWN,
    )


def _by_patient(pairs: Sequence[Pair], differences: Differences) -> tuple[int, Float64[np.ndarray, " p"]]:
    """Number of patients, and the mean difference of each: the test must not take scans for people."""
    names, row = np.unique([pair.patient for pair in pairs], return_inverse=True)
    sums = np.bincount(row, weights=differences, minlength=len(names))
    return len(names), sums / np.bincount(row, minlength=len(names)) if len(names) else np.zeros(0)


def _interval(
    patients: Sequence[str], differences: Differences, seed: int
) -> tuple[float, float] | tuple[None, None]:
    if not len(differences):
        return None, None
    drawn = resample_patients(patients, differences[:, None], seed=seed)
    found = bca_interval(float(drawn.mean[0]), drawn.resampled[:, 0], drawn.left_out[:, 0])
    return found if found is not None else (None, None)


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _corrected(pairs: Sequence[PairComparison]) -> tuple[PairComparison, ...]:
    """Holm over everything that is tested here: structures, metrics and evaluations."""
    tests = [row.test.p for pair in pairs for row in pair.rows if row.test is not None]
    adjusted = iter(holm(tests))
    return tuple(
        replace(
            pair,
            rows=tuple(
                row if row.test is None else _judged(row, row.test, next(adjusted)) for row in pair.rows
            ),
        )
        for pair in pairs
    )


def _judged(row: Row, test: SignedRank, p_holm: float) -> Row:
    verdict = NOT_SHOWN
    if p_holm <= LEVEL:
        ranks_up, mean_up = test.rank_biserial > 0, (row.difference or 0.0) > 0
        verdict = MIXED if ranks_up != mean_up else BETTER if ranks_up == row.higher_is_better else WORSE
    return replace(row, p_holm=p_holm, verdict=verdict)

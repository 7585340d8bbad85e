"""Whether two evaluations may be compared at all: the same references, the same rules, the same patients."""

from collections.abc import Mapping, Sequence

from medseg.comparison.pairs import common_cases
from medseg.comparison.sources import Evaluated
from medseg.errors import Code, CohortError
from medseg.evaluation import CaseScore, FailedCase, StructureScore

_TOLD = 20
_ML = 1e-6
_RULES_OF = {"nsd": "NSD tolerance", "lesion": "Lesions of"}


def require_comparable(
    baseline: Evaluated, other: Evaluated, metrics: Sequence[str], *, different_references: bool
) -> tuple[str, ...]:
    """Refuse what cannot be compared.

    Args:
        different_references: compare scores of different references all the same.

    Returns:
        What was let pass, to be told with the result.

    Raises:
        CohortError: no case in common, other references, or other rules for a metric.
    """
    both = f"{baseline.name} and {other.name}"
    common = common_cases(baseline, other)
    if not common:
        raise CohortError(
            Code.PAIRING, f"{both}: no case in common; give evaluations of the same cases, by the same names"
        )
    for metric in metrics:
        mine, theirs = _rules_of(metric, baseline), _rules_of(metric, other)
        if baseline.rules and other.rules and mine != theirs:
            raise CohortError(
                Code.NOT_COMPARABLE,
                f"{both}: {metric} by different rules ({_listed(mine - theirs)}; {_listed(theirs - mine)}): "
                "run medseg evaluate on both with one rule",
            )
    found = [case for case in common if _references_differ(baseline.cases[case], other.cases[case])]
    if not found:
        return ()
    listed = ", ".join(found[:_TOLD]) + (f" and {len(found) - _TOLD} more" if len(found) > _TOLD else "")
    if different_references:
        return (f"{both}: the references differ in {len(found)} of {len(common)} common cases ({listed}).",)
    raise CohortError(
        Code.NOT_COMPARABLE,
        f"{both}: the references differ in {len(found)} of {len(common)} common cases ({listed}): run medseg "
        "evaluate on both with the same references, or allow it with --different-references",
    )


def _rules_of(metric: str, evaluated: Evaluated) -> set[str]:
    """The rules that the configuration can change."""
    start = _RULES_OF.get(metric.split("_", maxsplit=1)[0])
    return {rule for rule in evaluated.rules if start and rule.startswith(start)}


def _listed(rules: set[str]) -> str:
    return " ".join(sorted(rules)).rstrip(".") or "none"


def _references_differ(a: CaseScore | FailedCase, b: CaseScore | FailedCase) -> bool:
    mine = {one.structure: one for one in a.structures}
    return any(_differ(mine[one.structure], one) for one in b.structures if one.structure in mine)


def _differ(a: StructureScore, b: StructureScore) -> bool:
    if a.reference_hash and b.reference_hash:
        return a.reference_hash != b.reference_hash
    if a.reference_ml is None or b.reference_ml is None:
        return a.reference_ml is not b.reference_ml
    return abs(a.reference_ml - b.reference_ml) > _ML * max(a.reference_ml, b.reference_ml)


def patients_of(evaluations: Sequence[Evaluated]) -> Mapping[str, str]:
    """The patient of each case; an evaluation that has no patients lets each case stand for its own.

    Raises:
        CohortError: two evaluations give one case to different patients.
    """
    told: dict[str, set[str]] = {}
    for evaluated in evaluations:
        for case in evaluated.cases.values():
            told.setdefault(case.case, set()).update({case.patient} - {"", case.case})
    CohortError.raise_if(
        Code.NOT_COMPARABLE,
        (
            f"case {case}: given to {len(names)} different patients; correct the column patient"
            for case, names in told.items()
            if len(names) > 1
        ),
    )
    return {case: next(iter(names), case) for case, names in told.items()}

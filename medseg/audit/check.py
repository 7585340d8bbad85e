"""An experiment checked before it is paid for: findings about its cohort, and what training will cost."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from medseg.audit.cohort import Cohort
from medseg.audit.findings import Finding, Severity, from_cohort, ordered
from medseg.audit.gather import gather
from medseg.audit.robust import ENOUGH
from medseg.audit.rules import duplicates, images, labels, places
from medseg.config import Experiment
from medseg.data import Case, PreparedCache, Split, split_cases
from medseg.data.cohort import search_cases
from medseg.errors import CohortError, MedsegError
from medseg.training.cost import measure_step
from medseg.training.forecast import Forecast, forecast
from medseg.training.survey import survey

Progress = Callable[[str, int, int], None]

_LOOKS_WRONG = ("label-shifted", "label-mirrored", "label-intensity")
_SCALE = ("intensity-shifted", "intensity-rescaled", "other-modality")
EXPLAINS: Mapping[str, tuple[str, ...]] = {
    "constant-image": (*_SCALE, *_LOOKS_WRONG, "mirrored"),
    "image-is-a-mask": (*_SCALE, *_LOOKS_WRONG),
    "channels-exchanged": (*_SCALE, *_LOOKS_WRONG),
    "other-modality": _LOOKS_WRONG,
    "intensity-shifted": _LOOKS_WRONG,
    "intensity-rescaled": _LOOKS_WRONG,
    "mirrored": ("structures-out-of-order", *_LOOKS_WRONG),
    "label-mirrored": ("structures-out-of-order", "label-intensity"),
    "label-shifted": ("label-intensity",),
    "left-right-swapped": ("label-mirrored", "structures-out-of-order"),
    "size-outlier": ("label-shifted", "label-intensity"),
    "speckle": ("size-outlier", "label-shifted", "label-intensity"),
}
"""What a finding makes of other rules in the same case is not told beside it."""


@dataclass(frozen=True)
class Checked:
    """``findings``: the worst first. ``forecast`` is None where faults leave nothing to train on."""

    experiment: Experiment
    cohort: Cohort
    findings: tuple[Finding, ...]
    forecast: Forecast | None

    def count(self, severity: Severity) -> int:
        return sum(finding.severity is severity for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        told = {} if self.forecast is None else self.forecast.to_json()
        return {
            **told,
            "name": self.experiment.name,
            "cases_found": len(self.cohort.cases),
            "cases_read": len(self.cohort.facts),
            "faults": self.count(Severity.FAULT),
            "warnings": self.count(Severity.WARNING),
            "notes": self.count(Severity.NOTE),
            "findings": [finding.to_json() for finding in self.findings],
            "forecast": self.forecast is not None,
        }


def check_experiment(
    experiment: Experiment,
    progress: Progress | None = None,
    *,
    measure: bool = True,
    cache: PreparedCache | None = None,
) -> Checked:
    """Look at every case, compare it with the others, and time a few steps unless ``measure`` is off.

    Args:
        cache: where to keep what was seen of each case, by the content of its files.

    Raises:
        CohortError: there is no cohort at all.
    """
    measured = measure_step(experiment) if measure else None  # first, while memory is as a training finds it
    simulating = partial(progress, "simulating") if progress else None
    found = search_cases(experiment.data, tuple(experiment.labels), progress=simulating)
    findings = list(from_cohort(found.problems))
    gathered = gather(experiment, found.cases, cache, progress)
    findings += gathered.findings
    split, told = _split(experiment, found.cases)
    findings += told
    cohort = Cohort(experiment, found.cases, gathered.facts, split)
    findings += compare(cohort, progress)
    predicted = None
    usable, _ = _split(experiment, tuple(case for case in found.cases if case.id in gathered.facts))
    if usable is not None:
        grids = {name: each.cropped for name, each in gathered.facts.items()}
        try:
            predicted = forecast(
                experiment, survey(experiment, usable, grids, gathered.read_seconds), measured
            )
        except MedsegError as error:
            findings += [Finding("cannot-prepare", "cohort", problem, "") for problem in error.told]
    return Checked(experiment, cohort, ordered(findings), predicted)


def compare(cohort: Cohort, progress: Progress | None = None) -> list[Finding]:
    """What the rules find. A case on another scale would be unlike the others in all that is measured in
    millimetres, so that it is left out of the other rules."""
    findings = list(images.spacing(cohort))
    apart = {case for finding in findings if finding.name == "spacing-unit" for case in finding.cases}
    rest = cohort.without(apart)
    for rules in (labels.RULES, places.RULES, images.RULES):
        for rule in rules:
            findings += list(rule(rest))
    for rule in duplicates.RULES:
        findings += list(rule(cohort))
    comparing = partial(progress, "comparing") if progress else None
    findings += list(duplicates.near(cohort, comparing))
    if not cohort.comparable and cohort.facts:
        told = (
            f"{len(cohort.facts)} cases can be read, which is too few to tell one that is unlike the others"
        )
        findings.append(Finding("small-cohort", "cohort", told, f"rules that compare need {ENOUGH}"))
    return explained(findings)


def explained(findings: list[Finding]) -> list[Finding]:
    """Without what another finding about the same case already explains."""
    named = {(finding.name, case) for finding in findings for case in finding.cases}
    hidden = {(effect, case) for cause, case in named for effect in EXPLAINS.get(cause, ()) if case}
    return [f for f in findings if len(f.cases) != 1 or (f.name, f.cases[0]) not in hidden]


def _split(experiment: Experiment, cases: tuple[Case, ...]) -> tuple[Split | None, list[Finding]]:
    try:
        return split_cases(cases, experiment.data), []
    except CohortError as error:
        return None, list(from_cohort(error.problems))

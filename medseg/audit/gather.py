"""Every case of a cohort looked at, side by side within memory; what was seen before is not read again."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from medseg.audit.findings import Finding, from_error
from medseg.audit.look import CaseFacts, look_closely
from medseg.audit.stored import from_stored, to_arrays, to_json
from medseg.config import Experiment
from medseg.data import Case, PreparedCache
from medseg.errors import MedsegError
from medseg.training.room import SideBySide

Progress = Callable[[str, int, int], None]

VERSION = 2
"""Of what is measured; another one is measured anew."""


@dataclass(frozen=True)
class Gathered:
    """``facts`` of the cases that can be read, ``findings`` of the others."""

    facts: Mapping[str, CaseFacts]
    findings: tuple[Finding, ...]

    @property
    def read_seconds(self) -> float:
        """Of one case, by one thread, when it was read."""
        return sum(each.read_seconds for each in self.facts.values()) / max(1, len(self.facts))


def gather(
    experiment: Experiment,
    cases: Sequence[Case],
    cache: PreparedCache | None = None,
    progress: Progress | None = None,
) -> Gathered:
    """Look at every case; one that cannot be read does not stop the others."""
    facts: dict[str, CaseFacts] = {}
    findings: list[Finding] = []
    recipe = _recipe(experiment)
    with SideBySide() as pool:
        each = pool.each(cases, lambda case: _looked(case, experiment, cache, recipe))
        for done, (case, found) in enumerate(each, start=1):
            if isinstance(found, MedsegError):
                findings += from_error(found, case.id)
            else:
                facts[case.id] = found
            if progress is not None:
                progress("reading", done, len(cases))
    return Gathered(facts, tuple(findings))


def _recipe(experiment: Experiment) -> str:
    told = {
        "check": VERSION,
        "labels": experiment.labels,
        "reading": experiment.data.reading.model_dump(mode="json"),
        "crop": experiment.preprocessing.model_dump(mode="json")["crop"],
    }
    return json.dumps(told, sort_keys=True)


def _looked(case: Case, experiment: Experiment, cache: PreparedCache | None, recipe: str) -> CaseFacts:
    if cache is None:
        return look_closely(case, experiment)
    key = cache.key(case, recipe)
    arrays, told = cache.get(key), cache.meta(key)
    if arrays is not None and told is not None:
        return from_stored(told, arrays, case)
    facts = look_closely(case, experiment)
    cache.put(key, to_arrays(facts), to_json(facts))
    return from_stored(to_json(facts), to_arrays(facts), case)  # a second check must say the same

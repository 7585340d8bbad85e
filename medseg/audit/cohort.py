"""A cohort as the rules of a check see it."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64

from medseg.audit.findings import Finding
from medseg.audit.look import CaseFacts
from medseg.audit.robust import ENOUGH
from medseg.config import Experiment
from medseg.data import Case, Split


@dataclass(frozen=True)
class Cohort:
    """``cases`` as found, ``facts`` of those that can be read; no ``split`` where there are too few."""

    experiment: Experiment
    cases: tuple[Case, ...]
    facts: Mapping[str, CaseFacts]
    split: Split | None

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self.facts)

    @property
    def comparable(self) -> bool:
        """Whether there are enough cases to tell which is unlike the others."""
        return len(self.facts) >= ENOUGH

    def patient(self, case: str) -> str:
        return self.facts[case].look.patient

    def part(self, case: str) -> str:
        """Which part of the split a case is in, as said in a message."""
        if self.split is None:
            return "the cohort"
        if any(each.id == case for each in self.split.test):
            return "held out"
        inside = any(each.id == case for each in self.split.validation)
        return "validation" if inside else "training"

    def without(self, ids: Collection[str]) -> "Cohort":
        return replace(self, facts={name: each for name, each in self.facts.items() if name not in ids})

    def drawn(self, structure: str) -> dict[str, CaseFacts]:
        """The cases that show ``structure``."""
        return {name: each for name, each in self.facts.items() if structure in each.drawn}

    def quantiles(self, channel: int) -> Float64[np.ndarray, "n q"]:
        return np.array([each.channels[channel].quantiles for each in self.facts.values()])


Rule = Callable[[Cohort], Iterator[Finding]]
AXES = ("left to right", "back to front", "foot to head")
"""Canonical axes as said in a message."""

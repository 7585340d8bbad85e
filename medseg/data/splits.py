"""Who is held out, who validates and who trains: by patient, and the same on every machine."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, assert_never

import numpy as np

from medseg.config import DataConfig
from medseg.data.case import Case
from medseg.errors import Code, CohortError

Part = Literal["train", "validation", "test", "folds"]


@dataclass(frozen=True)
class Split:
    """Cases in three parts, each sorted by id. No patient is in two."""

    train: tuple[Case, ...]
    validation: tuple[Case, ...]
    test: tuple[Case, ...]

    def part(self, name: Part) -> tuple[Case, ...]:
        """The cases of a part; ``folds``: all that are not held out."""
        match name:
            case "train":
                return self.train
            case "validation":
                return self.validation
            case "test":
                return self.test
            case "folds":
                return tuple(sorted((*self.train, *self.validation), key=lambda case: case.id))
            case _:
                assert_never(name)


def fold_of_each(cases: Sequence[Case], config: DataConfig) -> dict[str, int | None]:
    """Case id to the fold that it validates in; None: held out.

    Raises:
        CohortError: when there are too few patients for the held-out set and the folds.
    """
    folds = [split_cases(cases, config.model_copy(update={"fold": fold})) for fold in range(config.folds)]
    found = {case.id: fold for fold, split in enumerate(folds) for case in split.validation}
    return {case.id: found.get(case.id) for case in sorted(cases, key=lambda case: case.id)}


def split_cases(cases: Iterable[Case], config: DataConfig) -> Split:
    """Part ``cases`` by patient.

    The sorted patients are shuffled by ``config.seed``; the first ``config.held_out`` of them (a count, or a
    share) are the test, whatever the fold; the others are dealt into ``config.folds`` folds in turn, of which
    ``config.fold`` validates. The order of ``cases`` does not matter.

    Raises:
        CohortError: when there are too few patients for the held-out set and the folds.
    """
    by_id = sorted(cases, key=lambda case: case.id)
    patients = sorted({case.patient for case in by_id})
    order = np.random.default_rng(config.seed).permutation(len(patients))
    shuffled = [patients[index] for index in order]
    held_out = _held_out(config.held_out, len(patients))
    rest = shuffled[held_out:]
    if len(rest) < config.folds:
        raise CohortError(Code.TOO_FEW_CASES, _too_few(len(by_id), len(patients), held_out, config.folds))
    test = frozenset(shuffled[:held_out])
    validation = frozenset(rest[config.fold :: config.folds])
    return Split(
        train=tuple(case for case in by_id if case.patient not in test | validation),
        validation=tuple(case for case in by_id if case.patient in validation),
        test=tuple(case for case in by_id if case.patient in test),
    )


def _held_out(wanted: int | float, patients: int) -> int:
    """A share below 1 gives at least one patient, unless it is 0."""
    if wanted >= 1 or wanted == 0:
        return int(wanted)
    return max(1, round(wanted * patients))


def _too_few(cases: int, patients: int, held_out: int, folds: int) -> str:
    left = max(patients - held_out, 0)
    same = f" ({cases} cases; those of one patient stay together)" if cases > patients else ""
    return (
        f"cohort: {patients} patients{same}, {held_out} held out, {left} left for {folds} folds "
        "(one patient each is needed): lower data.held_out or data.folds, or add patients"
    )

"""Who is held out, who validates and who trains: by patient, and the same on every machine."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from medseg.config import DataConfig
from medseg.data.case import Case
from medseg.errors import Code, CohortError


@dataclass(frozen=True)
class Split:
    """Cases in three parts, each sorted by id. No patient is in two."""

    train: tuple[Case, ...]
    validation: tuple[Case, ...]
    test: tuple[Case, ...]


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

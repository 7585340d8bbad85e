"""Splits: by patient, whatever the order, and the same for ever."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medseg.config import DataConfig
from medseg.data import Case, split_cases
from medseg.errors import CohortError


def config(**settings: object) -> DataConfig:
    return DataConfig.model_validate({"cohort": "x", **settings})


def cases(patients: list[int]) -> list[Case]:
    """One case for each entry, of that patient."""
    return [Case(f"c{n:03d}", (Path("x.nii"),), patient=f"p{patient}") for n, patient in enumerate(patients)]


cohorts = st.lists(st.integers(0, 40), min_size=12, max_size=80).filter(lambda p: len(set(p)) >= 9)
shares = st.one_of(st.integers(0, 4), st.floats(0, 0.4))


@given(cohorts, shares, st.integers(0, 1000), st.integers(2, 5))
def test_every_case_once_and_no_patient_twice(
    patients: list[int], held_out: float, seed: int, folds: int
) -> None:
    everyone = cases(patients)
    validated: list[Case] = []
    for fold in range(folds):
        split = split_cases(everyone, config(held_out=held_out, seed=seed, folds=folds, fold=fold))
        parts = (split.train, split.validation, split.test)
        assert sorted(case.id for part in parts for case in part) == [case.id for case in everyone]
        train, validation, test = ({case.patient for case in part} for part in parts)
        assert not (train & validation or train & test or validation & test)
        assert train and validation
        validated += split.validation
    assert sorted(case.id for case in (*validated, *split.test)) == [case.id for case in everyone]


@given(cohorts, st.randoms(use_true_random=False), st.integers(0, 4))
def test_neither_order_nor_fold_changes_who_is_held_out(
    patients: list[int], random: object, fold: int
) -> None:
    everyone = cases(patients)
    shuffled = list(everyone)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    reference = split_cases(everyone, config())
    assert split_cases(shuffled, config()) == reference
    assert split_cases(shuffled, config(fold=fold)).test == reference.test


@pytest.mark.parametrize(
    ("held_out", "expected"), [(0.2, 4), (0.01, 1), (0, 0), (0.0, 0), (7, 7), (1, 1), (3.0, 3), (0.5, 10)]
)
def test_share_or_count(held_out: float, expected: int) -> None:
    assert len(split_cases(cases(list(range(20))), config(held_out=held_out)).test) == expected


def test_this_split_is_for_ever() -> None:
    split = split_cases(cases(list(range(10))), config(seed=7))
    assert [case.id for case in split.test] == ["c000", "c008"]
    assert [case.id for case in split.validation] == ["c004", "c007"]


def test_seeds_differ() -> None:
    everyone = cases(list(range(30)))
    assert len({split_cases(everyone, config(seed=seed)).test for seed in range(5)}) == 5


def test_too_few_patients() -> None:
    with pytest.raises(CohortError, match="5 patients, 1 held out, 4 left for 5 folds"):
        split_cases(cases(list(range(5))), config())
    with pytest.raises(CohortError, match=r"2 patients \(9 cases; those of one patient stay together\)"):
        split_cases(cases([0, 1, 1, 1, 1, 1, 1, 1, 1]), config())
    with pytest.raises(CohortError, match="30 held out, 0 left"):
        split_cases(cases(list(range(12))), config(held_out=30))
    with pytest.raises(CohortError):
        split_cases([], config())

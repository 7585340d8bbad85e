"""Parts of a cohort by name, and the fold that each patient validates in."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from medseg.config import DataConfig
from medseg.data import Case, fold_of_each, split_cases


@given(
    patients=st.lists(st.integers(1, 3), min_size=8, max_size=20),
    folds=st.integers(2, 5),
    held_out=st.integers(0, 3),
    seed=st.integers(0, 99),
)
def test_each_case_validates_once_or_is_held_out(
    patients: list[int], folds: int, held_out: int, seed: int
) -> None:
    cases = [
        Case(f"p{patient}_{scan}", (Path("x"),), patient=f"p{patient}")
        for patient, scans in enumerate(patients)
        for scan in range(scans)
    ]
    config = DataConfig(cohort="x", folds=folds, held_out=held_out, seed=seed)
    found = fold_of_each(cases, config)
    assert found.keys() == {case.id for case in cases}
    assert len({case.patient for case in cases if found[case.id] is None}) == held_out
    for fold in range(folds):
        split = split_cases(cases, config.model_copy(update={"fold": fold}))
        assert {name for name, of in found.items() if of == fold} == {c.id for c in split.part("validation")}
        assert {name for name, of in found.items() if of is None} == {c.id for c in split.part("test")}
        inside = [case.id for case in split.part("folds")]
        assert inside == sorted({name for name, of in found.items() if of is not None})
        assert sorted(inside) == sorted(case.id for case in (*split.part("train"), *split.part("validation")))
    for patient in {case.patient for case in cases}:
        assert len({found[case.id] for case in cases if case.patient == patient}) == 1

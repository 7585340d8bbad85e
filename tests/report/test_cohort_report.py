"""Masks of a cross-validation in one report: each patient once, whatever is missing."""

import json
import shutil
from hashlib import sha256
from pathlib import Path

import pytest

from medseg.data import find_cases, fold_of_each, split_cases
from medseg.errors import Code, CohortError
from medseg.evaluation import read_cases_csv
from medseg.report.cohort import report_on_cohort
from medseg.report.folders import Comparison, report_on_folders
from medseg.training.environment import environment
from support.training_runs import tiny_experiment


def test_each_patient_is_there_once_and_a_missing_mask_is_a_miss(tiny_cohort: Path, tmp_path: Path) -> None:
    experiment = tiny_experiment(tiny_cohort)
    cases = find_cases(experiment.data, tuple(experiment.labels))
    part = split_cases(cases, experiment.data).part("folds")
    folds = fold_of_each(cases, experiment.data)
    assert {case.id for case in part} == {name for name, fold in folds.items() if fold is not None}
    for case in part[1:]:
        folder = tmp_path / "masks" / f"fold_{folds[case.id]}"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(tiny_cohort / case.id / "label.nii.gz", folder / f"{case.id}_seg.nii.gz")
    summary = report_on_cohort([tmp_path / "masks"], experiment, part, tmp_path / "out")
    scores, failed = read_cases_csv(tmp_path / "out" / "cases.csv")
    assert sorted([*(s.case for s in scores), *(f.case for f in failed)]) == [case.id for case in part]
    assert [f.case for f in failed] == [part[0].id]
    dice = summary.structures[0].metrics["dice"]
    assert (dice.n, dice.minimum, dice.median) == (len(part), 0, 1)
    assert (tmp_path / "out" / "report.html").is_file()

    told = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    references = {case.id: sha256(case.label.read_bytes()).hexdigest() for case in part if case.label}
    assert told["sha256"]["references"] == references
    assert told["sha256"]["predictions"] == {case.id: references[case.id] for case in part[1:]}, "copies"
    masks, labels = tmp_path / "plain", tmp_path / "labels"
    for folder, case in ((folder, case) for folder in (masks, labels) for case in part):
        folder.mkdir(exist_ok=True)
        shutil.copy(tiny_cohort / case.id / "label.nii.gz", folder / f"{case.id}.nii.gz")
    report_on_folders(masks, labels, tmp_path / "folders", Comparison(experiment.labels))
    other = json.loads((tmp_path / "folders" / "evaluation.json").read_text())
    assert told.keys() - other.keys() == {"cohort"} and other.keys() - told.keys() == {"references"}
    assert [told[key] for key in environment()] == [other[key] for key in environment()]


def test_a_patient_twice_or_a_stranger_is_refused(tiny_cohort: Path, tmp_path: Path) -> None:
    experiment = tiny_experiment(tiny_cohort)
    split = split_cases(find_cases(experiment.data, tuple(experiment.labels)), experiment.data)
    name, stranger = split.part("folds")[0].id, split.test[0].id
    for path in (tmp_path / "a" / f"{name}_seg.nii.gz", tmp_path / "b" / f"{name}_seg.nii.gz"):
        path.parent.mkdir()
        path.touch()
    (tmp_path / "b" / f"{stranger}_seg.nii.gz").touch()
    with pytest.raises(CohortError) as caught:
        report_on_cohort([tmp_path], experiment, split.part("folds"), tmp_path / "out")
    assert caught.value.code == Code.PAIRING
    told = str(caught.value)
    assert f"case {name}: two masks" in told
    assert f"{stranger} is not one of the expected cases" in told

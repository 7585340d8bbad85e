"""The options by which a workflow asks for part of a cohort."""

import csv
import json
import sys
from pathlib import Path

import pytest

from medseg.cli import main
from medseg.config import DataConfig
from medseg.data import find_cases, fold_of_each, split_cases
from medseg.io import read_label, write_volume
from medseg.volume import Geometry, Volume
from support.training_runs import tiny_experiment, write_config


def told(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["medseg", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
    out, err = capsys.readouterr()
    return int(str(ended.value.code)), out, err


def test_the_table_of_folds_is_a_cohort_itself(
    tiny_cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = tiny_experiment(tiny_cohort)
    config, table = write_config(tmp_path / "tiny.yaml", experiment), tmp_path / "folds.csv"
    code, out, _ = told(capsys, "split", config, "-o", table)
    assert code == 0
    assert out.splitlines()[0] == "held out: 1 patients, 1 cases"
    assert len(out.splitlines()) == 3
    with table.open(newline="") as file:
        rows = {row["case"]: row for row in csv.DictReader(file)}
    cases = find_cases(experiment.data, ("bright", "dark"))
    folds = fold_of_each(cases, experiment.data)
    assert {name: row["fold"] for name, row in rows.items()} == {
        name: "held out" if fold is None else str(fold) for name, fold in folds.items()
    }
    again = find_cases(DataConfig(cohort=str(table)), ("bright", "dark"))
    assert [(case.id, case.images, case.label, case.patient) for case in again] == [
        (case.id, case.images, case.label, case.patient) for case in cases
    ]


def test_what_may_be_forgiven_holds_for_the_cohorts_own_references_too(
    tiny_cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = tiny_experiment(tiny_cohort)
    config = write_config(tmp_path / "tiny.yaml", experiment)
    (case,) = split_cases(find_cases(experiment.data, ("bright", "dark")), experiment.data).test
    assert case.label is not None
    label = read_label(case.label)
    moved = label.geometry.affine.copy()
    moved[0, 3] += 2  # one voxel
    shifted = Volume(label.array, Geometry(label.geometry.shape, moved))
    write_volume(shifted, tmp_path / "masks" / f"{case.id}_seg.nii.gz")
    command = ("evaluate", tmp_path / "masks", "--config", config, "--split", "test", "-o", tmp_path / "out")
    assert told(capsys, *command)[0] == 3
    assert told(capsys, *command, "--resample-labels")[0] == 0
    found = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert found["reading"]["resample_labels"] is True
    assert found["predictions_off_the_grid"].keys() == {case.id}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["infer"], "no INPUT: give scans, or --split"),
        (["infer", "scan.nii.gz", "--split", "test"], "INPUT and --split together"),
        (["evaluate", "masks"], "references: give REFERENCES, or only --config and --split"),
        (["evaluate", "masks", "references", "--split", "test"], "references: give REFERENCES"),
        (["merge", "nowhere"], "nowhere: not a whole batch"),
        (["reproduce", "nowhere"], "give the folder of a run"),
    ],
)
def test_mistakes_are_told_on_one_line(
    arguments: list[str],
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = told(capsys, *arguments)
    assert code == 2
    assert expected in err
    assert "Traceback" not in err

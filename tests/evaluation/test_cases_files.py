"""cases.csv and summary.json: nothing lost, nothing run, nothing half written."""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest

from medseg.errors import CohortError, EnvironmentProblem
from medseg.evaluation import (
    FailedCase,
    read_cases_csv,
    score_case,
    score_failure,
    summarise,
    write_cases_csv,
    write_summary_json,
)
from medseg.volume import Geometry, Volume

LABELS = {"bladder": 205, "-odd": 1, "never": 9}
GEOMETRY = Geometry((12, 11, 10), np.diag([0.7, 0.9, 2.1, 1.0]))


def noise(seed: int, *values: int) -> Volume:
    array = np.random.default_rng(seed).choice([0, *values], size=GEOMETRY.shape).astype(np.uint8)
    return Volume(array, GEOMETRY)


def evaluation() -> tuple[list, list]:
    truth = noise(0, 205, 1)
    scores = [
        score_case(name, noise(seed, 205, 1), truth, labels=LABELS, patient=patient)
        for seed, (name, patient) in enumerate([("=1+1", "@p"), ("'quoted", "@p"), ('ß, "x"\nline', "-q")], 1)
    ]
    scores.append(score_case("empty", noise(5), truth, labels=LABELS, known={"bladder": False}))
    failed = [
        score_failure(FailedCase("f1", "", "+out of memory, at 3 GB"), truth, labels=LABELS),
        FailedCase("f2", "f2", "no reference"),
    ]
    return scores, failed


def test_what_is_written_is_read_back_without_loss(tmp_path: Path) -> None:
    scores, failed = evaluation()
    path = tmp_path / "new" / "cases.csv"
    write_cases_csv(path, scores, failed)
    read_scores, read_failed = read_cases_csv(path)
    assert summarise(read_scores, read_failed) == summarise(scores, failed)
    assert [score.case for score in read_scores] == [score.case for score in scores]
    for ours, theirs in zip((*scores, *failed), (*read_scores, *read_failed), strict=True):
        assert ours == theirs
    assert [entry.name for entry in path.parent.iterdir()] == ["cases.csv"], "no temporary file stays"


def test_no_cell_starts_a_formula(tmp_path: Path) -> None:
    write_cases_csv(tmp_path / "cases.csv", *evaluation())
    with (tmp_path / "cases.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["case"] for row in rows} >= {"'=1+1", "''quoted"}
    for row in rows:
        for column in ("case", "patient", "structure", "reason"):
            assert not row[column].startswith(("=", "+", "-", "@", "\t"))


def test_undefined_is_an_empty_cell(tmp_path: Path) -> None:
    write_cases_csv(tmp_path / "cases.csv", *evaluation())
    text = (tmp_path / "cases.csv").read_text(encoding="utf-8").lower()
    assert "nan" not in text
    assert "none" not in text
    assert "np.float" not in text


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("scored", "skored", "status 'skored'"),
        ("predicted", "guessed", "outcome 'guessed'"),
        ("scored,", "scored,much", "reference_ml 'much"),
        ("scored,", "scored,nan", "reference_ml 'nan"),
        ("predicted,", "predicted,more,", "cells"),
        ("predicted,", "", "cells"),
        ("outcome", "result", "no column outcome"),
    ],
)
def test_damage_is_named_by_its_line(tmp_path: Path, old: str, new: str, told: str) -> None:
    scores, _ = evaluation()
    path = tmp_path / "cases.csv"
    write_cases_csv(path, scores[-1:], [])
    write_cases_csv(path, scores[:1], [])
    path.write_text(path.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
    with pytest.raises(CohortError, match=r"cases\.csv") as caught:
        read_cases_csv(path)
    assert told in str(caught.value)


def test_a_missing_file_is_one_line() -> None:
    with pytest.raises(CohortError, match="correct the path"):
        read_cases_csv(Path("nowhere.csv"))


def test_summary_is_strict_json(tmp_path: Path) -> None:
    scores, failed = evaluation()
    summary = summarise(scores, failed)
    write_summary_json(tmp_path / "summary.json", summary)

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    text = (tmp_path / "summary.json").read_text(encoding="utf-8")
    told = json.loads(text, parse_constant=refuse)
    assert told["mean"]["dice"]["mean"] == summary.mean["dice"].mean
    assert told["structures"][0]["counts"]["missed"] == 1
    assert told["rules"] == list(summary.rules)
    never = next(one for one in told["structures"] if one["structure"] == "never")
    assert never["metrics"]["dice"]["mean"] is None


def test_a_failed_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "summary.json"
    path.write_text("old", encoding="utf-8")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EnvironmentProblem, match="disk is full"):
        write_summary_json(path, summarise([]))
    assert path.read_text(encoding="utf-8") == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["summary.json"]

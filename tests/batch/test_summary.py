"""The tables of a batch: every patient has a row, and no cell runs in a spreadsheet."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from medseg.batch import BatchResult, PatientResult
from medseg.batch.summary import summary_csv, write_tables
from medseg.inference.review import Review
from medseg.inference.volumes import structure_volumes
from medseg.volume import Geometry, Volume

BATCH = BatchResult(
    (
        PatientResult(
            "a",
            Path("masks/a_seg.nii.gz"),
            {"liver": 1500.25, "spleen": 0.0},
            2.5,
            review=Review(0.25, {"liver": 0.75}, ("expected Dice 0.75, below 0.80", "=spleen: not found")),
        ),
        PatientResult("b", code="E407", problems=("scan.nii.gz: damaged",), inputs=(Path("in/b"),)),
    ),
    left=("c",),
)
JUDGED = ("0.7500", "expected Dice 0.75, below 0.80; =spleen: not found")


def rows(batch: BatchResult) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(summary_csv(batch, ("liver", "spleen")))))


def test_done_failed_and_left_patients_have_a_row_each() -> None:
    first, second, third = rows(BATCH)
    assert list(first.values()) == ["a", "done", "1500.2500", "0.0000", "a_seg.nii.gz", "", "", *JUDGED]
    assert list(second.values()) == ["b", "failed", "", "", "", "E407", "scan.nii.gz: damaged", "", ""]
    assert list(third.values()) == ["c", "not done", "", "", "", "", "", "", ""]
    assert [len(BATCH.done), len(BATCH.failed)] == [1, 1]


def test_the_least_trusted_come_first() -> None:
    def judged(name: str, score: float, *reasons: str) -> PatientResult:
        return PatientResult(name, Path(f"{name}_seg.nii.gz"), review=Review(score, {}, reasons))

    batch = BatchResult((judged("a", 0.1, "x"), judged("b", 0.05), judged("c", 0.3, "y")))
    assert [patient.id for patient in batch.to_review] == ["c", "a"]


def test_failures_have_a_file_as_long_as_there_are_some(tmp_path: Path) -> None:
    write_tables(BATCH, ("liver", "spleen"), tmp_path)
    assert json.loads((tmp_path / "failures.json").read_text()) == [
        {"patient": "b", "code": "E407", "problems": ["scan.nii.gz: damaged"], "inputs": ["in/b"]}
    ]
    before = (tmp_path / "summary.csv").stat()
    write_tables(BATCH, ("liver", "spleen"), tmp_path)
    assert (tmp_path / "summary.csv").stat().st_ino == before.st_ino, "an equal file is left as it is"
    write_tables(BatchResult(BATCH.done), ("liver", "spleen"), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["summary.csv"]


@pytest.mark.parametrize("name", ["=cmd()", "+1", "@SUM(A1)", "-2+3", "\tx"])
def test_formulas_stay_text(name: str) -> None:
    (row,) = rows(BatchResult((PatientResult(name, problems=(name,)),)))
    assert row["patient"] == f"'{name}"
    assert row["problem"] == f"'{name}"


def test_volumes_count_voxels_in_millilitres() -> None:
    array = np.zeros((4, 5, 6), np.uint16)
    array[0], array[1, 0] = 700, 9
    mask = Volume(array, Geometry(array.shape, np.diag([2.0, 2.0, 2.5, 1.0])))
    found = structure_volumes(mask, {"a": 700, "b": 9, "c": 1})
    assert found == {"a": pytest.approx(0.3), "b": pytest.approx(0.06), "c": 0}

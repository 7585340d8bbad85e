"""The summary of a batch: every patient has a row, and no cell runs in a spreadsheet."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest

from medseg.batch import BatchResult, PatientResult
from medseg.batch.infer import structure_volumes, summary_csv
from medseg.volume import Geometry, Volume


def rows(batch: BatchResult) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(summary_csv(batch, ("liver", "spleen")))))


def test_done_and_failed_patients_have_a_row_each() -> None:
    batch = BatchResult(
        (
            PatientResult("a", Path("masks/a_seg.nii.gz"), {"liver": 1500.25, "spleen": 0.0}, 2.5),
            PatientResult("b", problem="scan.nii.gz: damaged"),
        )
    )
    first, second = rows(batch)
    assert (first["patient"], first["status"], first["liver_ml"], first["spleen_ml"]) == (
        "a",
        "done",
        "1500.2500",
        "0.0000",
    )
    assert (second["status"], second["liver_ml"], second["problem"]) == ("failed", "", "scan.nii.gz: damaged")
    assert [len(batch.done), len(batch.failed)] == [1, 1]


@pytest.mark.parametrize("name", ["=cmd()", "+1", "@SUM(A1)", "-2+3", "\tx"])
def test_formulas_stay_text(name: str) -> None:
    (row,) = rows(BatchResult((PatientResult(name, problem=name),)))
    assert row["patient"] == f"'{name}"
    assert row["problem"] == f"'{name}"


def test_volumes_count_voxels_in_millilitres() -> None:
    array = np.zeros((4, 5, 6), np.uint8)
    array[0], array[1, 0] = 7, 9
    mask = Volume(array, Geometry(array.shape, np.diag([2.0, 2.0, 2.5, 1.0])))
    found = structure_volumes(mask, {"a": 7, "b": 9, "c": 1})
    assert found == {"a": pytest.approx(0.3), "b": pytest.approx(0.06), "c": 0}

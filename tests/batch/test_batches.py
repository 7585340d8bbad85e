"""A batch in one process: signals, full disks, unforeseen errors, and masks that are not the batch's own."""

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import nibabel as nib
import pytest

from medseg.batch import BatchModel, BatchOptions, BatchResult, infer_patients, space
from medseg.batch import tasks as batch_tasks
from medseg.data import find_patients
from medseg.errors import Code, EnvironmentProblem
from medseg.inference import Segmenter
from support.batches import Told, tree_hash, write_patients
from support.oracle import write_oracle


class Place:
    def __init__(self, folder: Path) -> None:
        self.model = write_oracle(folder / "oracle.safetensors")
        self.patients = write_patients(folder / "patients", 4)
        self.out = folder / "masks"
        self.told = Told()

    def run(self, out: Path | None = None, **options: Any) -> BatchResult:
        chosen = BatchOptions(**{"workers": 0, **options})
        found = find_patients(self.patients)
        return infer_patients(BatchModel.load(self.model), found, out or self.out, chosen, self.told)

    def require_as_undisturbed(self) -> None:
        self.run(self.out.with_name("clean"))
        assert tree_hash(self.out) == tree_hash(self.out.with_name("clean"))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_the_patient_in_hand_undone(
    place: Place, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_reached(_number: int, _frame: object) -> None:
        pytest.fail("the batch did not take the signal")

    def window(patient: str, _done: int, _total: int) -> None:
        if patient == "p002":
            os.kill(os.getpid(), number)

    before = signal.signal(number, not_reached)
    with monkeypatch.context() as interrupted:
        interrupted.setattr(place.told, "window", window)
        interrupted.setattr(Segmenter, "predict", _twice(Segmenter.predict))
        result = place.run()
    assert result.stopped_by == number
    assert [patient.id for patient in result.done] == ["p000", "p001"]
    assert result.left == ("p002", "p003")
    assert "p002,not done" in (place.out / "summary.csv").read_text()
    assert signal.signal(number, before) is not_reached, "as it was"
    again = place.run()
    assert [patient.id for patient in again.done if patient.seconds is not None] == ["p002", "p003"]
    place.require_as_undisturbed()


def _twice(predict: Any) -> Any:
    """The oracle's scans have one window: the second call comes after the signal, as another window would."""

    def twice(segmenter: Segmenter, scan: Any, *, progress: Any) -> Any:
        predict(segmenter, scan, progress=progress)
        return predict(segmenter, scan, progress=progress)

    return twice


def test_masks_that_do_not_fit_are_refused_before_the_work(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = shutil._ntuple_diskusage(10**9, 10**9 - 1000, 1000)  # type: ignore[attr-defined]
    monkeypatch.setattr(space.shutil, "disk_usage", lambda _folder: few)
    with pytest.raises(EnvironmentProblem, match=r"4 masks need about 1 MiB, the disk has 0 MiB") as caught:
        place.run()
    assert caught.value.code == Code.DISK_FULL
    assert not list(place.out.glob("*.nii.gz"))


def test_a_disk_that_fills_up_stops_the_batch_and_a_rerun_goes_on(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def full(mask: Any, path: Path, *others: Any) -> Any:
        calls.append(path)
        if len(calls) == 3:
            raise EnvironmentProblem(
                Code.DISK_FULL, f"{path}: cannot be written (the disk is full); free some"
            )
        return write(mask, path, *others)

    write = batch_tasks.write_mask
    with monkeypatch.context() as filled, pytest.raises(EnvironmentProblem, match="the disk is full"):
        filled.setattr("medseg.batch.hands.write_mask", full)
        place.run()
    assert len(list(place.out.glob("*.nii.gz"))) == 2
    again = place.run()
    assert len([patient for patient in again.done if patient.seconds is not None]) == 2
    place.require_as_undisturbed()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RuntimeError("shapes differ\nsecond line"), "E804"),
        (MemoryError(), "E703"),
        (ZeroDivisionError("Doe^John"), "E805"),
    ],
)
def test_an_error_that_no_one_foresaw_is_one_patients(
    place: Place, error: Exception, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict = Segmenter.predict

    def failing(segmenter: Segmenter, scan: Any, *, progress: Any) -> Any:
        place.told.reasons["calls"] = place.told.reasons.get("calls", 0) + 1
        if place.told.reasons["calls"] in (2, 5):
            raise error
        return predict(segmenter, scan, progress=progress)

    monkeypatch.setattr(Segmenter, "predict", failing)
    result = place.run()
    assert [(patient.id, patient.code) for patient in result.failed] == [("p001", code)]
    assert len(result.done) == 3
    assert "Doe" not in (place.out / "failures.json").read_text()
    assert ("p001" in place.told.retried) == (code == "E703")
    if code != "E703":
        assert "test_batches.py" in (place.out / ".medseg" / "dumps" / "p001.txt").read_text()


def test_a_mask_that_somebody_drew_is_set_aside_and_never_overwritten(place: Place) -> None:
    place.out.mkdir()
    (place.out / "p001_seg.nii.gz").write_text("drawn by hand for hours")
    place.run()
    kept = place.out / ".medseg" / "replaced" / "p001_seg.1.nii.gz"
    assert kept.read_text() == "drawn by hand for hours"
    assert nib.load(place.out / "p001_seg.nii.gz").shape
    place.require_as_undisturbed()


def test_the_mask_of_a_patient_that_fails_now_does_not_stay(place: Place) -> None:
    place.run()
    scan = place.patients / "p001" / "ct.nii.gz"
    scan.write_bytes(scan.read_bytes()[:-50])
    result = place.run()
    assert [patient.id for patient in result.failed] == ["p001"]
    assert not (place.out / "p001_seg.nii.gz").exists()
    place.require_as_undisturbed()


def test_patients_that_are_gone_keep_their_masks_and_are_not_told_of(place: Place) -> None:
    place.run()
    shutil.rmtree(place.patients / "p003")
    assert [patient.id for patient in place.run().done] == ["p000", "p001", "p002"]
    assert (place.out / "p003_seg.nii.gz").exists()
    assert "p003" not in (place.out / "summary.csv").read_text()
    manifest = json.loads((place.out / "manifest.json").read_text())
    assert list(manifest["others"]) == ["p003"]


def test_a_file_that_grows_while_it_is_read_is_refused(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    load = batch_tasks.load_images

    def loading(case: Any) -> Any:
        volumes = load(case)
        if case.id == "p002":
            os.utime(case.images[0])
        return volumes

    monkeypatch.setattr(batch_tasks, "load_images", loading)
    (failure,) = place.run().failed
    assert (failure.id, failure.code) == ("p002", "E451")

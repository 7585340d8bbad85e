"""G13: what an earlier run finished is done only as long as scan, model, settings and mask are the same."""

import json
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medseg.batch import BatchModel, BatchOptions, BatchResult, infer_patients
from medseg.data import find_patients
from support.batches import scan_of, tree_hash, write_patients
from support.oracle import CODE_STEP, write_oracle

pytestmark = [
    pytest.mark.long,
    pytest.mark.row("G13"),
    pytest.mark.usefixtures("annotations_at_rest"),
]
PATIENTS = [f"p{number:03d}" for number in range(4)]


def computed(result: BatchResult) -> dict[str, str]:
    """The patients that were not done before, and why."""
    return {patient.id: patient.why for patient in result.done if patient.seconds is not None}


class Place:
    """Four patients that one run has finished."""

    def __init__(self, folder: Path) -> None:
        self.model = write_oracle(folder / "oracle.safetensors")
        self.patients = write_patients(folder / "patients", len(PATIENTS))
        self.masks = folder / "masks"
        self.overlap: float | None = None
        first = self.infer(self.masks)
        assert {patient.id: patient.why for patient in first.done} == dict.fromkeys(PATIENTS, "missing")

    def infer(self, out: Path, *, verify: bool = False) -> BatchResult:
        model = BatchModel.load(self.model)
        if self.overlap is not None:
            model = model.with_inference(model.inference.model_copy(update={"overlap": self.overlap}))
        return infer_patients(model, find_patients(self.patients), out, BatchOptions(0, verify=verify))

    def run(self, *, verify: bool = False) -> dict[str, str]:
        """Run the batch; the patients that were computed, and why. The tree must be that of a clean run."""
        result = self.infer(self.masks, verify=verify)
        assert not result.failed
        clean = self.masks.with_name(f"clean-{len(list(self.masks.parent.iterdir()))}")
        self.infer(clean)
        assert tree_hash(self.masks) == tree_hash(clean)
        again = self.infer(self.masks)
        assert again.done and not computed(again), "and then nothing is left to do"
        return computed(result)

    def scan(self, patient: str) -> Path:
        return self.patients / patient / "ct.nii.gz"

    def mask(self, patient: str) -> Path:
        return self.masks / f"{patient}_seg.nii.gz"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def same_times(path: Path, data: bytes) -> None:
    """Other content; the modification time is set back, as an archive or a copy that keeps times would."""
    before = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_mtime_ns == before.st_mtime_ns


def test_a_scan_with_other_voxels_but_the_same_size_and_time(place: Place) -> None:
    scan = place.scan("p001")
    plain = scan.with_name("ct.nii")
    plain.write_bytes(scan_of(1).to_bytes())
    scan.unlink()
    assert place.run() == {"p001": "input changed"}
    same_times(plain, scan_of(99).to_bytes())
    assert place.run() == {"p001": "input changed"}
    voxels = np.asarray(nib.load(place.mask("p001")).dataobj)
    assert np.array_equal(voxels, np.asarray(scan_of(99).dataobj) // CODE_STEP)


def test_a_scan_with_another_time_and_the_same_voxels_is_done(place: Place) -> None:
    os.utime(place.scan("p002"))
    copy = place.scan("p003").read_bytes()
    place.scan("p003").unlink()
    place.scan("p003").write_bytes(copy)
    assert place.run() == {}


def test_another_model(place: Place) -> None:
    write_oracle(place.model, spacing_mm=(2.5, 2.5, 2.5))
    assert place.run() == dict.fromkeys(PATIENTS, "model changed")


def test_other_settings(place: Place) -> None:
    place.overlap = 0.25
    assert place.run() == dict.fromkeys(PATIENTS, "settings changed")


def test_a_truncated_mask(place: Place) -> None:
    mask = place.mask("p001")
    mask.write_bytes(mask.read_bytes()[:-20])
    assert place.run() == {"p001": "mask changed or truncated"}
    kept = list((place.masks / ".medseg" / "replaced").iterdir())
    assert [path.name for path in kept] == ["p001_seg.1.nii.gz"], "what was there is not destroyed"


def test_a_deleted_mask(place: Place) -> None:
    place.mask("p003").unlink()
    assert place.run() == {"p003": "mask missing"}


def test_a_flipped_bit_in_a_mask_is_seen_when_asked_to_verify(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that rots changes no time: sizes and times are as they were, all of them."""
    from medseg.batch import plan as planning

    data = bytearray(place.mask("p002").read_bytes())
    data[len(data) // 2] ^= 4
    before = planning.seen_of_patient
    remembered = {case.id: before(case, place.mask(case.id)) for case in find_patients(place.patients).cases}
    place.mask("p002").write_bytes(data)
    with monkeypatch.context() as rotten:
        rotten.setattr(planning, "seen_of_patient", lambda case, _mask: remembered[case.id])
        assert not computed(place.infer(place.masks)), "trusted, as told"
    assert place.run(verify=True) == {"p002": "mask changed or truncated"}


def test_a_damaged_record(place: Place) -> None:
    """Manifest and journal say the same; what neither says any more is computed."""
    manifest, journal = place.masks / "manifest.json", place.masks / ".medseg" / "journal.jsonl"
    manifest.write_bytes(manifest.read_bytes()[:300])
    assert place.run() == {}, "the journal knows"
    told = json.loads(manifest.read_text())
    told["patients"]["p000"]["volumes_ml"]["organ_1"] = 1e6
    manifest.write_text(json.dumps(told))
    assert place.run() == {}, "the journal knows better"
    manifest.unlink()
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(lines[:2]) + lines[2][: len(lines[2]) // 2])
    assert place.run() == dict.fromkeys(PATIENTS[2:], "record damaged")

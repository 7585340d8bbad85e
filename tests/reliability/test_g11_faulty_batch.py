"""G11: a batch of 200 patients with ten faults: 190 masks, ten named failures; a rerun touches no more."""

import csv
import json
import re
import time
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medseg.batch import BatchModel, BatchOptions, infer_patients
from medseg.data import find_patients
from support.batches import FAULTS, faulty_patients, medseg, tree_hash, write_patients
from support.oracle import CODE_STEP, write_oracle
from support.warm_start import WarmStart

pytestmark = [pytest.mark.row("G11"), pytest.mark.usefixtures("annotations_at_rest")]
PATIENTS = 200
FEW = 40


@dataclass
class Clean:
    """The folder that one run of the real command line gave."""

    place: Path
    masks: Path
    stderr: str
    code: int
    seconds: float
    started: int


@dataclass
class Few:
    """The patients of a short run, and the hash of what it gave."""

    place: Path
    tree: str


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Clean:
    place = tmp_path_factory.mktemp("g11")
    write_oracle(place / "oracle.safetensors")
    write_patients(place / "patients", PATIENTS, faults=True)
    started, start = time.time_ns(), time.monotonic()
    done = medseg(*COMMAND, "--workers", 2, cwd=place)
    return Clean(place, place / "masks", done.stderr, done.returncode, time.monotonic() - start, started)


COMMAND = ("infer", "patients", "--model", "oracle.safetensors", "-o", "masks")
FAULTY = dict(zip(faulty_patients(PATIENTS), FAULTS, strict=True))


@pytest.mark.long
def test_190_masks_hold_what_the_oracle_knows(clean: Clean) -> None:
    assert clean.code == 3, clean.stderr
    assert "Traceback" not in clean.stderr
    good = [f"p{number:03d}" for number in range(PATIENTS) if f"p{number:03d}" not in FAULTY]
    assert len(good) == 190
    assert sorted(p.name for p in clean.masks.glob("*.nii.gz")) == [f"{name}_seg.nii.gz" for name in good]
    for name in good:
        scan, mask = (
            nib.load(path)
            for path in (
                clean.place / "patients" / name / "ct.nii.gz",
                clean.masks / f"{name}_seg.nii.gz",
            )
        )
        assert np.array_equal(np.asarray(mask.dataobj), np.asarray(scan.dataobj) // CODE_STEP), name
        assert np.array_equal(mask.affine, scan.affine)
    assert clean.seconds < 240


def test_ten_failures_are_named_with_code_and_fix(clean: Clean) -> None:
    failures = json.loads((clean.masks / "failures.json").read_text())
    assert {failure["patient"]: failure["code"] for failure in failures} == FAULTY
    for failure in failures:
        assert failure["inputs"], "where it lies"
        (problem,) = failure["problems"]
        assert "\n" not in problem
        assert failure["patient"] in problem
        assert failure["patient"] in clean.stderr
        assert re.search(rf"failed: {failure['patient']}: .*\[{failure['code']}\]", clean.stderr)
    with (clean.masks / "summary.csv").open(newline="") as file:
        rows = {row["patient"]: row for row in csv.DictReader(file)}
    assert len(rows) == PATIENTS
    assert {name: row["code"] for name, row in rows.items() if row["status"] == "failed"} == FAULTY


def test_a_rerun_touches_only_the_failed(clean: Clean, warm: WarmStart) -> None:
    before = {path: path.stat() for path in clean.masks.glob("*_seg.nii.gz")}
    log = clean.masks / ".medseg" / "log.jsonl"
    known = len(log.read_text().splitlines())
    whole = tree_hash(clean.masks)
    done = warm.run(*COMMAND, cwd=clean.place)
    assert done.returncode == 3, done.stderr
    lines = [json.loads(line) for line in log.read_text().splitlines()[known:]]
    assert {line["patient"] for line in lines if line["event"] == "failed"} == set(FAULTY)
    assert not [line for line in lines if line["event"] == "done"]
    after = {path: path.stat() for path in clean.masks.glob("*_seg.nii.gz")}
    same = ("st_ino", "st_mtime_ns", "st_ctime_ns", "st_size")
    assert {p: [getattr(s, name) for name in same] for p, s in before.items()} == {
        p: [getattr(s, name) for name in same] for p, s in after.items()
    }
    assert tree_hash(clean.masks) == whole
    assert "190 of 200 patients done (190 of them before), 10 failed" in done.stderr


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Few:
    """A fifth of the patients and all ten faults, by two workers."""
    place = tmp_path_factory.mktemp("few")
    write_oracle(place / "oracle.safetensors")
    write_patients(place / "patients", FEW, faults=True)
    return Few(place, infer_few(place, place / "masks", 2))


def infer_few(place: Path, out: Path, workers: int) -> str:
    """The tree of results, of 30 masks and ten failures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)  # paths are part of what is told
        model = BatchModel.load(Path("oracle.safetensors"))
        result = infer_patients(model, find_patients(Path("patients")), out, BatchOptions(workers))
    assert (len(result.done), len(result.failed)) == (FEW - len(FAULTS), len(FAULTS))
    return tree_hash(out)


@pytest.mark.parametrize("workers", [0, 1])
def test_the_tree_is_the_same_for_any_number_of_workers(few: Few, workers: int, tmp_path: Path) -> None:
    assert infer_few(few.place, tmp_path / "masks", workers) == few.tree

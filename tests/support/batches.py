"""Folders of tiny patients for the oracle, ten faults among them, and the real command line over them."""

import gzip
import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import psutil
import pydicom
import pytest
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from medseg.batch import PatientResult
from medseg.batch.log import RunLog
from support.oracle import CODE_STEP

SHAPE = (16, 14, 12)


def scan_of(seed: int, shape: Sequence[int] = SHAPE, spacing_mm: float = 2.0) -> nib.Nifti1Image:
    """A scan in the oracle's codes: cubes of a random structure each."""
    random = np.random.default_rng(seed)
    blocks = random.integers(0, 4, [-(-n // 4) for n in shape])
    classes = blocks.repeat(4, 0).repeat(4, 1).repeat(4, 2)[: shape[0], : shape[1], : shape[2]]
    image = nib.Nifti1Image((classes * CODE_STEP).astype(np.int16), np.diag([spacing_mm] * 3 + [1.0]))
    image.set_sform(image.affine, 1)
    image.set_qform(image.affine, 1)
    return image


def write_patient(folder: Path, seed: int, shape: Sequence[int] = SHAPE) -> Path:
    folder.mkdir(parents=True)
    path = folder / "ct.nii.gz"
    path.write_bytes(gzip.compress(scan_of(seed, shape).to_bytes(), 1, mtime=0))
    return path


def write_patients(root: Path, count: int, faults: bool = False) -> Path:
    """``count`` folders ``p000``, ``p001``, ...; with ``faults``, ten of them are those of ``FAULTS``."""
    root.mkdir(parents=True, exist_ok=True)
    faulty = dict(zip(faulty_patients(count), FAULTS.values(), strict=True)) if faults else {}
    for number in range(count):
        folder = root / f"p{number:03d}"
        if folder.name in faulty:
            folder.mkdir()
            faulty[folder.name](folder)
        else:
            write_patient(folder, number)
    return root


def faulty_patients(count: int) -> list[str]:
    return [f"p{number:03d}" for number in np.linspace(1, count - 2, len(FAULTS)).astype(int)]


def _bytes() -> bytes:
    return gzip.compress(scan_of(0).to_bytes(), 1, mtime=0)


def _truncated(folder: Path) -> None:
    (folder / "ct.nii.gz").write_bytes(_bytes()[:-100])


def _flipped(folder: Path) -> None:
    data = bytearray(_bytes())
    data[-6] ^= 1
    (folder / "ct.nii.gz").write_bytes(data)


def _not_a_number(folder: Path) -> None:
    image = scan_of(0)
    voxels = np.asarray(image.dataobj, dtype=np.float32)
    voxels[3, 4, 5] = np.nan
    nib.save(nib.Nifti1Image(voxels, image.affine), folder / "ct.nii.gz")


def _four_dimensions(folder: Path) -> None:
    nib.save(nib.Nifti1Image(np.zeros((*SHAPE, 2), np.int16), np.eye(4)), folder / "ct.nii.gz")


def _no_scan(folder: Path) -> None:
    (folder / "ct.nii.gz").write_bytes(b"this is no scan, whatever its name says\n" * 20)


def _empty(folder: Path) -> None:
    (folder / "notes.txt").write_text("the scan got lost")


def _pipe(folder: Path) -> None:
    os.mkfifo(folder / "ct.nii.gz")


def _two_images(folder: Path) -> None:
    (folder / "t1.nii.gz").write_bytes(_bytes())
    (folder / "t2.nii.gz").write_bytes(_bytes())


def _forms_disagree(folder: Path) -> None:
    image = scan_of(0)
    image.set_qform(image.affine @ np.diag([-1.0, 1, 1, 1]), 1)
    nib.save(image, folder / "ct.nii.gz")


def _slice_missing(folder: Path) -> None:
    write_series(folder, [k for k in range(8) if k != 4])


FAULTS: dict[str, Callable[[Path], None]] = {
    "E406": _truncated,
    "E407": _flipped,
    "E431": _not_a_number,
    "E412": _four_dimensions,
    "E405": _no_scan,
    "E305": _empty,
    "E402": _pipe,
    "E306": _two_images,
    "E421": _forms_disagree,
    "E444": _slice_missing,
}
"""The code that each fault has to be told by."""


def write_series(folder: Path, slices: Sequence[int]) -> None:
    """A CT series of 16 x 16 pixels with these slices of 3 mm."""
    series, frame = "1.2.826.0.1.3680043.8.498.1", "1.2.826.0.1.3680043.8.498.2"
    for k in slices:
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = f"{series}.{k + 1}"
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image = pydicom.Dataset()
        image.file_meta = meta
        image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        image.SeriesInstanceUID, image.FrameOfReferenceUID, image.Modality = series, frame, "CT"
        image.StudyInstanceUID, image.InstanceNumber = frame, k + 1
        image.ImageOrientationPatient, image.PixelSpacing = [1, 0, 0, 0, 1, 0], [2, 2]
        image.ImagePositionPatient, image.SliceThickness = [0, 0, 3 * k], 3
        image.Rows = image.Columns = 16
        image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
        image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 1
        image.RescaleSlope, image.RescaleIntercept = 1, 0
        image.PixelData = np.full((16, 16), 100 * (k % 4), np.int16).tobytes()
        image.save_as(folder / f"{k:03d}.dcm", enforce_file_format=True)


def tree_hash(folder: Path) -> str:
    """Names and contents of all files but what tells of the runs themselves."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if name.parts[0] != ".medseg" and path.is_file():
            digest.update(f"{name}\n{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def medseg_command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "medseg", *(str(argument) for argument in arguments)]


def medseg(*arguments: object, cwd: Path, timeout: float = 280) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        medseg_command(*arguments), cwd=cwd, capture_output=True, text=True, timeout=timeout, check=False
    )


class Sniper:
    """Hits the processes of a patient's stage as the batch logs them, before they get their order.

    ``act`` is a signal, or is called with the process id. The first ``limit`` processes of it are meant;
    ``shots`` tells when they were hit.
    """

    def __init__(self, patient: str, stage: str, act: int | Callable[[int], None], limit: int = 1) -> None:
        self._target = (patient, stage)
        self._act = act
        self._limit = limit
        self._patch = pytest.MonkeyPatch()
        self.shots: list[float] = []

    def __enter__(self) -> "Sniper":
        add = RunLog.add

        def adding(log: RunLog, event: str, **told: Any) -> None:
            add(log, event, **told)
            if event == "started" and (told["patient"], told["stage"]) == self._target:
                self._shoot(told["pid"])

        self._patch.setattr(RunLog, "add", adding)
        return self

    def __exit__(self, *_: object) -> None:
        self._patch.undo()

    def _shoot(self, pid: int) -> None:
        if len(self.shots) < self._limit:
            self.shots.append(time.monotonic())
            if callable(self._act):
                self._act(pid)
            else:
                os.kill(pid, self._act)


def at_work(out: Path, stage: str, number: int) -> Callable[[int], None]:
    """Sends ``number`` to a process that is in the middle of its work.

    That is when a writer's temporary file is there, and when a reader has taken memory for voxels.
    """

    def wait_and_shoot(pid: int) -> None:
        process = psutil.Process(pid)
        before = process.memory_info().rss
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if stage == "writing" and list(out.glob(".medseg-*")):
                break
            if stage == "reading" and process.memory_info().rss > before + (4 << 20):
                break
            time.sleep(0.0005)
        os.kill(pid, number)

    def shoot(pid: int) -> None:
        threading.Thread(target=wait_and_shoot, args=(pid,), daemon=True).start()

    return shoot


@dataclass
class Told:
    """A listener that notes what it is told, and when."""

    results: dict[str, PatientResult] = field(default_factory=dict)
    retried: dict[str, str] = field(default_factory=dict)
    when: dict[str, float] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)

    def planned(self, patients: int, reasons: Mapping[str, int]) -> None:
        self.reasons = dict(reasons)

    def window(self, patient: str, done: int, total: int) -> None: ...

    def finished(self, result: PatientResult) -> None:
        self.results[result.id] = result
        self.when.setdefault(result.id, time.monotonic())

    def again(self, patient: str, problem: str) -> None:
        self.retried[patient] = problem
        self.when.setdefault(patient, time.monotonic())

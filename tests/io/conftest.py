"""Makes small DICOM series that a scanner could have made."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

Positions = Sequence[Sequence[float]]


def _write_series(
    folder: Path,
    positions: Positions,
    *,
    stored: np.ndarray | None = None,
    orientation: Sequence[float] = (1, 0, 0, 0, 1, 0),
    uid: str | None = None,
    **tags: Any,
) -> np.ndarray:
    """Writes one file a position, named out of order; returns the stored values (slice, row, column)."""
    if stored is None:
        stored = np.random.default_rng(7).integers(0, 4000, (len(positions), 4, 6), dtype=np.uint16)
    folder.mkdir(parents=True, exist_ok=True)
    uid = uid or generate_uid()
    for n, position in enumerate(positions):
        one = Dataset()
        one.file_meta = FileMetaDataset()
        one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        one.SOPClassUID, one.SOPInstanceUID = CTImageStorage, generate_uid()
        one.file_meta.MediaStorageSOPClassUID = one.SOPClassUID
        one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
        one.SeriesInstanceUID, one.SeriesNumber, one.Modality = uid, 4, "CT"
        one.PatientName, one.PatientID = "Secret^Name", "SECRET-ID"
        one.ImageOrientationPatient = [float(c) for c in orientation]
        one.ImagePositionPatient = [float(p) for p in position]
        one.PixelSpacing = [0.8, 0.5]
        one.Rows, one.Columns = stored.shape[1:]
        one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
        one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 12, 11, 0
        one.RescaleSlope, one.RescaleIntercept = 1, -1024
        one.PixelData = stored[n].tobytes()
        for name, value in tags.items():
            setattr(one, name, value[n] if isinstance(value, list) else value)
        name = f"{uid[-6:]}_{(n * 7) % (len(positions) * 7 - 1):03d}_{n}.dcm"
        one.save_as(folder / name, enforce_file_format=True)
    return stored


@pytest.fixture
def write_series() -> Callable[..., np.ndarray]:
    return _write_series

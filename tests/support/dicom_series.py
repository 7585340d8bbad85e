"""Small DICOM series that a scanner could have made, and where each of their voxels lies."""

import tempfile
import warnings
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from pydicom import uid as uids
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.filereader import dcmread
from pydicom.uid import generate_uid

from medseg.volume import Volume

Positions = Sequence[Sequence[float]]
ABSENT = object()
"""A tag of this value is left out of the file."""

SPACING = (0.8, 0.5)
AXES = {
    "axial": (1, 0, 0, 0, 1, 0),
    "coronal": (1, 0, 0, 0, 0, -1),
    "sagittal": (0, 1, 0, 0, 0, -1),
    "oblique": (0.8, 0.6, 0, -0.36, 0.48, 0.8),
}
_JPEG_LS = tuple(
    bytes.fromhex(
        "ffd8fff7000b0b0010000c01011100ffda000801010000000000000000"
        + first
        + "65be77dfa29aaba28a4b632db8ebce9122"
        "ac6761cf209208106cd75d2b6b9cfbed9a6e4296d6bcf16e6d46b948eba5b9b17188471c2dcd6b8c4236d96e6b5c623b4d16e6a6"
        "cd772492dcd9b35dc820b7366cd777bcb7366cd77738b7356cd77738b7356ce66d696e6a5b99b4ffd9"
    )
    for first in ("fce8", "f658", "e9d8", "dd58")
)
"""The slices of ``jpeg_ls_slices`` as CharLS encodes them: no encoder is among what medseg needs."""


def jpeg_ls_slices() -> np.ndarray:
    row, column = np.mgrid[:16, :12]
    return np.stack([1000 + 100 * k + 17 * row + column**2 for k in range(4)]).astype(np.uint16)


def line(count: int, orientation: Sequence[float] = AXES["axial"], step_mm: float = 2.5) -> list[np.ndarray]:
    """Positions of ``count`` slices along the normal."""
    normal = np.cross(orientation[:3], orientation[3:])
    return [np.array([-10.0, 5.0, 3.0]) + normal * step_mm * k for k in range(count)]


def noise(count: int, rows: int = 4, columns: int = 6, seed: int = 7) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4000, (count, rows, columns), dtype=np.uint16)


def write_series(
    folder: Path,
    positions: Positions,
    *,
    stored: np.ndarray | None = None,
    orientation: Sequence[float] = AXES["axial"],
    uid: str | None = None,
    syntax: str = uids.ExplicitVRLittleEndian,
    name: Callable[[int], str] | None = None,
    also: Dataset | None = None,
    **tags: Any,
) -> np.ndarray:
    """Write one file a position, named out of order; returns the stored values (slice, row, column).

    ``also`` holds more elements. A tag may be one value (a tuple when it has several), a list with one
    for each slice, or ``ABSENT``.
    """
    stored = noise(len(positions)) if stored is None else stored
    folder.mkdir(parents=True, exist_ok=True)
    uid = uid or generate_uid()
    for n, position in enumerate(positions):
        one = image(stored[n], uid, syntax)
        one.ImageOrientationPatient = [float(c) for c in orientation]
        one.ImagePositionPatient = [float(p) for p in position]
        one.PixelSpacing = list(SPACING)
        one.RescaleSlope, one.RescaleIntercept = 1, -1024
        one.update(deepcopy(also or Dataset()))
        set_tags(one, {tag: value[n] if isinstance(value, list) else value for tag, value in tags.items()})
        usual = f"{uid.split('.')[-1][-4:]}_{(n * 7) % (len(positions) * 7 - 1):03d}_{n}.dcm"
        save(one, folder / (name(n) if name else usual))
    return stored


def write_multiframe(
    file: Path, positions: Positions, *, stored: np.ndarray | None = None, mr: bool = False, **tags: Any
) -> np.ndarray:
    """Write one enhanced file with a frame a position."""
    stored = noise(len(positions)) if stored is None else stored
    one = image(stored, generate_uid(), uids.ExplicitVRLittleEndian)
    one.SOPClassUID = uids.EnhancedMRImageStorage if mr else uids.EnhancedCTImageStorage
    one.file_meta.MediaStorageSOPClassUID = one.SOPClassUID
    one.Modality, one.NumberOfFrames = "MR" if mr else "CT", len(positions)
    one.SharedFunctionalGroupsSequence = [Dataset()]
    shared = one.SharedFunctionalGroupsSequence[0]
    shared.PlaneOrientationSequence = [_item(ImageOrientationPatient=[float(c) for c in AXES["axial"]])]
    shared.PixelMeasuresSequence = [_item(PixelSpacing=list(SPACING))]
    if not mr:
        shared.PixelValueTransformationSequence = [_item(RescaleSlope=1, RescaleIntercept=-1024)]
    one.PerFrameFunctionalGroupsSequence = [
        _item(PlanePositionSequence=[_item(ImagePositionPatient=[float(p) for p in position])])
        for position in positions
    ]
    set_tags(one, tags)
    file.parent.mkdir(parents=True, exist_ok=True)
    save(one, file)
    return stored


def image(stored: np.ndarray, series_uid: str, syntax: str) -> Dataset:
    """A CT image with its pixels and without a place."""
    one = Dataset()
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = syntax
    one.SOPClassUID, one.SOPInstanceUID = uids.CTImageStorage, generate_uid()
    one.file_meta.MediaStorageSOPClassUID = one.SOPClassUID
    one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
    one.SeriesInstanceUID, one.SeriesNumber, one.Modality = series_uid, 4, "CT"
    one.PatientName, one.PatientID = "Secret^Name", "SECRET-ID"
    one.Rows, one.Columns = stored.shape[-2:]
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    one.BitsAllocated, one.BitsStored, one.HighBit = 8 * stored.dtype.itemsize, 12, 11
    one.PixelRepresentation = int(stored.dtype.kind == "i")
    if syntax == uids.JPEGLosslessSV1:
        one.PixelData = encapsulate([_jpeg_lossless(stored)])
    elif syntax == uids.JPEGLSLossless:
        found = next(k for k, one_slice in enumerate(jpeg_ls_slices()) if np.array_equal(one_slice, stored))
        one.PixelData = encapsulate([_JPEG_LS[found]])
    elif syntax == uids.ExplicitVRBigEndian:
        one.PixelData = stored.astype(stored.dtype.newbyteorder(">")).tobytes()
    else:
        one.PixelData = stored.tobytes()
        if syntax in {uids.RLELossless, uids.JPEG2000Lossless}:
            one.file_meta.TransferSyntaxUID = uids.ExplicitVRLittleEndian
            one.compress(syntax, generate_instance_uid=False)
    return one


def set_tags(dataset: Dataset, tags: dict[str, Any]) -> None:
    for tag, value in tags.items():
        if value is not ABSENT:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # values against the standard are wanted here
                setattr(dataset, tag, list(value) if isinstance(value, tuple) else value)
        elif tag in dataset:
            delattr(dataset, tag)


def save(dataset: Dataset, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.get("SOPClassUID", uids.CTImageStorage)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.save_as(file, enforce_file_format=True)


@dataclass(frozen=True)
class Truth:
    """What a series holds: the real value of each stored pixel, and DICOM's own account of its place."""

    values: np.ndarray
    positions: Positions
    orientation: Sequence[float] = AXES["axial"]

    def require(self, volume: Volume) -> None:
        """Every voxel lies where PS3.3 C.7.6.2.1.1 puts it, with its value, whatever the axes' order."""
        assert sorted(volume.array.shape) == sorted(self.values.shape)
        k, r, c = (axis.ravel() for axis in np.indices(self.values.shape))
        row, column = np.array(self.orientation[:3], float), np.array(self.orientation[3:], float)
        lps = (
            np.array(self.positions, float)[k]
            + np.outer(c, row) * SPACING[1]
            + np.outer(r, column) * SPACING[0]
        )
        homogeneous = np.column_stack([lps * (-1, -1, 1), np.ones(len(lps))])
        index = (homogeneous @ np.linalg.inv(volume.geometry.affine).T)[:, :3]
        nearest = np.rint(index).astype(int)
        off_mm = np.linalg.norm((index - nearest) @ volume.geometry.affine[:3, :3].T, axis=1)
        assert off_mm.max() < 0.02, off_mm.max()  # twice the largest jitter that is let pass here
        np.testing.assert_array_equal(
            volume.array[tuple(nearest.T)].astype(np.float64), self.values.ravel().astype(np.float32)
        )


def _item(**tags: Any) -> Dataset:
    item = Dataset()
    set_tags(item, tags)
    return item


def _jpeg_lossless(stored: np.ndarray) -> bytes:
    """The slice as GDCM encodes it."""
    with tempfile.TemporaryDirectory() as folder:
        writer = sitk.ImageFileWriter()
        writer.SetFileName(str(Path(folder) / "one.dcm"))
        writer.SetUseCompression(True)
        writer.SetCompressor("JPEG")
        writer.Execute(sitk.GetImageFromArray(stored[np.newaxis]))
        written = dcmread(Path(folder) / "one.dcm")
    assert written.file_meta.TransferSyntaxUID == uids.JPEGLosslessSV1
    return next(generate_frames(written.PixelData, number_of_frames=1))

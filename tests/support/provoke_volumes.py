"""For each code of a volume, a file or a call that brings it about, through the functions a user calls."""

import os
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import medseg.io.write
from medseg.errors import Code
from medseg.io import read_label, read_volume, write_volume
from medseg.transforms.grid import axis_maps
from medseg.volume import Geometry, Volume, require_same_grid
from support.dicom_fixture import write_dicom
from support.malicious import endless_zeros, nifti_header, nrrd_header, written

Provoke = Callable[[Path], object]
GRID = Geometry((4, 4, 4), np.diag([2.0, 2, 2, 1]))


def nifti(change: Callable[[nib.Nifti1Header], object] = lambda header: None, **image: object) -> Provoke:
    """A small scan with one thing changed in its header."""

    def provoke(folder: Path) -> object:
        array = image.get("array", np.arange(64, dtype=np.int16).reshape(4, 4, 4))
        picture = nib.Nifti1Image(array, np.diag([2.0, 2, 2, 1]))
        picture.set_qform(picture.affine, 1)
        picture.set_sform(picture.affine, 1)
        data = picture.to_bytes()
        header = nib.Nifti1Header(data[:348], check=False)
        header["scl_slope"], header["scl_inter"] = 1, 0
        change(header)
        return read_volume(written(folder, "a.nii", header.binaryblock + data[348:]))

    return provoke


def file(name: str, content: bytes) -> Provoke:
    return lambda folder: read_volume(written(folder, name, content))


def _field(name: str, value: object) -> Callable[[nib.Nifti1Header], object]:
    return lambda header: header.__setitem__(name, value)


def _pipe(folder: Path) -> object:
    os.mkfifo(folder / "a.nii")
    return read_volume(folder / "a.nii")


def _cut(folder: Path, *, by: int = 0, flip: bool = False) -> object:
    write_volume(Volume(np.arange(64, dtype=np.int16).reshape(4, 4, 4), GRID), folder / "a.nii.gz")
    data = bytearray((folder / "a.nii.gz").read_bytes())
    if flip:
        data[-6] ^= 1
    (folder / "a.nii.gz").write_bytes(data[: len(data) - by])
    return read_volume(folder / "a.nii.gz")


def _sheared(folder: Path) -> object:
    affine = GRID.affine.copy()
    affine[1, 2] = 1.0
    write_volume(Volume(np.zeros((4, 4, 4), np.uint8), Geometry((4, 4, 4), affine)), folder / "a.nrrd")
    return None


def _turned(folder: Path) -> object:
    c, s = np.cos(0.5), np.sin(0.5)
    affine = np.diag([2.0, 2, 2, 1])
    affine[:2, :2] = 2 * np.array([[c, -s], [s, c]])
    return axis_maps(GRID, Geometry((4, 4, 4), affine))


def _fractions(folder: Path) -> object:
    write_volume(Volume(np.full((4, 4, 4), 0.5, np.float32), GRID), folder / "a.nii")
    return read_label(folder / "a.nii")


def _written_otherwise(folder: Path) -> object:
    with pytest.MonkeyPatch.context() as patch:
        honest = medseg.io.write.write_nifti
        patch.setattr(
            medseg.io.write,
            "write_nifti",
            lambda volume, path: honest(volume.with_array(volume.array + np.uint8(1)), path),
        )
        return write_volume(Volume(np.zeros((4, 4, 4), np.uint8), GRID), folder / "a.nii")


def _sparse(folder: Path) -> object:
    path = written(folder, "a.nii", nifti_header((32767, 32767, 16384)))
    os.truncate(path, 352 + 32767 * 32767 * 16384)
    return read_volume(path)


def dicom(**changes: object) -> Provoke:
    def provoke(folder: Path) -> object:
        write_dicom(folder / "series", **changes)
        return read_volume(folder / "series")

    return provoke


VOLUMES: dict[Code, Provoke] = {
    Code.NO_FILE: lambda folder: read_volume(folder / "a.nii"),
    Code.NOT_REGULAR: _pipe,
    Code.EMPTY_FILE: file("a.nii", b""),
    Code.CANNOT_OPEN: lambda folder: read_volume(folder / ("a" * 300 + ".nii")),
    Code.NOT_A_VOLUME: file("a.nii", b"this is no scan" * 100),
    Code.TRUNCATED: lambda folder: _cut(folder, by=20),
    Code.DAMAGED: lambda folder: _cut(folder, flip=True),
    Code.SURPLUS_BYTES: file("a.nii", nifti_header((4, 4, 4)) + bytes(65)),
    Code.HEADER: nifti(_field("dim", [3, -4, 4, 4, 1, 1, 1, 1])),
    Code.GRID_MISMATCH: lambda _: require_same_grid(
        GRID, Geometry((4, 4, 5), GRID.affine), "image and label"
    ),
    Code.NOT_PARALLEL: _turned,
    Code.NOT_3D: nifti(array=np.zeros((4, 4, 4, 2), np.int16)),
    Code.COLOUR: nifti(array=np.zeros((4, 4, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")])),
    Code.COMPLEX: nifti(array=np.zeros((4, 4, 4), np.complex64)),
    Code.VOXEL_TYPE: nifti(_field("datatype", 999)),
    Code.UNSUPPORTED: file("a.nrrd", nrrd_header("4 4 4", "bzip2")),
    Code.BOMB: lambda folder: read_volume(
        written(folder, "a.nii.gz", endless_zeros(nifti_header((2000, 2000, 2500)), 10_000_000_000, 31))
    ),
    Code.NO_ORIENTATION: nifti(
        lambda header: (_field("sform_code", 0)(header), _field("qform_code", 0)(header))
    ),
    Code.FORMS_DISAGREE: nifti(_field("srow_x", [-2.0, 0, 0, 0])),
    Code.AFFINE: nifti(_field("srow_x", [0.0, 0, 0, 0])),
    Code.UNIT: nifti(_field("xyzt_units", 7)),
    Code.SHEARED: _sheared,
    Code.SLOPE: lambda folder: read_volume(_with_slope(folder)),
    Code.NONFINITE: nifti(array=np.full((4, 4, 4), np.nan, np.float32)),
    Code.NOT_LABELS: _fractions,
    Code.DICOM_HEADER: dicom(cut_header=True),
    Code.DICOM_NO_SERIES: dicom(modality="SR"),
    Code.DICOM_SEVERAL_SERIES: dicom(series=2),
    Code.DICOM_ONE_SLICE: dicom(slices=1),
    Code.DICOM_UNEVEN: dicom(without=3),
    Code.DICOM_DOUBLED: dicom(same_place=True),
    Code.DICOM_SPACING: dicom(other_spacing=True),
    Code.DICOM_PIXELS: dicom(cut_pixels=True),
    Code.DICOM_GEOMETRY: dicom(no_orientation=True),
    Code.DICOM_MIXED: dicom(other_size=True),
    Code.CANNOT_STORE: lambda folder: write_volume(
        Volume(np.zeros((4, 4, 4), np.uint8), GRID), folder / "a.jpg"
    ),
    Code.MEMORY: _sparse,
    Code.READ_BACK: _written_otherwise,
    Code.CALL: lambda _: Volume(np.zeros((2, 2, 2)), GRID),
}


def _with_slope(folder: Path) -> Path:
    data = bytearray(nifti_header((4, 4, 4)) + bytes(64))
    data[112:116] = np.float32("nan").tobytes()
    return written(folder, "a.nii", bytes(data))

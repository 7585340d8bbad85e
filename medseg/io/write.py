"""The one safe writer: a temporary file, flushed, read back and compared, and only then named."""

from hashlib import file_digest
from pathlib import Path

import numpy as np

from medseg.errors import Code, EnvironmentProblem, VolumeError
from medseg.files import named_when_whole
from medseg.io.deflate import slabs
from medseg.io.itk import write_itk
from medseg.io.nifti import read_nifti_forms
from medseg.io.nifti_write import write_nifti
from medseg.io.paths import NIFTI_SUFFIXES, volume_suffix
from medseg.io.read import read_volume
from medseg.io.values import Voxels, narrowed, require_finite
from medseg.volume import Geometry, Volume

WRITABLE_SUFFIXES = (*NIFTI_SUFFIXES, ".nrrd", ".mha")
_TOLERANCE_MM = 1e-3


def write_volume(volume: Volume, path: Path | str) -> str:
    """Write ``volume`` to ``path`` (.nii.gz, .nii, .nrrd or .mha), whole or not at all.

    Integers are written in the smallest integer type that holds them, floats as float32, never rescaled. The
    file is read back and compared before it gets its name; folders on the way are made.

    Returns:
        SHA-256 of the file's bytes, in hexadecimal digits.

    Raises:
        VolumeError: for an unknown suffix, non-finite voxels, or what the format cannot hold.
        EnvironmentProblem: when the disk is full, the folder cannot be written to, or what was written reads
            back as something else.
    """
    path = Path(path)
    suffix = volume_suffix(path)
    if suffix not in WRITABLE_SUFFIXES:
        raise VolumeError(
            Code.CANNOT_STORE,
            f"{path.name}: cannot be written; name it with one of {', '.join(WRITABLE_SUFFIXES)}",
        )
    prepared = _storable(volume, path.name)
    with named_when_whole(path, suffix) as temporary:
        try:
            (write_nifti if suffix in NIFTI_SUFFIXES else write_itk)(prepared, temporary)
        except VolumeError as error:
            raise error.about(path.name) from None
        return _verified(prepared, temporary, path)


def _storable(volume: Volume, name: str) -> Volume:
    kind = volume.array.dtype.kind
    if kind in "iub":
        return volume.with_array(narrowed(volume.array))
    if kind != "f":
        raise VolumeError(
            Code.CANNOT_STORE,
            f"{name}: voxels of type {volume.array.dtype} cannot be written; give real numbers",
        )
    with np.errstate(over="ignore"):
        single = volume.astype(np.float32)
    require_finite(single.array, "refuse", name)
    return single


def _verified(wanted: Volume, temporary: Path, path: Path) -> str:
    """Read ``temporary`` back; its SHA-256 when it holds what was ``wanted``."""
    try:
        found = read_volume(temporary)
        told = read_nifti_forms(temporary) if volume_suffix(path) in NIFTI_SUFFIXES else []
        with temporary.open("rb") as file:
            digest = file_digest(file, "sha256").hexdigest()
    except VolumeError as error:
        raise _differs(path, f"cannot be read back ({error.code})") from None
    for geometry in (found.geometry, *told):
        _require_same_place(wanted.geometry, geometry, path)
    if found.array.dtype != wanted.array.dtype or not same_voxels(found.array, wanted.array):
        raise _differs(path, "holds other voxels when read back")
    return digest


def _require_same_place(wanted: Geometry, found: Geometry, path: Path) -> None:
    if found.shape != wanted.shape:
        raise _differs(path, f"has the shape {found.shape} when read back, not {wanted.shape}")
    distance = found.displacement_mm(wanted)
    if distance > _TOLERANCE_MM:
        raise _differs(path, f"lies {distance:.3g} mm off when read back")


def same_voxels(a: Voxels, b: Voxels) -> bool:
    """Whether both hold the same bits; slab by slab, quick also where their orders in memory differ."""
    return all(
        np.array_equal(_words(a[:, :, start:end]), _words(b[:, :, start:end])) for start, end in slabs(a)
    )


def _words(slab: Voxels) -> np.ndarray:
    """The bytes of ``slab``, i running fastest, eight at a time where that is possible."""
    flat = slab.reshape(-1, order="F").view(np.uint8)
    return flat.view(np.uint64) if flat.size % 8 == 0 else flat


def _differs(path: Path, how: str) -> EnvironmentProblem:
    return EnvironmentProblem(
        Code.READ_BACK, f"{path}: what was written {how}; it is not kept: check the disk and the memory"
    )

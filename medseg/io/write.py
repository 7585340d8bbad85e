"""The one safe writer: a temporary file, flushed, read back and compared, and only then named."""

import errno
import os
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import numpy as np

from medseg.errors import Code, EnvironmentProblem, VolumeError
from medseg.io.itk import write_itk
from medseg.io.nifti_write import write_nifti
from medseg.io.paths import NIFTI_SUFFIXES, volume_stem, volume_suffix
from medseg.io.read import read_volume
from medseg.io.values import narrowed, require_finite
from medseg.volume import Volume

WRITABLE_SUFFIXES = (*NIFTI_SUFFIXES, ".nrrd", ".mha")
_TOLERANCE_MM = 1e-3


def write_volume(volume: Volume, path: Path | str) -> None:
    """Write ``volume`` to ``path`` (.nii.gz, .nii, .nrrd or .mha), whole or not at all.

    Integers are written in the smallest integer type that holds them, floats as float32, never rescaled. The
    file is read back and compared before it gets its name; folders on the way are made.

    Raises:
        VolumeError: for an unknown suffix, non-finite voxels, or what the format cannot hold.
        EnvironmentProblem: when the disk is full, or the folder cannot be written to.
    """
    path = Path(path)
    suffix = volume_suffix(path)
    if suffix not in WRITABLE_SUFFIXES:
        raise VolumeError(
            Code.CANNOT_STORE,
            f"{path.name}: cannot be written; name it with one of {', '.join(WRITABLE_SUFFIXES)}",
        )
    prepared = _storable(volume, path.name)
    temporary = path.with_name(f".{volume_stem(path)[:64]}.{uuid4().hex[:8]}{suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        (write_nifti if suffix in NIFTI_SUFFIXES else write_itk)(prepared, temporary)
        _flush(temporary)
        _compare(prepared, temporary)
        temporary.replace(path)
        _flush_folder(path.parent)
    except OSError as error:
        raise _environment_problem(path, error) from None
    except (VolumeError, EnvironmentProblem) as error:
        raise error.about(path.name) from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


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


def _compare(wanted: Volume, temporary: Path) -> None:
    found = read_volume(temporary)
    distance = found.geometry.displacement_mm(wanted.geometry)
    if distance > _TOLERANCE_MM:
        raise VolumeError(
            Code.CANNOT_STORE, f"written grid is {distance:.3g} mm from the volume's own; write .nii.gz"
        )
    if found.array.dtype != wanted.array.dtype or not np.array_equal(found.array, wanted.array):
        raise EnvironmentProblem(
            Code.READ_BACK, "written voxels differ from the volume's own when read back; check the disk"
        )


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open folders; its rename is already durable
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _environment_problem(path: Path, error: OSError) -> EnvironmentProblem:
    fixes = {
        errno.ENOSPC: "free some disk space",
        errno.EDQUOT: "free some of your disk quota",
        errno.EACCES: "choose a folder you may write to",
        errno.EPERM: "choose a folder you may write to",
        errno.EROFS: "choose a folder that is not read-only",
        errno.EISDIR: "choose another name, a folder has this one",
        errno.ENAMETOOLONG: "choose a shorter name",
    }
    fix = fixes.get(error.errno or 0, "choose another folder or disk")
    return EnvironmentProblem(
        Code.CANNOT_WRITE, f"{path.name}: cannot be written ({error.strerror or error}); {fix}"
    )

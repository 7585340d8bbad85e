"""File names: which files hold a volume, and what a volume is called."""

import stat
from pathlib import Path

from medseg.errors import Code, VolumeError

NIFTI_SUFFIXES = (".nii.gz", ".nii")
ITK_SUFFIXES = (".nrrd", ".nhdr", ".mha", ".mhd")
VOLUME_SUFFIXES = NIFTI_SUFFIXES + ITK_SUFFIXES


def volume_suffix(path: Path) -> str:
    """The suffix of ``path`` among ``VOLUME_SUFFIXES`` (lower case), or ``""``."""
    name = path.name.lower()
    return next((suffix for suffix in VOLUME_SUFFIXES if name.endswith(suffix)), "")


def volume_stem(path: Path) -> str:
    """The file name without its volume suffix: ``scan.nii.gz`` is ``scan``; other names keep theirs."""
    suffix = volume_suffix(path)
    return path.name[: -len(suffix)] if suffix else path.name


def is_volume_file(path: Path) -> bool:
    """Whether ``path`` is a file with a volume's name. Hidden files (``._scan.nii.gz``) are none."""
    return bool(volume_suffix(path)) and not path.name.startswith(".") and path.is_file()


def require_regular_file(path: Path) -> int:
    """The size of ``path`` in bytes.

    Raises:
        VolumeError: when there is no such file, or it is a pipe or a device, which could block for ever.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        raise VolumeError(Code.NO_FILE, f"{path.name}: there is no such file; correct the path") from None
    except OSError as error:
        raise VolumeError(
            Code.CANNOT_OPEN, f"{path.name}: cannot be looked at ({error.strerror}); check its permissions"
        ) from None
    if not stat.S_ISREG(status.st_mode):
        raise VolumeError(
            Code.NOT_REGULAR, f"{path.name}: not a regular file; give the path of a volume or a DICOM folder"
        )
    if status.st_size == 0:
        raise VolumeError(Code.EMPTY_FILE, f"{path.name}: an empty file; copy or export it anew")
    return status.st_size

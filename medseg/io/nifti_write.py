"""Writing NIfTI: slope 1, intercept 0, sform = qform; the same volume gives the same bytes."""

from itertools import chain
from pathlib import Path
from typing import IO

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError

from medseg.files import write_flushed
from medseg.io.deflate import deflate, voxel_bytes
from medseg.io.payload import GZIP
from medseg.volume import Geometry, Volume

_QFORM_TOLERANCE_MM = 1e-3
_SFORM_TOLERANCE_MM = 5e-4
_SCANNER = 1
_NIFTI1_LARGEST_AXIS = 32767


def write_nifti(volume: Volume, path: Path) -> None:
    """Write ``volume`` as .nii or .nii.gz by the name's ending, flushed to the disk.

    A sheared affine has no qform; its code is then 0 and the sform alone holds. NIfTI-2 is written where
    NIfTI-1 has not the digits for the axes or the affine.

    Raises:
        OSError: as the system says.
    """
    pieces = chain([_header(volume)], voxel_bytes(volume.array))

    def write(file: IO[bytes]) -> None:
        if path.name.lower().endswith(".gz"):
            deflate(file, pieces, GZIP)
        else:
            file.writelines(pieces)

    write_flushed(path, write)


def _header(volume: Volume) -> bytes:
    kind = nib.Nifti1Header if _fits_nifti1(volume.geometry) else nib.Nifti2Header
    header = kind(endianness="<")
    header.set_data_dtype(volume.array.dtype)
    header.set_data_shape(volume.array.shape)
    header.set_xyzt_units("mm")
    header.set_zooms(volume.geometry.spacing_mm)
    header.set_sform(volume.geometry.affine, code=_SCANNER)
    _set_qform(header, volume.geometry)
    header["scl_slope"], header["scl_inter"] = 1.0, 0.0
    header["magic"] = b"n+1" if kind is nib.Nifti1Header else b"n+2\0\r\n\x1a\n"
    header["vox_offset"] = len(header.binaryblock) + 4
    return bytes(header.binaryblock) + bytes(4)  # four zeros: no extension follows


def _fits_nifti1(geometry: Geometry) -> bool:
    """NIfTI-1 counts voxels in 16 bits, and holds the affine in 32-bit floats."""
    with np.errstate(over="ignore"):
        held = geometry.affine.astype(np.float32).astype(np.float64)
    return max(geometry.shape) <= _NIFTI1_LARGEST_AXIS and bool(
        np.isfinite(held).all()
        and Geometry(geometry.shape, held).displacement_mm(geometry) <= _SFORM_TOLERANCE_MM
    )


def _set_qform(header: nib.Nifti1Header, geometry: Geometry) -> None:
    try:
        header.set_qform(geometry.affine, code=_SCANNER, strip_shears=True)
        held = np.asarray(header.get_qform(), dtype=np.float64)
        fits = Geometry(geometry.shape, held).displacement_mm(geometry) <= _QFORM_TOLERANCE_MM
    except (HeaderDataError, np.linalg.LinAlgError):
        fits = False
    if not fits:
        header["qform_code"] = 0
        header.set_zooms(geometry.spacing_mm)

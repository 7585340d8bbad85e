"""Writing NIfTI: slope 1, intercept 0, sform = qform; the same volume gives the same bytes."""

import gzip
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError

from medseg.io.values import Voxels
from medseg.volume import Geometry, Volume

_QFORM_TOLERANCE_MM = 1e-3
_SCANNER = 1
_NIFTI1_LARGEST_AXIS = 32767


def write_nifti(volume: Volume, path: Path) -> None:
    """Write ``volume`` as .nii or .nii.gz by the name's ending, flushed to the disk.

    A sheared affine has no qform; its code is then 0 and the sform alone holds.
    """
    header = _header(volume)
    with path.open("wb") as raw, ExitStack() as stack:
        file: IO[bytes] | gzip.GzipFile = raw
        if path.name.lower().endswith(".gz"):
            file = stack.enter_context(
                gzip.GzipFile(filename="", mode="wb", compresslevel=2, fileobj=raw, mtime=0)
            )
        file.write(header)
        for piece in _pieces(volume.array):
            file.write(piece)


def _pieces(array: Voxels) -> Iterator[bytes]:
    """The voxels' bytes slice by slice, so that no second volume lies in memory."""
    little = array.dtype.newbyteorder("<")
    for k in range(array.shape[2]):
        yield array[:, :, k].astype(little, copy=False).tobytes(order="F")


def _header(volume: Volume) -> bytes:
    kind = nib.Nifti1Header if max(volume.array.shape) <= _NIFTI1_LARGEST_AXIS else nib.Nifti2Header
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

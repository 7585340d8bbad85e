"""NRRD and MetaImage files, in and out."""

from math import prod
from pathlib import Path
from typing import IO

import numpy as np

from medseg.errors import Code, VolumeError
from medseg.files import write_flushed
from medseg.io.deflate import deflate, voxel_bytes
from medseg.io.itk_header import Layout
from medseg.io.metaimage import metaimage_header, metaimage_layout
from medseg.io.nrrd import nrrd_header, nrrd_layout
from medseg.io.paths import require_regular_file, volume_suffix
from medseg.io.payload import GZIP, ZLIB, Payload, open_binary, read_voxels, require_possible
from medseg.io.values import as_supported
from medseg.volume import Geometry, Volume

_HEADER_LIMIT = 1 << 20
_ORTHOGONAL = 1e-4  # ITK's own tolerance on direction cosines is of this order


def read_itk(path: Path) -> Volume:
    """The volume of a NRRD or MetaImage file: float32, or the stored integer type.

    Raises:
        VolumeError: when the file is damaged, or is not one 3-D volume of real numbers with an orientation.
    """
    layout = read_layout(path)
    with Payload(layout.file, layout.coding, layout.offset) as payload:
        stored = read_voxels(payload, path.name, layout.geometry.shape, layout.dtype)
    return Volume(as_supported(stored), layout.geometry)


def read_itk_geometry(path: Path) -> Geometry:
    """The grid of a NRRD or MetaImage file, from its header alone."""
    return read_layout(path).geometry


def read_layout(path: Path) -> Layout:
    """Where and how the voxels of a .nrrd, .nhdr, .mha or .mhd file lie; that they can be there is checked.

    Raises:
        VolumeError: when the header is damaged, or says what cannot be trusted or read.
    """
    require_regular_file(path)
    with open_binary(path) as file:
        head = file.read(_HEADER_LIMIT)
    layout = (nrrd_layout if _is_nrrd(path) else metaimage_layout)(path, head)
    try:
        stored = require_regular_file(layout.file) - layout.offset
    except VolumeError as error:
        raise error.about(path.name) from None
    declared = prod(layout.geometry.shape) * layout.dtype.itemsize
    require_possible(path.name, declared, stored, layout.coding)
    return layout


def _is_nrrd(path: Path) -> bool:
    return volume_suffix(path) in (".nrrd", ".nhdr")


def write_itk(volume: Volume, path: Path) -> None:
    """Write ``volume`` as .nrrd or .mha, compressed, and flush it to the disk.

    Raises:
        VolumeError: when the axes are sheared, which other programs do not read in these formats.
        OSError: as the system says.
    """
    cosines = volume.geometry.affine[:3, :3] / volume.geometry.spacing_mm
    if np.abs(cosines.T @ cosines - np.eye(3)).max() > _ORTHOGONAL:
        raise VolumeError(
            Code.SHEARED, f"{path.suffix} cannot hold sheared axes (a tilted gantry); write .nii.gz"
        )

    def nrrd(file: IO[bytes]) -> None:
        file.write(nrrd_header(volume))
        deflate(file, voxel_bytes(volume.array), GZIP)

    def metaimage(file: IO[bytes]) -> None:
        file.write(metaimage_header(volume))
        stored = deflate(file, voxel_bytes(volume.array), ZLIB)
        file.seek(0)
        file.write(metaimage_header(volume, stored))

    write_flushed(path, nrrd if _is_nrrd(path) else metaimage)

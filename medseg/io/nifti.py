"""Reading NIfTI-1 and NIfTI-2 (.nii, .nii.gz): nibabel decodes the header, the rules are our own.

Source: https://nifti.nimh.nih.gov/nifti-1 (fields), and the NIfTI-2 header of 2011.
"""

from dataclasses import dataclass
from math import isfinite, prod
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError

from medseg.errors import Code, VolumeError
from medseg.io.nifti_forms import Orientation, chosen_geometry, stated_geometries
from medseg.io.paths import require_regular_file
from medseg.io.payload import Payload, coding_of, read_voxels, require_possible
from medseg.io.values import as_supported, rescaled
from medseg.volume import Geometry, Shape, Volume

_NIFTI2_LINE_ENDS = b"\0\r\n\x1a\n"
_LARGEST_OFFSET = 1 << 26  # extensions before the voxels are text; more is made to be waited for


@dataclass(frozen=True)
class NiftiHeader:
    """What is needed to read the voxels: the grid, stored ``dtype``, byte ``offset`` and rescale."""

    geometry: Geometry
    dtype: np.dtype
    offset: int
    slope: float
    intercept: float


def read_nifti(path: Path, orientation: Orientation = "agreed") -> Volume:
    """The volume of a NIfTI file: float32, or integers when the rescaled values are whole.

    Raises:
        VolumeError: when the file is damaged, is not one 3-D volume of real numbers, or has no clear affine.
    """
    size, coding = require_regular_file(path), coding_of(path)
    with Payload(path, coding) as payload:
        header = _read_header(payload, path.name, size, coding, orientation)
        payload.skip(header.offset - payload.consumed)
        stored = read_voxels(payload, path.name, header.geometry.shape, header.dtype)
    return Volume(rescaled(as_supported(stored), header.slope, header.intercept), header.geometry)


def read_nifti_geometry(path: Path, orientation: Orientation = "agreed") -> Geometry:
    """The grid of a NIfTI file, from its header alone."""
    size, coding = require_regular_file(path), coding_of(path)
    with Payload(path, coding) as payload:
        return _read_header(payload, path.name, size, coding, orientation).geometry


def read_nifti_forms(path: Path) -> list[Geometry]:
    """The grid of a NIfTI file by its sform and by its qform, as far as it has them."""
    with Payload(path, coding_of(path)) as payload:
        fields = _decode(payload, path.name)
    return stated_geometries(fields, _shape(fields, path.name))


def _read_header(
    payload: Payload, name: str, size: int, coding: int, orientation: Orientation
) -> NiftiHeader:
    fields = _decode(payload, name)
    shape, dtype = _shape(fields, name), _dtype(fields, name)
    offset = float(fields["vox_offset"])
    if not (
        isfinite(offset) and offset.is_integer() and int(fields["sizeof_hdr"]) <= offset <= _LARGEST_OFFSET
    ):
        raise VolumeError(
            Code.HEADER, f"{name}: damaged header, voxels declared at byte {offset}; export the file anew"
        )
    require_possible(name, int(offset) + prod(shape) * dtype.itemsize, size, coding)
    slope, intercept = _rescale(fields, name)
    try:
        geometry = chosen_geometry(fields, shape, orientation)
    except VolumeError as error:
        raise error.about(name) from None
    return NiftiHeader(geometry, dtype, int(offset), slope, intercept)


def _decode(payload: Payload, name: str) -> nib.Nifti1Header:
    block = payload.read(348)
    for order in "<>":
        length = int(np.frombuffer(block[:4], dtype=f"{order}i4")[0]) if len(block) == 348 else 0
        if length == 348:
            fields = nib.Nifti1Header(block, endianness=order, check=False)
            break
        if length == 540:
            block += payload.read(540 - 348)
            if len(block) == 540:
                fields = nib.Nifti2Header(block, endianness=order, check=False)
                break
    else:
        raise VolumeError(
            Code.NOT_A_VOLUME,
            f"{name}: not a NIfTI file (no NIfTI header in it); convert it, or correct its name",
        )
    magic = bytes(fields["magic"].item())[:3]
    if magic in (b"ni1", b"ni2"):
        raise VolumeError(
            Code.UNSUPPORTED,
            f"{name}: the header of a .hdr/.img pair, without voxels; convert the pair to .nii.gz",
        )
    if magic not in (b"n+1", b"n+2"):
        raise VolumeError(
            Code.NO_ORIENTATION, f"{name}: an Analyze file, which has no orientation; convert it to NIfTI"
        )
    if magic == b"n+2" and block[7:12] != _NIFTI2_LINE_ENDS:
        raise VolumeError(Code.DAMAGED, f"{name}: damaged by a transfer as text; copy it anew, as binary")
    return fields


def _shape(fields: nib.Nifti1Header, name: str) -> Shape:
    dims = [int(n) for n in fields["dim"]]
    if not 1 <= dims[0] <= 7 or any(n < 1 for n in dims[1 : dims[0] + 1]):
        raise VolumeError(Code.HEADER, f"{name}: damaged header, dimensions {dims}; export the file anew")
    shape = dims[1 : dims[0] + 1]
    while len(shape) > 3 and shape[-1] == 1:
        shape.pop()
    if len(shape) != 3:
        size = "x".join(str(n) for n in shape)
        fix = "extract one volume of it" if len(shape) > 3 else "give the volume that the slice is of"
        raise VolumeError(Code.NOT_3D, f"{name}: {len(shape)}-D ({size}), one 3-D volume expected; {fix}")
    return shape[0], shape[1], shape[2]


def _dtype(fields: nib.Nifti1Header, name: str) -> np.dtype:
    try:
        dtype: np.dtype = np.dtype(fields.get_data_dtype())
    except (HeaderDataError, KeyError, TypeError):
        raise VolumeError(
            Code.VOXEL_TYPE, f"{name}: unknown voxel type {int(fields['datatype'])}; export the file anew"
        ) from None
    if dtype.fields is not None:
        raise VolumeError(
            Code.COLOUR, f"{name}: a colour image (RGB), grey values expected; give the scan itself"
        )
    if dtype.kind == "c":
        raise VolumeError(
            Code.COMPLEX, f"{name}: complex numbers, real ones expected; give the magnitude image"
        )
    if dtype.kind not in "iuf" or dtype.itemsize == 0:
        raise VolumeError(
            Code.VOXEL_TYPE, f"{name}: voxels of type {dtype} cannot be read; export as int16 or float32"
        )
    return dtype


def _rescale(fields: nib.Nifti1Header, name: str) -> tuple[float, float]:
    slope, intercept = float(fields["scl_slope"]), float(fields["scl_inter"])
    if slope == 0:  # the standard's word for "not rescaled"
        return 1.0, 0.0
    if not (isfinite(slope) and isfinite(intercept)):
        raise VolumeError(
            Code.SLOPE,
            f"{name}: rescale slope {slope} and intercept {intercept}, finite ones expected; export it anew",
        )
    return slope, intercept

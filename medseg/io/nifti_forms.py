"""Where a NIfTI file says its voxels are: the sform, the qform, and the voxel sizes alone (pixdim).

The affine is the sform when its code is positive, else the qform. Each other form that the file has must tell
the same within a tenth of a voxel, measured at the corners: the qform, and voxel sizes beside a lone sform
(programs that take spacing from one and directions from the other see another grid). Else nobody knows which
is true, and the file is refused unless the caller chooses.
"""

from typing import Literal

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError

from medseg.errors import Code, VolumeError
from medseg.volume import Affine, Geometry, Shape, allowed_mm

Orientation = Literal["agreed", "sform", "qform", "pixdim"]

_MM_PER_UNIT = {
    0: 1.0,
    1: 1000.0,
    2: 1.0,
    3: 0.001,
}  # unknown (taken as mm, as everybody does), m, mm, micron


def chosen_geometry(fields: nib.Nifti1Header, shape: Shape, orientation: Orientation) -> Geometry:
    """The grid that the header tells, or that of the chosen form.

    Raises:
        VolumeError: there is none, it is not valid, or two forms disagree.
    """
    forms = _forms(fields)
    if orientation == "pixdim":
        return _geometry(fields, shape, _sizes_alone(fields))
    if orientation != "agreed":
        if orientation not in forms:
            raise VolumeError(
                Code.NO_ORIENTATION,
                f"has no {orientation} (code 0), which was asked for; choose the other one",
            )
        return _one_geometry(fields, shape, orientation)
    if not forms:
        raise VolumeError(
            Code.NO_ORIENTATION,
            "no orientation (sform and qform codes are 0); write an sform into its header, "
            "or allow geometry pixdim (first voxel at 0, axes to Right, Anterior, Superior)",
        )
    first, *others = stated_geometries(fields, shape)
    for other in others:
        _require_agreement(first, other, "qform", "sform or qform")
    if forms == ["sform"]:
        _require_agreement(first, _resized(fields, first), "voxel sizes (pixdim)", "sform")
    return first


def stated_geometries(fields: nib.Nifti1Header, shape: Shape) -> list[Geometry]:
    """The grid by each form that the header has."""
    return [_one_geometry(fields, shape, form) for form in _forms(fields)]


def _forms(fields: nib.Nifti1Header) -> list[str]:
    return [form for form in ("sform", "qform") if int(fields[f"{form}_code"]) > 0]


def _one_geometry(fields: nib.Nifti1Header, shape: Shape, form: str) -> Geometry:
    try:
        with np.errstate(all="ignore"):  # what is not finite is refused afterwards
            affine = fields.get_sform() if form == "sform" else _with_plain_qfac(fields).get_qform()
    except (HeaderDataError, ValueError, FloatingPointError):
        raise _not_valid(form) from None
    return _geometry(fields, shape, np.asarray(affine, dtype=np.float64))


def _with_plain_qfac(fields: nib.Nifti1Header) -> nib.Nifti1Header:
    """``pixdim[0]`` is -1 for a mirrored qform; what is not negative is 1, as the standard has it."""
    plain = fields.copy()
    if fields["pixdim"][0] >= 0:
        plain["pixdim"][0] = 1
    return plain


def _sizes_alone(fields: nib.Nifti1Header) -> Affine:
    sizes = [float(size) for size in fields["pixdim"][1:4]]
    if not min(sizes) > 0:
        raise _not_valid("pixdim")
    return np.diag([*sizes, 1.0])


def _resized(fields: nib.Nifti1Header, sform: Geometry) -> Geometry:
    """The grid of the sform with the voxel sizes of pixdim; a size of 0 tells nothing."""
    mm = _MM_PER_UNIT[int(fields["xyzt_units"]) & 0x07]
    told = np.abs(np.asarray(fields["pixdim"][1:4], dtype=np.float64)) * mm
    if not np.isfinite(told).all():
        raise _not_valid("pixdim")
    own = np.array(sform.spacing_mm)
    affine = sform.affine.copy()
    affine[:3, :3] *= np.where(told > 0, told, own) / own
    return Geometry(sform.shape, affine)


def _geometry(fields: nib.Nifti1Header, shape: Shape, affine: Affine) -> Geometry:
    unit = int(fields["xyzt_units"]) & 0x07
    if unit not in _MM_PER_UNIT:
        raise VolumeError(Code.UNIT, f"unknown unit of length {unit}; write millimetres into the header")
    in_mm = affine.copy()
    in_mm[:3] *= _MM_PER_UNIT[unit]
    return Geometry(shape, in_mm)


def _not_valid(form: str) -> VolumeError:
    return VolumeError(
        Code.AFFINE, f"its {form} is not valid; repair the header, or choose the geometry of another form"
    )


def _require_agreement(sform: Geometry, other: Geometry, name: str, choices: str) -> None:
    distance = sform.displacement_mm(other)
    if distance > allowed_mm(sform, other):
        raise VolumeError(
            Code.FORMS_DISAGREE,
            f"sform and {name} are {distance:.3g} mm apart and cannot both be true; "
            f"repair the header, or choose geometry {choices}",
        )

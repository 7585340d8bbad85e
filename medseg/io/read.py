"""The one safe reader: whatever the format, the same axes, the same RAS+ affine, the same refusals."""

import os
from pathlib import Path

from medseg.errors import Code, VolumeError
from medseg.io.dicom import read_dicom, read_dicom_geometry
from medseg.io.dicom_file import looks_like_dicom
from medseg.io.itk import read_itk, read_itk_geometry
from medseg.io.nifti import read_nifti, read_nifti_geometry
from medseg.io.nifti_forms import Orientation
from medseg.io.paths import ITK_SUFFIXES, NIFTI_SUFFIXES, VOLUME_SUFFIXES, require_regular_file, volume_suffix
from medseg.io.values import NonFinite, require_finite, whole_numbers
from medseg.volume import Geometry, Volume


def read_volume(
    path: Path | str,
    *,
    geometry: Orientation = "agreed",
    nonfinite: NonFinite = "refuse",
    series_uid: str | None = None,
) -> Volume:
    """The volume of a NIfTI, NRRD or MetaImage file, of a DICOM folder, or of the series of one DICOM file.

    Args:
        geometry: which affine of a NIfTI file holds. ``"agreed"``: the sform, else the qform; the qform,
            or the voxel sizes beside a lone sform, must tell the same within 0.1 voxel. ``"sform"``,
            ``"qform"``: that one. ``"pixdim"``: the spacing alone, for files without any orientation.
        nonfinite: ``"zero"`` replaces NaN and infinite voxels by 0, and logs how many.
        series_uid: which DICOM series of a folder with several.

    Returns:
        Voxels (I, J, K), rescale slope and intercept applied: of an integer type when whole, else float32.

    Raises:
        VolumeError: when the file is damaged or not clearly one 3-D volume; the text says how to mend it.
        EnvironmentProblem: when memory is short.
    """
    path = Path(path)
    match _format(path):
        case "nifti":
            volume = read_nifti(path, geometry)
        case "itk":
            volume = read_itk(path)
        case _:
            volume = read_dicom(path, series_uid)
    return volume.with_array(require_finite(volume.array, nonfinite, path.name))


def read_label(path: Path | str, *, geometry: Orientation = "agreed") -> Volume:
    """A label map: as ``read_volume``, but always of an integer type.

    Raises:
        VolumeError: as ``read_volume``, and when voxels hold fractions or NaN.
    """
    volume = read_volume(path, geometry=geometry)
    return volume.with_array(whole_numbers(volume.array, Path(path).name))


def read_geometry(
    path: Path | str, *, geometry: Orientation = "agreed", series_uid: str | None = None
) -> Geometry:
    """The grid of what ``read_volume`` reads, from headers alone.

    Raises:
        VolumeError: when the header is damaged or not clearly that of one 3-D volume.
    """
    path = Path(path)
    match _format(path):
        case "nifti":
            return read_nifti_geometry(path, geometry)
        case "itk":
            return read_itk_geometry(path)
        case _:
            return read_dicom_geometry(path, series_uid)


def _format(path: Path) -> str:
    suffix = volume_suffix(path)
    if os.path.isdir(path):  # noqa: PTH112 - Path.is_dir fails for a name that is too long
        return "dicom"
    require_regular_file(path)
    if suffix in NIFTI_SUFFIXES:
        return "nifti"
    if suffix in ITK_SUFFIXES:
        return "itk"
    if path.suffix.lower() in (".dcm", ".ima") or looks_like_dicom(path):
        return "dicom"
    raise VolumeError(
        Code.NOT_A_VOLUME, f"{path.name}: not a volume; give {', '.join(VOLUME_SUFFIXES)}, or a DICOM folder"
    )

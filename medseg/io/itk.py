"""NRRD and MetaImage: SimpleITK knows their geometry (LPS there, RAS here), the check of sizes is our own."""

from math import prod
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name everybody gives it
from jaxtyping import Float64

from medseg.errors import Code, EnvironmentProblem, VolumeError
from medseg.io.itk_header import Layout, read_layout
from medseg.io.paths import require_regular_file, volume_suffix
from medseg.io.payload import Payload, read_voxels, require_possible
from medseg.io.values import as_supported
from medseg.volume import Geometry, Volume

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_ORTHOGONAL = 1e-4  # ITK's own tolerance on direction cosines is of this order


def read_itk(path: Path) -> Volume:
    """The volume of a NRRD or MetaImage file: float32, or the stored integer type.

    Raises:
        VolumeError: when the file is damaged, or is not one 3-D volume of real numbers with an orientation.
    """
    geometry, layout = _read_header(path)
    with Payload(layout.file, layout.coding, layout.offset) as payload:
        return Volume(as_supported(read_voxels(payload, path.name, geometry.shape, layout.dtype)), geometry)


def read_itk_geometry(path: Path) -> Geometry:
    """The grid of a NRRD or MetaImage file, from its header alone."""
    return _read_header(path)[0]


def _read_header(path: Path) -> tuple[Geometry, Layout]:
    require_regular_file(path)
    layout = read_layout(path, volume_suffix(path))
    stored = require_regular_file(layout.file) - layout.offset
    require_possible(path.name, prod(layout.sizes) * layout.dtype.itemsize, stored, layout.coding)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        raise VolumeError(
            Code.HEADER,
            f"{path.name}: its header cannot be decoded (sheared axes, or damage); convert it to .nii.gz",
        ) from None
    if reader.GetNumberOfComponents() > 1:
        raise VolumeError(
            Code.COLOUR,
            f"{path.name}: a vector or colour image ({reader.GetNumberOfComponents()} values a voxel), "
            "one expected; give one channel",
        )
    return Geometry(_shape(path, layout), _affine(reader)), layout


def _shape(path: Path, layout: Layout) -> tuple[int, int, int]:
    sizes = list(layout.sizes)
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes.pop()
    if len(sizes) != 3:
        size = "x".join(str(n) for n in layout.sizes)
        raise VolumeError(
            Code.NOT_3D,
            f"{path.name}: {len(sizes)}-D ({size}), one 3-D volume expected; extract one volume of it",
        )
    return sizes[0], sizes[1], sizes[2]


def _affine(reader: sitk.ImageFileReader) -> Float64[np.ndarray, "4 4"]:
    axes = reader.GetDimension()
    direction = np.array(reader.GetDirection(), dtype=np.float64).reshape(axes, axes)[:3, :3]
    lps = np.eye(4)
    lps[:3, :3] = direction * np.array(reader.GetSpacing()[:3], dtype=np.float64)
    lps[:3, 3] = reader.GetOrigin()[:3]
    return np.asarray(LPS_TO_RAS @ lps, dtype=np.float64)


def write_itk(volume: Volume, path: Path) -> None:
    """Write ``volume`` as .nrrd or .mha, compressed.

    Raises:
        VolumeError: when the axes are sheared, which these formats cannot hold in ITK.
        EnvironmentProblem: when ITK cannot write there.
    """
    spacing = volume.geometry.spacing_mm
    lps = LPS_TO_RAS @ volume.geometry.affine
    cosines = lps[:3, :3] / spacing
    if np.abs(cosines.T @ cosines - np.eye(3)).max() > _ORTHOGONAL:
        raise VolumeError(
            Code.SHEARED, f"{path.suffix} cannot hold sheared axes (a tilted gantry); write .nii.gz"
        )
    image = sitk.GetImageFromArray(volume.array.transpose(2, 1, 0))
    image.SetSpacing(spacing)
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection(cosines.ravel().tolist())
    try:
        sitk.WriteImage(image, str(path), useCompression=True, compressionLevel=2)
    except RuntimeError:
        raise EnvironmentProblem(
            Code.CANNOT_WRITE, f"{path.suffix} file cannot be written; check disk space and permissions"
        ) from None

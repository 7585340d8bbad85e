"""Grids in all orientations, and files written and read without medseg, to judge it by.

nibabel serves NIfTI, SimpleITK the others; affines are RAS+ millimetres throughout.
"""

from collections.abc import Sequence
from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk  # noqa: N813

ORIENTATIONS = tuple(product(permutations(range(3)), product((1.0, -1.0), repeat=3)))
"""All 48: which world axis each voxel axis runs along, and which way."""

_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def rotation(angles: Sequence[float]) -> np.ndarray:
    """Turned about x, y and z by ``angles`` in radians."""
    a, b, c = np.cos(angles)
    d, e, f = np.sin(angles)
    x = np.array([[1, 0, 0], [0, a, -d], [0, d, a]])
    y = np.array([[b, 0, e], [0, 1, 0], [-e, 0, b]])
    return np.asarray(x @ y @ np.array([[c, -f, 0], [f, c, 0], [0, 0, 1]]))


def grid_affine(
    orientation: int, angles: Sequence[float], spacing_mm: Sequence[float], origin_mm: Sequence[float]
) -> np.ndarray:
    """``spacing_mm`` along the axes of one of the 48 orientations, turned, first voxel at ``origin_mm``."""
    order, signs = ORIENTATIONS[orientation]
    affine = np.eye(4)
    axes = np.eye(3)[:, list(order)] * np.array(signs)
    affine[:3, :3] = rotation(angles) @ axes @ np.diag(spacing_mm)
    affine[:3, 3] = origin_mm
    return affine


def corners_mm(shape: Sequence[int], affine: np.ndarray) -> np.ndarray:
    ends = np.array(list(product(*[(0, n - 1) for n in shape])), dtype=float)
    return np.asarray(ends @ affine[:3, :3].T + affine[:3, 3])


def apart_mm(shape: Sequence[int], first: np.ndarray, second: np.ndarray) -> float:
    """The largest distance between the same corner under two affines."""
    return float(np.linalg.norm(corners_mm(shape, first) - corners_mm(shape, second), axis=1).max())


def reordered(array: np.ndarray, affine: np.ndarray, orientation: int) -> tuple[np.ndarray, np.ndarray]:
    """The same voxels at the same places, stored with permuted and flipped axes."""
    order, signs = ORIENTATIONS[orientation]
    flips = np.eye(4)
    for axis, sign in enumerate(signs):
        if sign < 0:
            flips[axis, axis], flips[axis, 3] = -1, array.shape[order[axis]] - 1
    moved = np.flip(array.transpose(order), [axis for axis, sign in enumerate(signs) if sign < 0])
    return np.ascontiguousarray(moved), affine[:, [*order, 3]] @ flips


def sitk_image(array: np.ndarray, affine: np.ndarray) -> sitk.Image:
    lps = _LPS @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.transpose(2, 1, 0)))
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    return image


def write_plainly(path: Path, array: np.ndarray, affine: np.ndarray, *, compress: bool = False) -> Path:
    """Write without medseg."""
    if path.name.endswith((".nii", ".nii.gz")):
        image = nib.Nifti1Image(array, affine)
        image.set_qform(affine, code=1)
        image.set_sform(affine, code=1)
        nib.save(image, path)
    else:
        sitk.WriteImage(sitk_image(array, affine), str(path), useCompression=compress)
    return path


def read_plainly(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Array and affine without medseg; of a NIfTI, sform and qform must agree to a micron.

    The qform may be missing where NIfTI cannot hold it: near half a turn, what its float32 quaternion leaves
    out (``a``, from ``a^2 = 1 - b^2 - c^2 - d^2``) is uncertain by 0.0003 radians.
    """
    if path.name.endswith((".nii", ".nii.gz")):
        image = nib.load(path)
        header, array = image.header, np.asarray(image.dataobj)
        sform = np.asarray(header.get_sform())
        assert header["sform_code"] > 0
        held = header if header["qform_code"] > 0 else best_qform(sform)
        assert (apart_mm(array.shape, sform, held.get_qform()) < 1e-3) == (header["qform_code"] > 0)
        return array, sform
    image = sitk.ReadImage(str(path))
    lps = np.eye(4)
    lps[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    lps[:3, 3] = image.GetOrigin()
    return sitk.GetArrayFromImage(image).transpose(2, 1, 0), _LPS @ lps


def best_qform(affine: np.ndarray) -> nib.Nifti1Header:
    """A header whose qform is as near to ``affine`` as nibabel can make it."""
    header = nib.Nifti1Header()
    header.set_qform(affine, code=1)
    return header

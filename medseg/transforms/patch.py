"""A training patch as a TorchIO subject, and its centre."""

from collections.abc import Sequence

import numpy as np
import torchio as tio
from jaxtyping import Float32, Float64, UInt8
from torch import Tensor

from medseg.data.subject import IMAGE, LABEL
from medseg.errors import Code, UsageError

Size = tuple[int, int, int]


def patch_subject(
    image: Float32[Tensor, "C I J K"], label: UInt8[Tensor, "I J K"], spacing_mm: Sequence[float]
) -> tio.Subject:
    """Image and label (which share memory with the subject) with the world's origin in the patch's centre."""
    affine = centred_affine(label.shape, spacing_mm)
    return tio.Subject(
        {
            IMAGE: tio.ScalarImage(tensor=image, affine=affine),
            LABEL: tio.LabelMap(tensor=label[None], affine=affine),
        }
    )


def centred_affine(shape: Sequence[int], spacing_mm: Sequence[float]) -> Float64[np.ndarray, "4 4"]:
    affine = np.diag([*spacing_mm, 1.0])
    affine[:3, 3] = -(np.array(shape) - 1) / 2 * np.array(spacing_mm)
    return affine


def centre_crop(subject: tio.Subject, size: Size) -> tio.Subject:
    """The middle ``size`` voxels of all images.

    Raises:
        UsageError: when the subject is smaller.
    """
    shape = subject[IMAGE].spatial_shape
    if tuple(shape) == tuple(size):
        return subject
    before = [(n - m) // 2 for n, m in zip(shape, size, strict=True)]
    if min(before) < 0:
        raise UsageError(
            Code.CALL, f"patch of {tuple(shape)} voxels: at least the patch size {tuple(size)} is needed"
        )
    i, j, k = (slice(b, b + m) for b, m in zip(before, size, strict=True))
    affine = centred_affine(size, subject[IMAGE].spacing)
    for image in subject.get_images(intensity_only=False):
        image.set_data(image.data[:, i, j, k])
        image.affine = affine
    return subject

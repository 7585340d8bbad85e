"""The box around the body, or around all that is not 0."""

import logging
from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy import ndimage

from medseg.config.preprocessing import CropConfig
from medseg.errors import Code, VolumeError
from medseg.volume import Volume

logger = logging.getLogger(__name__)

COARSE_MM = 4.0
"""The body is looked for on about this grid: fine enough for a box, and a second faster."""

Box = tuple[slice, slice, slice]


def body_box(volume: Volume, config: CropConfig) -> Box:
    """The box around the largest connected part of ``volume`` above ``config.above``, with its margin.

    Raises:
        VolumeError: when no voxel is above the threshold.
    """
    strides = [max(1, int(COARSE_MM / s)) for s in volume.geometry.spacing_mm]
    coarse = volume.array[:: strides[0], :: strides[1], :: strides[2]] > config.above
    parts, count = ndimage.label(coarse)
    if count == 0:
        top = float(volume.array.max())
        raise VolumeError(
            Code.BLANK,
            f"nothing is brighter than {config.above:g} (the brightest voxel has {top:g}), so there is no "
            "body to crop to: correct preprocessing.crop.above, or look at the scan",
        )
    largest = int(np.argmax(np.bincount(parts.ravel())[1:])) + 1
    found = ndimage.find_objects(parts, max_label=largest)[largest - 1]
    sides = zip(found, strides, volume.geometry.spacing_mm, volume.array.shape, strict=True)
    i, j, k = (_widened(side, stride, config.margin_mm / size, n) for side, stride, size, n in sides)
    return i, j, k


def _widened(side: slice, stride: int, margin: float, size: int) -> slice:
    """A coarse slice on the fine grid: what lies between two coarse voxels may belong, then the margin."""
    reach = stride - 1 + int(np.ceil(margin))
    return slice(max(0, side.start * stride - reach), min(size, (side.stop - 1) * stride + 1 + reach))


def cropped(volume: Volume, box: Box) -> Volume:
    """The voxels of ``volume`` inside ``box``, where they are in the patient."""
    array = volume.array[box]
    return Volume(array, volume.geometry.cropped([side.start for side in box], array.shape))


def nonzero_box(images: Sequence[Volume]) -> Box:
    """The box around the voxels that are not 0 in some channel.

    Raises:
        VolumeError: when there is none.
    """
    inside = np.logical_or.reduce([image.array != 0 for image in images])
    if not inside.any():
        raise VolumeError(Code.BLANK, "every voxel is 0: take the case out, or mend the scan")
    sides = [np.flatnonzero(inside.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
    i, j, k = (slice(int(side[0]), int(side[-1]) + 1) for side in sides)
    return i, j, k


def crop(
    images: Sequence[Volume], label: Volume | None, config: CropConfig | Literal["nonzero"]
) -> tuple[list[Volume], Volume | None]:
    """All channels and the label, cut to the body of the first channel or to what is not 0 in any of them."""
    box = nonzero_box(images) if config == "nonzero" else body_box(images[0], config)
    inner = [cropped(image, box) for image in images]
    if label is None:
        return inner, None
    kept = cropped(label, box)
    lost = int(np.count_nonzero(label.array)) - int(np.count_nonzero(kept.array))
    if lost:
        logger.warning(
            "%d labelled voxels lie outside the box of preprocessing.crop and are not learned", lost
        )
    return inner, kept

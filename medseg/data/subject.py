"""The one bridge between :class:`Volume` and TorchIO."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torchio as tio
from jaxtyping import Float32, Shaped

from medseg.volume import Geometry, Volume, require_same_grid

IMAGE = "image"
LABEL = "label"


def to_subject(images: Sequence[Volume], label: Volume | None = None) -> tio.Subject:
    """``"image"``: ScalarImage (C, I, J, K), float32; ``"label"``: LabelMap (1, I, J, K), integers.

    One float32 channel and a label share their memory with the volumes where they can; transforms of TorchIO
    copy before they change anything.

    Raises:
        GridMismatchError: channels or label are not on one grid.
    """
    geometry = images[0].geometry
    for number, image in enumerate(images[1:], start=2):
        require_same_grid(geometry, image.geometry, f"channels 1 and {number}")
    parts = {IMAGE: tio.ScalarImage(tensor=_channels(images), affine=geometry.affine)}
    if label is not None:
        require_same_grid(geometry, label.geometry, "image and label")
        parts[LABEL] = tio.LabelMap(tensor=as_tensor(label.array)[None], affine=geometry.affine)
    return tio.Subject(**parts)


def geometry_of(image: tio.Image) -> Geometry:
    """The grid of an image of a subject."""
    i, j, k = (int(n) for n in image.spatial_shape)
    return Geometry((i, j, k), np.asarray(image.affine, dtype=np.float64))


def as_tensor(array: Shaped[np.ndarray, "*shape"]) -> Shaped[torch.Tensor, "*shape"]:
    """A tensor over the memory of ``array``; a copy where torch cannot share it (read-only, uint16)."""
    dtype = _shareable(array.dtype)
    if dtype != array.dtype or not array.flags.writeable or any(stride < 0 for stride in array.strides):
        array = array.astype(dtype, copy=True)
    return torch.from_numpy(np.ascontiguousarray(array))


def _channels(images: Sequence[Volume]) -> Float32[torch.Tensor, "C I J K"]:
    if len(images) == 1:
        return as_tensor(images[0].array.astype(np.float32, copy=False))[None]
    stacked = np.empty((len(images), *images[0].array.shape), dtype=np.float32)
    for out, image in zip(stacked, images, strict=True):
        out[...] = image.array
    return torch.from_numpy(stacked)


def _shareable(dtype: np.dtype[Any]) -> np.dtype[Any]:
    if dtype.kind == "u" and dtype.itemsize > 1:  # torch computes little with uint16, uint32 and uint64
        return np.dtype(np.int32 if dtype.itemsize == 2 else np.int64)
    return dtype.newbyteorder("=")

"""What a transform drew for one patch, as small arrays that go through a pipe."""

from collections.abc import Mapping, Sequence

import numpy as np
import torchio as tio

from medseg.transforms.acquisition import BiasField
from medseg.transforms.appearance import Anisotropy, Blur, BrightnessContrast, Gamma, Noise
from medseg.transforms.base import drawn
from medseg.transforms.flip import Flip
from medseg.transforms.spatial import FusedSpatial
from medseg.transforms.warp import Warp

Size = tuple[int, int, int]
Drawn = Mapping[str, np.ndarray]
"""Of one transform, by name; the same names and shapes for every patch."""

ON_DEVICE = (FusedSpatial, Flip, Noise, Blur, Gamma, BrightnessContrast, BiasField, Anisotropy)
"""Motion, ghosts, spikes and TorchIO's own stay with the workers: rare, or not ours to write again."""


def draw(  # noqa: PLR0911 - one return a kind
    transform: tio.Transform, patch_size: Size, spacing_mm: Sequence[float], channels: int
) -> Drawn | None:
    """From torch's generator, as when ``transform`` is called on a patch; None when nothing happens to it.

    Args:
        transform: one of :data:`ON_DEVICE`.
        patch_size: voxels of the patch that the transform sees (of what comes out, where it turns it).
    """
    if not drawn(transform):
        return None
    match transform:
        case FusedSpatial():
            warp = transform.draw(spacing_mm)
            return None if warp is None else _of_warp(warp)
        case Flip():
            mirrored = transform.draw()
            return {"axes": np.isin(np.arange(3), mirrored)} if mirrored else None
        case Noise():
            std, seeds = transform.draw()
            return {"std": np.array(std, dtype=np.float32), "seeds": seeds.numpy()}
        case Blur():
            return _of_blur(transform, patch_size, spacing_mm)
        case Gamma():
            return {"gamma": np.array(transform.draw(channels), dtype=np.float32)}
        case BrightnessContrast():
            return {"change": np.array(transform.draw(channels), dtype=np.float32)}
        case BiasField():
            return {"coefficients": transform.draw().astype(np.float32)}
        case Anisotropy():
            return _of_anisotropy(transform, patch_size)
        case _:
            raise TypeError(f"{type(transform).__name__} is not done on the device")


def _of_warp(warp: Warp) -> Drawn:
    arrays = {"matrix": warp.matrix, "offset": warp.offset}
    if warp.control is not None:
        arrays["control"] = warp.control
    return {name: array.astype(np.float32) for name, array in arrays.items()}


def _of_blur(transform: Blur, patch_size: Size, spacing_mm: Sequence[float]) -> Drawn:
    matrices = enumerate(transform.draw(patch_size, spacing_mm))
    return {str(axis): matrix.astype(np.float32) for axis, matrix in matrices if matrix is not None}


def _of_anisotropy(transform: Anisotropy, patch_size: Size) -> Drawn | None:
    found = transform.draw(patch_size)
    if found is None:
        return None
    axis, matrix = found
    square = np.zeros((max(patch_size), max(patch_size)), dtype=np.float32)  # the same shape for every axis
    square[: len(matrix), : len(matrix)] = matrix
    return {"axis": np.array(axis), "matrix": square}

"""Scans onto the network's axes and spacing in one pass, a few slices at a time.

What is read as int16 stays int16 until its slices are resampled: beside the scan and the result, only a block
of slices is ever in memory.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float32, Shaped, UInt8
from torch import Tensor

from medseg.transforms.along import along_each
from medseg.transforms.resample import Matrices, Respace, resample_label
from medseg.volume import Geometry, Volume

BLOCK = 32
"""Slices of the result made at once."""

_OPPOSITE = dict(zip("RLAPSI", "LRPAIS", strict=True))


class Turned:
    """The scan's axes in the order of ``orientation``, none resampled: what is stored, seen otherwise."""

    def __init__(self, native: Geometry, orientation: str) -> None:
        codes = native.axis_codes
        self.order = [
            next(axis for axis in range(3) if codes[axis] in (wanted, _OPPOSITE[wanted]))
            for wanted in orientation
        ]
        self.mirrored = [codes[axis] != wanted for axis, wanted in zip(self.order, orientation, strict=True)]
        self.geometry = _turned(native, self.order, self.mirrored)

    def view(self, array: Shaped[np.ndarray, "I J K"]) -> Shaped[np.ndarray, "i j k"]:
        steps = tuple(slice(None, None, -1 if back else 1) for back in self.mirrored)
        return array.transpose(self.order)[steps]

    def images(self, images: Sequence[Volume]) -> Float32[Tensor, "C i j k"]:
        """A copy, one volume a channel."""
        result = torch.empty((len(images), *self.geometry.shape))
        for found, image in zip(result.numpy(), images, strict=True):
            found[...] = self.view(image.array)
        return result

    def label(self, label: Volume) -> UInt8[Tensor, "i j k"]:
        """A copy, class indices."""
        return torch.tensor(np.ascontiguousarray(self.view(label.array), dtype=np.uint8))


class Upright:
    """The scan's axes in the order of ``orientation``, resampled as ``respace`` says (but not by splines)."""

    def __init__(self, native: Geometry, orientation: str, respace: Respace) -> None:
        self._turned = Turned(native, orientation)
        self.geometry = respace.geometry(self._turned.geometry)
        self._matrices = respace.matrices(self._turned.geometry)

    def images(self, images: Sequence[Volume]) -> Float32[Tensor, "C i j k"]:
        """One volume a channel, resampled (:func:`medseg.transforms.along.resampling_matrix`)."""
        result = torch.empty((len(images), *self.geometry.shape))
        backwards = zip(self._matrices, self._turned.mirrored, strict=True)
        i, j, k = (m[:, ::-1] if back else m for m, back in backwards)
        for found, image in zip(result, images, strict=True):
            _resample_into(found, image.array.transpose(self._turned.order), (i, j, k))
        return result

    def label(self, label: Volume) -> UInt8[Tensor, "i j k"]:
        """Class indices by the largest share (:func:`medseg.transforms.resample.resample_label`)."""
        return resample_label(self._turned.label(label), self._matrices)


def _turned(native: Geometry, order: Sequence[int], mirrored: Sequence[bool]) -> Geometry:
    """The same voxels with their axes in another order, some run through backwards."""
    first = np.zeros(3)
    affine = native.affine.copy()
    for axis, (own, back) in enumerate(zip(order, mirrored, strict=True)):
        affine[:, axis] = -native.affine[:, own] if back else native.affine[:, own]
        first[own] = native.shape[own] - 1 if back else 0
    affine[:3, 3] = native.to_world(first[None])[0]
    i, j, k = (native.shape[axis] for axis in order)
    return Geometry((i, j, k), affine)


def _resample_into(
    result: Float32[Tensor, "i j k"], array: Shaped[np.ndarray, "I J K"], matrices: Matrices
) -> None:
    """Block by block along the axis whose slices each lie in one piece; the axis that runs fastest last."""
    slow, between, fast = np.argsort(np.abs(array.strides))[::-1].tolist()
    slices, made = array.transpose(slow, between, fast), result.permute(slow, between, fast)
    for start in range(0, len(made), BLOCK):
        rows = matrices[slow][start : start + BLOCK]
        used = np.flatnonzero(rows.any(axis=0))
        first, end = int(used[0]), int(used[-1]) + 1
        block = torch.from_numpy(slices[first:end].astype(np.float32, order="C"))
        parts = (rows[:, first:end], matrices[between], matrices[fast])
        made[start : start + BLOCK] = along_each(block[None], parts)[0]

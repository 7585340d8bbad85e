"""Mirroring, with left and right structures swapped."""

from collections.abc import Sequence

import numpy as np
import torch
import torchio as tio
from jaxtyping import Bool, UInt8
from torch import Tensor

from medseg.config.augmentation import FlipAugmentation
from medseg.transforms.base import SubjectTransform
from medseg.transforms.randomness import chance

KNOWN = "known"
"""Where a subject keeps which of its classes somebody drew: what is mirrored was drawn on the other side."""

AXES = ("left_right", "posterior_anterior", "inferior_superior")
"""Patient axes in the order of the canonical voxel axes i, j, k."""


class Flip(SubjectTransform):
    """Each configured axis is mirrored with probability ``config.p``; ``pairs`` swap with left and right."""

    def __init__(self, config: FlipAugmentation, pairs: Sequence[tuple[int, int]] = ()) -> None:
        super().__init__()
        self.config = config
        self.pairs = tuple(pairs)

    def apply_transform(self, subject: tio.Subject) -> tio.Subject:
        mirrored = self.draw()
        if not mirrored:
            return subject
        for image in self.get_images(subject):
            data = image.data.flip([axis + 1 for axis in mirrored])
            if isinstance(image, tio.LabelMap) and 0 in mirrored:
                data = swap_classes(data, self.pairs)
            image.set_data(data)
        if 0 in mirrored and KNOWN in subject:
            subject[KNOWN] = swap_places(subject[KNOWN], self.pairs)
        return subject

    def draw(self) -> list[int]:
        """The axes that are mirrored."""
        return [AXES.index(name) for name in self.config.axes if chance(self.config.p)]


def swap_places(known: Bool[Tensor, "L"], pairs: Sequence[tuple[int, int]]) -> Bool[Tensor, "L"]:
    """``known`` (one entry a class) with the entries of each pair exchanged."""
    swapped = known.clone()
    for left, right in pairs:
        swapped[left], swapped[right] = known[right], known[left]
    return swapped


def swap_classes(label: UInt8[Tensor, "*shape"], pairs: Sequence[tuple[int, int]]) -> UInt8[Tensor, "*shape"]:
    """``label`` with the two classes of each pair exchanged."""
    if not pairs:
        return label
    values = bytearray(label.numpy().tobytes().translate(swap_table(pairs).tobytes()))
    return torch.frombuffer(values, dtype=torch.uint8).reshape(label.shape)


def swap_table(pairs: Sequence[tuple[int, int]]) -> UInt8[np.ndarray, "256"]:
    """Which class takes the place of each."""
    table = np.arange(256, dtype=np.uint8)
    for left, right in pairs:
        table[left], table[right] = right, left
    return table

"""What a worker does to a patch when the device does the rest."""

from typing import NamedTuple

from jaxtyping import Bool, Float32, UInt8
from torch import Tensor

from medseg.transforms.augmentation import EVERY_CLASS, Augment, Key, Spacing, as_patch
from medseg.transforms.base import drawn
from medseg.transforms.device.draws import ON_DEVICE, Drawn, draw
from medseg.transforms.flip import KNOWN, Flip, swap_places
from medseg.transforms.patch import centre_crop, patch_subject
from medseg.transforms.randomness import kept_generator, single_thread, stable_seed, start_generator


class Begun(NamedTuple):
    """A patch that the device has still to work on."""

    image: Float32[Tensor, "C i j k"]
    """With the margin that its warp reaches where that is left; else of the patch's size."""
    label: UInt8[Tensor, "i j k"]
    known: Bool[Tensor, "L"]
    """As it is at the end: flips that are left have had their part in it."""
    left: dict[int, Drawn]
    """Place in the list to what was drawn there."""


class WorkerShare:
    """The beginning of the list, up to the last transform that only a worker can do, patch by patch.

    What counts is what is drawn: where motion is drawn for one patch in twenty, the other nineteen go to the
    device whole. Nor does the device turn a patch after something else was done to its margin: what precedes
    the first spatial transform is the worker's wherever that is drawn, so that on the device all patches that
    intensities change have one shape.
    """

    def __init__(self, augment: Augment) -> None:
        self.augment = augment

    def __call__(
        self,
        image: Float32[Tensor, "C I J K"],
        label: UInt8[Tensor, "I J K"],
        spacing_mm: Spacing,
        *,
        key: Key,
        known: Bool[Tensor, "L"] = EVERY_CLASS,
    ) -> Begun:
        """Takes what :class:`Augment` takes, which gives the same when all is done.

        Raises:
            UsageError: when the patch that comes in is smaller than ``patch_size``.
        """
        left, count = self._draw(spacing_mm, key, len(image))
        first = self.augment.first_spatial
        waits = first is not None and first in left
        size = self.augment.patch_size
        if count or not (waits or label.shape == size):
            subject = patch_subject(image, label, spacing_mm)
            subject[KNOWN] = known
            with single_thread():
                subject = self.augment.begin(subject, key, count)
            image, label, known = as_patch(subject if waits else centre_crop(subject, size))
        for place in left:
            transform = self.augment.transforms[place][1]
            if isinstance(transform, Flip) and left[place]["axes"][0]:
                known = swap_places(known, transform.pairs)
        return Begun(image, label, known, left)

    def _draw(self, spacing_mm: Spacing, key: Key, channels: int) -> tuple[dict[int, Drawn], int]:
        """What is left to the device, and how many transforms are not."""
        left: dict[int, Drawn] = {}
        count = 0
        with kept_generator():
            for place, (name, transform) in enumerate(self.augment.transforms):
                start_generator(stable_seed(*key, name))
                if not isinstance(transform, ON_DEVICE):
                    count = place + 1 if drawn(transform) else count
                    continue
                found = draw(transform, self.augment.patch_size, spacing_mm, channels)
                if found is not None:
                    left[place] = found
        first = self.augment.first_spatial
        if first is not None and first in left and any(place < first for place in left):
            count = max(count, first)
        return {place: found for place, found in left.items() if place >= count}, count

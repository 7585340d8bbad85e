"""From the configured list to what is done to one training patch."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple, assert_never

import torch
import torchio as tio
from jaxtyping import Bool, Float32, UInt8
from torch import Tensor

from medseg.config.augmentation import (
    AnisotropyAugmentation,
    Augmentation,
    BiasFieldAugmentation,
    BlurAugmentation,
    BrightnessContrastAugmentation,
    FlipAugmentation,
    GammaAugmentation,
    GhostingAugmentation,
    MotionAugmentation,
    NoiseAugmentation,
    SpatialAugmentation,
    SpikeAugmentation,
    TorchIOAugmentation,
)
from medseg.data.subject import IMAGE, LABEL
from medseg.transforms.acquisition import BiasField, Ghosting, Motion, Spike
from medseg.transforms.appearance import Anisotropy, Blur, BrightnessContrast, Gamma, Noise
from medseg.transforms.base import IntensityChange, SubjectTransform, drawn
from medseg.transforms.flip import KNOWN, Flip
from medseg.transforms.patch import centre_crop, patch_subject
from medseg.transforms.randomness import kept_generator, single_thread, stable_seed, start_generator
from medseg.transforms.spatial import FusedSpatial, spatial_margin, warp_margin
from medseg.transforms.stock import Stock

Size = tuple[int, int, int]
Spacing = tuple[float, float, float]
Key = tuple[int, int, int]
"""(seed, epoch, sample)."""


EVERY_CLASS = torch.ones(256, dtype=torch.bool)
"""Nothing was left out when the reference was drawn."""


class Patch(NamedTuple):
    """An augmented patch; ``label`` holds class indices, ``known`` tells which classes somebody drew."""

    image: Float32[Tensor, "C i j k"]
    label: UInt8[Tensor, "i j k"]
    known: Bool[Tensor, "L"]


class Augment:
    """Transforms applied one after the other to a patch, each from a seed of its own.

    The seed of a transform is a hash of (seed, epoch, sample) and of the transform's name (its kind, and how
    many of that kind come before it): other transforms, other samples, workers and threads cannot change what
    it draws.
    """

    def __init__(self, transforms: Sequence[tuple[str, tio.Transform]], patch_size: Size) -> None:
        self.transforms = tuple(transforms)
        self.patch_size = patch_size
        self._margins: dict[Spacing, Size] = {}

    def margin(self, spacing_mm: Spacing, key: Key | None = None) -> Size:
        """Voxels of context wanted on each side of the patch, so that turning it does not show its edges.

        Args:
            key: (seed, epoch, sample), for what is drawn there; else what the largest draws reach.
        """
        if self.first_spatial is None:
            return 0, 0, 0
        name, transform = self.transforms[self.first_spatial]
        return self._drawn_margin(name, transform, spacing_mm, key)

    @property
    def first_spatial(self) -> int | None:
        """The place in the list of the transform that cuts the patch to its size."""
        places = (n for n, (_, one) in enumerate(self.transforms) if isinstance(one, FusedSpatial))
        return next(places, None)

    def _drawn_margin(self, name: str, transform: FusedSpatial, spacing_mm: Spacing, key: Key | None) -> Size:
        if key is None:
            if spacing_mm not in self._margins:
                self._margins[spacing_mm] = spatial_margin(transform.config, self.patch_size, spacing_mm)
            return self._margins[spacing_mm]
        with kept_generator():
            start_generator(stable_seed(*key, name))
            if not drawn(transform):
                return 0, 0, 0
            return warp_margin(transform.draw(spacing_mm), self.patch_size)

    def __call__(
        self,
        image: Float32[Tensor, "C I J K"],
        label: UInt8[Tensor, "I J K"],
        spacing_mm: Spacing,
        *,
        key: Key,
        known: Bool[Tensor, "L"] = EVERY_CLASS,
    ) -> Patch:
        """A patch with its margin in, one of ``patch_size`` out; the tensors that come in stay as they are.

        The margin is that of ``key``, or larger: what comes out is the same.

        Args:
            key: (seed, epoch, sample).
            known: which classes somebody drew in this case; left and right ones swap with a mirrored patch.

        Raises:
            UsageError: when the patch that comes in is smaller than ``patch_size``.
        """
        subject = patch_subject(image, label, spacing_mm)
        subject[KNOWN] = known
        return as_patch(centre_crop(self.begin(subject, key, len(self.transforms)), self.patch_size))

    def begin(self, subject: tio.Subject, key: Key, count: int) -> tio.Subject:
        """The first ``count`` transforms alone, in place."""
        with single_thread(), kept_generator():
            for name, transform in self.transforms[:count]:
                start_generator(stable_seed(*key, name))
                subject = _apply(transform, subject)
        return subject


def as_patch(subject: tio.Subject) -> Patch:
    return Patch(subject[IMAGE].data.contiguous(), subject[LABEL].data[0].contiguous(), subject[KNOWN])


def build_augmentation(
    configs: Sequence[Augmentation], *, pairs: Sequence[tuple[int, int]], patch_size: Size
) -> Augment:
    """The transforms of ``configs`` in their order.

    Args:
        pairs: class indices that swap when left and right are mirrored.
        patch_size: voxels of a training patch along i, j, k.
    """
    seen: Counter[str] = Counter()
    transforms: list[tuple[str, tio.Transform]] = []
    for config in configs:
        transforms.append((f"{config.kind}/{seen[config.kind]}", _build(config, pairs, patch_size)))
        seen[config.kind] += 1
    return Augment(transforms, patch_size)


def _apply(transform: tio.Transform, subject: tio.Subject) -> tio.Subject:
    """As calling it; transforms of ours without the history that TorchIO writes and without its checks."""
    if isinstance(transform, SubjectTransform | IntensityChange):
        return transform.apply_transform(subject) if drawn(transform) else subject
    return transform(subject)


def _build(  # noqa: PLR0911, PLR0912 - one return a kind
    config: Augmentation, pairs: Sequence[tuple[int, int]], patch_size: Size
) -> tio.Transform:
    match config:
        case SpatialAugmentation():
            return FusedSpatial(config, patch_size)
        case FlipAugmentation():
            return Flip(config, pairs)
        case NoiseAugmentation():
            return Noise(config)
        case BlurAugmentation():
            return Blur(config)
        case GammaAugmentation():
            return Gamma(config)
        case BrightnessContrastAugmentation():
            return BrightnessContrast(config)
        case BiasFieldAugmentation():
            return BiasField(config)
        case MotionAugmentation():
            return Motion(config)
        case GhostingAugmentation():
            return Ghosting(config)
        case SpikeAugmentation():
            return Spike(config)
        case AnisotropyAugmentation():
            return Anisotropy(config)
        case TorchIOAugmentation():
            return Stock(config)
        case _:
            assert_never(config)

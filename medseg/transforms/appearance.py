"""Noise, blur, gamma, brightness and contrast, thick slices: any modality, channel by channel."""

import numpy as np
import torch
import torchio as tio
from jaxtyping import Float32
from torch import Tensor

from medseg.config.augmentation import (
    AnisotropyAugmentation,
    BlurAugmentation,
    BrightnessContrastAugmentation,
    GammaAugmentation,
    NoiseAugmentation,
)
from medseg.transforms.along import gaussian_matrix, product_along, resampling_matrix
from medseg.transforms.base import IntensityChange
from medseg.transforms.randomness import normal, uniform

TINY = 1e-30
"""Stands for 0 in a logarithm: vector instructions take a hundred times as long for 0 and what is near it."""


class Noise(IntensityChange):
    """Gaussian noise, one standard deviation for all channels."""

    def __init__(self, config: NoiseAugmentation) -> None:
        super().__init__(config.p)
        self.config = config

    def change(self, image: tio.ScalarImage) -> Float32[Tensor, "C I J K"]:
        std = uniform(0, self.config.std)
        return normal(image.data.shape).mul_(std).add_(image.data)


class Blur(IntensityChange):
    """A Gaussian kernel, round in millimetres; axes of one voxel stay as they are."""

    def __init__(self, config: BlurAugmentation) -> None:
        super().__init__(config.p)
        self.config = config

    def change(self, image: tio.ScalarImage) -> Float32[Tensor, "C I J K"]:
        std_mm = uniform(0, self.config.std_mm)
        changed: Tensor = image.data
        for axis, (size, spacing) in enumerate(zip(image.spatial_shape, image.spacing, strict=True)):
            if size > 1:
                changed = product_along(changed, gaussian_matrix(size, std_mm / spacing), axis)
        return changed


class Gamma(IntensityChange):
    """Each channel's own range, scaled to 0 to 1, to the power of gamma: no sign is lost, no end moves."""

    def __init__(self, config: GammaAugmentation) -> None:
        super().__init__(config.p)
        self.config = config

    def change(self, image: tio.ScalarImage) -> Float32[Tensor, "C I J K"]:
        changed = []
        for channel in image.data:
            gamma = float(np.exp(uniform(-self.config.log_gamma, self.config.log_gamma)))
            low, high = (float(end) for end in torch.aminmax(channel))
            if high > low:
                scaled = channel.sub(low).div_(high - low).clamp_(TINY, 1)
                power = scaled.log_().mul_(gamma).clamp_(min=-80).exp_()  # a third of the time of pow
                channel = power.mul_(high - low).add_(low)  # noqa: PLW2901
            changed.append(channel)
        return torch.stack(changed)


class BrightnessContrast(IntensityChange):
    """Each channel: deviations from its mean are scaled, then an offset is added."""

    def __init__(self, config: BrightnessContrastAugmentation) -> None:
        super().__init__(config.p)
        self.config = config

    def change(self, image: tio.ScalarImage) -> Float32[Tensor, "C I J K"]:
        changed = []
        for channel in image.data:
            contrast = uniform(1 - self.config.contrast, 1 + self.config.contrast)
            offset = uniform(-self.config.brightness, self.config.brightness)
            mean = float(channel.mean())
            changed.append(torch.add(torch.tensor(mean * (1 - contrast) + offset), channel, alpha=contrast))
        return torch.stack(changed)


class Anisotropy(IntensityChange):
    """Slices as if they had been thicker along one axis: averaged down and interpolated up again."""

    def __init__(self, config: AnisotropyAugmentation) -> None:
        super().__init__(config.p)
        self.config = config

    def change(self, image: tio.ScalarImage) -> Float32[Tensor, "C I J K"]:
        data: Tensor = image.data
        axes = [axis for axis, n in enumerate(image.spatial_shape) if n > 1]
        factor = uniform(*self.config.downsampling)
        phase = uniform(-0.5, 0.5)
        if not axes:
            return data.clone()
        axis = axes[int(torch.randint(len(axes), ()))]
        size = image.spatial_shape[axis]
        thick = int(np.ceil(size / factor)) + 1
        start = phase * factor
        down = resampling_matrix(size, thick, factor, start)
        up = resampling_matrix(thick, size, 1 / factor, -start / factor)
        return product_along(data, up @ down, axis)

"""Noise, blur, gamma, brightness and contrast, thick slices: any modality, channel by channel."""

from collections.abc import Sequence

import numpy as np
import torch
import torchio as tio
from jaxtyping import Float32, Float64, Int32
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
from medseg.transforms.randomness import normal_of, normal_seeds, uniform

TINY = 1e-30
"""Stands for 0 in a logarithm: vector instructions take a hundred times as long for 0 and what is near it."""


class Noise(IntensityChange):
    """Gaussian noise, one standard deviation for all channels."""

    def __init__(self, config: NoiseAugmentation) -> None:
        super().__init__(config.p)
        self.config = config

    def change(self, image: tio.ScalarImage) -> Float32[Tensor, "C I J K"]:
        std, seeds = self.draw()
        noise = normal_of(seeds[None], image.data.numel()).reshape(image.data.shape)
        return noise.mul_(std).add_(image.data)

    def draw(self) -> tuple[float, Int32[Tensor, "2"]]:
        """Standard deviation, and the seeds of the noise."""
        return uniform(0, self.config.std), normal_seeds()


class Blur(IntensityChange):
    """A Gaussian kernel, round in millimetres; axes of one voxel stay as they are."""

    def __init__(self, config: BlurAugmentation) -> None:
        super().__init__(config.p)
        self.config = config

    def change(self, image: tio.ScalarImage) -> Float32[Tensor, "C I J K"]:
        changed: Tensor = image.data
        for axis, matrix in enumerate(self.draw(image.spatial_shape, image.spacing)):
            if matrix is not None:
                changed = product_along(changed, matrix, axis)
        return changed

    def draw(
        self, shape: Sequence[int], spacing_mm: Sequence[float]
    ) -> list[Float64[np.ndarray, "n n"] | None]:
        """What is done along each axis."""
        std_mm = uniform(0, self.config.std_mm)
        return [
            gaussian_matrix(size, std_mm / spacing) if size > 1 else None
            for size, spacing in zip(shape, spacing_mm, strict=True)
        ]


class Gamma(IntensityChange):
    """Each channel's own range, scaled to 0 to 1, to the power of gamma: no sign is lost, no end moves."""

    def __init__(self, config: GammaAugmentation) -> None:
        super().__init__(config.p)
        self.config = config

    def change(self, image: tio.ScalarImage) -> Float32[Tensor, "C I J K"]:
        changed = []
        for channel, gamma in zip(image.data, self.draw(len(image.data)), strict=True):
            low, high = (float(end) for end in torch.aminmax(channel))
            if high > low:
                scaled = channel.sub(low).div_(high - low).clamp_(TINY, 1)
                power = scaled.log_().mul_(gamma).clamp_(min=-80).exp_()  # a third of the time of pow
                channel = power.mul_(high - low).add_(low)  # noqa: PLW2901
            changed.append(channel)
        return torch.stack(changed)

    def draw(self, channels: int) -> list[float]:
        """The exponent of each channel."""
        limit = self.config.log_gamma
        return [float(np.exp(uniform(-limit, limit))) for _ in range(channels)]


class BrightnessContrast(IntensityChange):
    """Each channel: deviations from its mean are scaled, then an offset is added."""

    def __init__(self, config: BrightnessContrastAugmentation) -> None:
        super().__init__(config.p)
        self.config = config

    def change(self, image: tio.ScalarImage) -> Float32[Tensor, "C I J K"]:
        changed = []
        for channel, (contrast, offset) in zip(image.data, self.draw(len(image.data)), strict=True):
            mean = float(channel.mean())
            changed.append(torch.add(torch.tensor(mean * (1 - contrast) + offset), channel, alpha=contrast))
        return torch.stack(changed)

    def draw(self, channels: int) -> list[tuple[float, float]]:
        """Factor and offset of each channel."""
        contrast, brightness = self.config.contrast, self.config.brightness
        return [
            (uniform(1 - contrast, 1 + contrast), uniform(-brightness, brightness)) for _ in range(channels)
        ]


class Anisotropy(IntensityChange):
    """Slices as if they had been thicker along one axis: averaged down and interpolated up again."""

    def __init__(self, config: AnisotropyAugmentation) -> None:
        super().__init__(config.p)
        self.config = config

    def change(self, image: tio.ScalarImage) -> Float32[Tensor, "C I J K"]:
        data: Tensor = image.data
        drawn = self.draw(image.spatial_shape)
        return data.clone() if drawn is None else product_along(data, drawn[1], drawn[0])

    def draw(self, shape: Sequence[int]) -> tuple[int, Float64[np.ndarray, "n n"]] | None:
        """The axis, and what is done along it; None for a single voxel."""
        axes = [axis for axis, n in enumerate(shape) if n > 1]
        factor = uniform(*self.config.downsampling)
        phase = uniform(-0.5, 0.5)
        if not axes:
            return None
        axis = axes[int(torch.randint(len(axes), ()))]
        size = shape[axis]
        thick = int(np.ceil(size / factor)) + 1
        start = phase * factor
        down = resampling_matrix(size, thick, factor, start)
        up = resampling_matrix(thick, size, 1 / factor, -start / factor)
        return axis, up @ down

"""Intensities as the network wants them: about -1 to 1, or mean 0 and deviation 1."""

import math
from collections.abc import Sequence
from typing import assert_never

import numpy as np
import torch
from jaxtyping import Bool, Float32
from scipy import ndimage
from torch import Tensor

from medseg.config.preprocessing import (
    FittedIntensity,
    Intensity,
    LinearIntensity,
    MinMaxIntensity,
    PercentileIntensity,
    SequenceIntensity,
    WindowIntensity,
    ZScoreIntensity,
)
from medseg.errors import Code, ModelFileError, VolumeError
from medseg.transforms.fitting import IntensityStatistics

MOST_VOXELS_RANKED = 4_000_000
"""Percentiles are taken over about this many voxels, evenly spread; ranking more is slow."""


class Normalise:
    """One normalisation for all channels, or one a channel."""

    def __init__(
        self, intensity: Sequence[Intensity], fitted: Sequence[IntensityStatistics] | None = None
    ) -> None:
        self.intensity = tuple(intensity)
        self.fitted = None if fitted is None else tuple(fitted)

    def __call__(self, image: Float32[Tensor, "C I J K"]) -> None:
        """In place.

        Raises:
            VolumeError: a channel is blank or not finite, or their number does not fit the configuration.
            ModelFileError: nothing was fitted for a channel.
        """
        channels = len(image)
        if len(self.intensity) not in (1, channels):
            raise VolumeError(
                Code.CHANNELS,
                f"{channels} channel(s) and {len(self.intensity)} entries in preprocessing.intensity: "
                "give one image a channel, in the order of data.channels",
            )
        each = self.intensity * channels if len(self.intensity) == 1 else self.intensity
        outlined = any(step.region == "nonzero" for one in each for step in zscores(one))
        outline = _outline(image) if outlined else None
        for index, (channel, intensity) in enumerate(zip(image, each, strict=True)):
            self._normalise(channel, intensity, index, outline)

    def _normalise(self, channel: Tensor, intensity: Intensity, index: int, outline: Tensor | None) -> None:
        subject = f"channel {index}"
        if not math.isfinite(channel.numpy().sum(dtype=np.float64)):  # PyTorch's makes a copy in float64
            raise VolumeError(
                Code.NONFINITE,
                f"{subject} holds values that are not finite (NaN or infinite): repair the scan",
            )
        match intensity:
            case WindowIntensity():
                half = intensity.width / 2
                _between(channel, intensity.center - half, intensity.center + half)
            case ZScoreIntensity():
                _zscore(channel, intensity, outline, subject)
            case PercentileIntensity():
                stride = max(1, channel.numel() // MOST_VOXELS_RANKED)
                ranked = np.percentile(channel.numpy().reshape(-1)[::stride], (intensity.low, intensity.high))
                _between(channel, *_unlike(float(ranked[0]), float(ranked[1]), subject))
            case FittedIntensity():
                values = self._statistics(index)
                channel.clamp_(values.low, values.high).sub_(values.mean).div_(values.sd)
            case MinMaxIntensity():
                low, high = _unlike(float(channel.min()), float(channel.max()), subject)
                channel.sub_(low).div_(high - low).mul_(intensity.high - intensity.low).add_(intensity.low)
            case LinearIntensity():
                if intensity.low is not None or intensity.high is not None:
                    channel.clamp_(intensity.low, intensity.high)
                channel.sub_(intensity.subtract).div_(intensity.divide)
            case SequenceIntensity():
                for step in intensity.steps:
                    self._normalise(channel, step, index, outline)
            case _:
                assert_never(intensity)

    def _statistics(self, index: int) -> IntensityStatistics:
        if self.fitted is None or index >= len(self.fitted):
            raise ModelFileError(
                Code.MODEL_MISFIT,
                f"preprocessing.intensity is 'fitted' but there are no fitted values for channel {index}: "
                "fit preprocessing to the training cases first",
            )
        return self.fitted[index]


def zscores(intensity: Intensity) -> list[ZScoreIntensity]:
    """What of ``intensity`` looks at a scan's mean and deviation."""
    steps = intensity.steps if isinstance(intensity, SequenceIntensity) else (intensity,)
    return [step for step in steps if isinstance(step, ZScoreIntensity)]


def _between(channel: Tensor, low: float, high: float) -> None:
    """Clip to ``low`` to ``high``, and scale that to -1 to 1."""
    channel.clamp_(low, high).sub_((low + high) / 2).mul_(2 / (high - low))


def _zscore(channel: Tensor, intensity: ZScoreIntensity, outline: Tensor | None, subject: str) -> None:
    within = outline if intensity.region == "nonzero" else None
    if intensity.region == "nonzero_voxels":
        within = channel != 0
    if within is not None:
        _zscore_within(channel, within, subject)
        return
    values = channel.numpy()
    mean = values.mean(dtype=np.float64)
    if intensity.region == "foreground":
        above = values[values > mean]
        values = above if above.size else values
    mean, sd = _mean_and_sd(values, subject)
    channel.sub_(mean).div_(sd)


def _unlike(low: float, high: float, subject: str) -> tuple[float, float]:
    """Two intensities, unless there is nothing between them."""
    if low >= high:
        raise VolumeError(Code.BLANK, _blank(subject, low))
    return low, high


def _zscore_within(channel: Tensor, outline: Tensor, subject: str) -> None:
    values = channel[outline].numpy()
    if not values.size:
        raise VolumeError(Code.BLANK, _blank(subject, 0))
    mean, sd = _mean_and_sd(values, subject)
    channel[outline] = torch.from_numpy(values).sub_(mean).div_(sd)


def _outline(image: Float32[Tensor, "C I J K"]) -> Bool[Tensor, "I J K"]:
    """Voxels that are not 0 in some channel, and the holes among them."""
    return torch.from_numpy(ndimage.binary_fill_holes((image != 0).any(dim=0).numpy()))


def _mean_and_sd(values: Float32[np.ndarray, "*shape"], subject: str) -> tuple[float, float]:
    mean, sd = float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64))
    if sd <= 1e-6 * max(1.0, abs(mean)):
        raise VolumeError(Code.BLANK, _blank(subject, mean))
    return mean, sd


def _blank(subject: str, value: float) -> str:
    return f"{subject} is blank (nearly every voxel is {value:g}): take the case out, or mend the scan"

"""How a scan becomes what the network sees."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from medseg.config.base import Positive, Settings, Triple


class WindowIntensity(Settings):
    """CT: clip to [center - width/2, center + width/2] (HU), then scale to [-1, 1]."""

    kind: Literal["window"]
    center: float = 40
    width: Positive = 400


class ZScoreIntensity(Settings):
    """Each scan by itself: subtract the mean, divide by the standard deviation."""

    kind: Literal["zscore"]
    region: Literal["whole", "foreground", "nonzero", "nonzero_voxels"] = "whole"
    """Which voxels give mean and deviation: all; those above the scan's mean; those within the outline of
    what is not 0 in some channel (images whose background was erased; it stays 0); or exactly those that are
    not 0 (the others stay 0; MONAI)."""


class PercentileIntensity(Settings):
    """Each scan by itself: clip to two percentiles, then scale to [-1, 1]."""

    kind: Literal["percentile"]
    low: float = Field(0.5, ge=0, le=100)
    high: float = Field(99.5, ge=0, le=100)

    @model_validator(mode="after")
    def _ordered(self) -> "PercentileIntensity":
        if self.low >= self.high:
            raise ValueError(f"low {self.low} must be below high {self.high}")
        return self


class FittedIntensity(Settings):
    """The cohort: clip to percentiles 0.5 and 99.5 of the voxels inside labels of the training patients,
    subtract their mean, divide by their deviation (Isensee 2021, CT normalisation). The values travel in the
    model."""

    kind: Literal["fitted"]


class MinMaxIntensity(Settings):
    """Each scan by itself: its smallest value becomes ``low``, its largest ``high``."""

    kind: Literal["minmax"]
    low: float = 0
    high: float = 1

    @model_validator(mode="after")
    def _ordered(self) -> "MinMaxIntensity":
        if self.low >= self.high:
            raise ValueError(f"low {self.low} must be below high {self.high}")
        return self


class LinearIntensity(Settings):
    """Clip to ``low`` and ``high`` where they are given, subtract a number, divide by another; the defaults
    leave intensities as they are."""

    kind: Literal["linear"]
    low: float | None = None
    high: float | None = None
    subtract: float = 0
    divide: Positive = 1

    @model_validator(mode="after")
    def _ordered(self) -> "LinearIntensity":
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError(f"low {self.low} must be below high {self.high}")
        return self


_OneStep = Annotated[
    WindowIntensity | ZScoreIntensity | PercentileIntensity | MinMaxIntensity | LinearIntensity,
    Field(discriminator="kind"),
]


class SequenceIntensity(Settings):
    """Several normalisations, one after the other."""

    kind: Literal["sequence"]
    steps: tuple[_OneStep, ...] = Field(min_length=1, max_length=8)


Intensity = Annotated[
    WindowIntensity
    | ZScoreIntensity
    | PercentileIntensity
    | FittedIntensity
    | MinMaxIntensity
    | LinearIntensity
    | SequenceIntensity,
    Field(discriminator="kind"),
]


class CropConfig(Settings):
    """Cut the scan to the box around its largest bright part (the body), before anything else looks at it."""

    above: float
    """Voxels above this intensity of the first channel belong to the body (-300 HU suits CT)."""

    margin_mm: float = Field(5, ge=0)


def _as_list(value: Any) -> Any:
    return (value,) if isinstance(value, dict | BaseModel) else value


class PreprocessingConfig(Settings):
    spacing_mm: Triple | None = None
    """Voxel size the network sees, along right, anterior, superior. Unset: the median of those that train."""

    keep_spacing: tuple[Literal["i", "j", "k"], ...] = ()
    """Axes along which every scan keeps its own spacing, as the distance of slices for a slice network."""

    resampling: Literal["linear", "cubic", "points"] = "linear"
    """linear, averaged where voxels grow; by cubic splines, nearest across slices more than three times as
    thick as their pixels (nnU-Net); or linear at the points of a grid whose first voxel is the scan's, not
    averaged (MONAI)."""

    orientation: str = Field("RAS", pattern="^[RL][AP][SI]$")
    """Where the axes i, j, k of what the network sees run to: Right or Left, Anterior or Posterior, Superior
    or Inferior. Scans are turned to it however they are stored."""

    intensity: Annotated[tuple[Intensity, ...], BeforeValidator(_as_list)]
    """One for all channels, or a list with one a channel."""

    normalise: Literal["after", "before"] = "after"
    """Intensities are normalised after resampling, or before it, on the scan's own grid (nnU-Net)."""

    crop: CropConfig | Literal["nonzero"] | None = None
    """Cut to the body, or to the box around all that is not 0 in some channel."""

"""What may be done to a training patch, each with its probability ``p``."""

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, JsonValue, field_validator

from medseg.config.base import Count, Probability, Settings


def _ordered(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] > ends[1]:
        raise ValueError(f"[{ends[0]:g}, {ends[1]:g}]: the lower end comes first")
    return ends


def _ordered_counts(ends: tuple[int, int]) -> tuple[int, int]:
    _ordered(ends)
    return ends


_Share = Annotated[float, Field(ge=0)]
_Factor = Annotated[float, Field(ge=1)]
Range = Annotated[tuple[_Share, _Share], AfterValidator(_ordered)]
FactorRange = Annotated[tuple[_Factor, _Factor], AfterValidator(_ordered)]
CountRange = Annotated[tuple[Count, Count], AfterValidator(_ordered_counts)]
PatientAxis = Literal["left_right", "posterior_anterior", "inferior_superior"]


class Elastic(Settings):
    points: int = Field(7, ge=2)
    """Control points along each axis of the patch, from end to end."""
    max_mm: float = Field(6, ge=0)
    """Largest displacement of a control point (at most 0.4 of the distance of two, short of folding)."""


class SpatialAugmentation(Settings):
    """Shift, rotation, shear, zoom and elastic deformation, drawn together, applied in one interpolation."""

    kind: Literal["spatial"]
    p: Probability = 0.5
    rotation_deg: float | tuple[float, float, float] = 15
    """Largest rotation about the i, j and k axis (one number for all; 2D patches turn in their plane)."""
    scale: float = Field(0.15, ge=0, lt=1)
    """Zoom between 1 - scale and 1 + scale."""
    anisotropic_scale: bool = False
    """Draw the zoom for each axis by itself."""
    shear: float = Field(0.0, ge=0, lt=1)
    """Largest shear: displacement over distance."""
    shift_mm: float = Field(0.0, ge=0)
    elastic: Elastic | None = None


class FlipAugmentation(Settings):
    """Mirror; left/right pairs of structures swap their labels when left and right are mirrored."""

    kind: Literal["flip"]
    p: Probability = 0.5
    """Of each axis by itself."""
    axes: tuple[PatientAxis, ...] = ("left_right",)


class NoiseAugmentation(Settings):
    kind: Literal["noise"]
    p: Probability = 0.2
    std: float = Field(0.1, gt=0)
    """Largest standard deviation, in units of the normalised intensity."""


class BlurAugmentation(Settings):
    kind: Literal["blur"]
    p: Probability = 0.1
    std_mm: float = Field(1.5, gt=0)
    """Largest standard deviation of the Gaussian kernel."""


class GammaAugmentation(Settings):
    kind: Literal["gamma"]
    p: Probability = 0.2
    log_gamma: float = Field(0.3, gt=0)
    """The exponent is exp(u), u drawn from [-log_gamma, log_gamma]; the range of the patch stays as it is."""


class BrightnessContrastAugmentation(Settings):
    kind: Literal["brightness_contrast"]
    p: Probability = 0.2
    brightness: float = Field(0.2, ge=0)
    """Largest offset, in units of the normalised intensity."""
    contrast: float = Field(0.25, ge=0, lt=1)
    """Deviations from the mean are multiplied by 1 - contrast to 1 + contrast."""


class BiasFieldAugmentation(Settings):
    """MR: a smooth multiplicative field (exp of a polynomial) of mean one; the darkest voxels stay dark."""

    kind: Literal["bias_field"]
    p: Probability = 0.15
    coefficients: float = Field(0.4, gt=0)
    """Largest coefficient of a term; the axes run from -1 to 1 over the patch."""
    order: int = Field(3, ge=1, le=6)


class MotionAugmentation(Settings):
    """MR: the patient moved during the acquisition (Shaw 2019)."""

    kind: Literal["motion"]
    p: Probability = 0.05
    degrees: float = Field(5, ge=0)
    translation_mm: float = Field(5, ge=0)
    movements: Count = 2


class GhostingAugmentation(Settings):
    """MR: something moved periodically; every n-th plane of k-space along one axis is weaker."""

    kind: Literal["ghosting"]
    p: Probability = 0.05
    ghosts: CountRange = (3, 8)
    intensity: Range = (0.2, 0.6)
    """Share of the signal that those planes lose."""


class SpikeAugmentation(Settings):
    """MR: spikes in k-space give stripes."""

    kind: Literal["spike"]
    p: Probability = 0.05
    spikes: Count = 1
    intensity: Range = (0.3, 0.8)
    """Amplitude of the stripes, in standard deviations of the patch."""


class AnisotropyAugmentation(Settings):
    """Thick slices: averaged down along one axis and interpolated up again; the label stays as it is."""

    kind: Literal["anisotropy"]
    p: Probability = 0.1
    downsampling: FactorRange = (1.5, 3.0)


TorchIOName = Literal[
    "RandomAffine",
    "RandomAnisotropy",
    "RandomBiasField",
    "RandomBlur",
    "RandomElasticDeformation",
    "RandomGamma",
    "RandomGhosting",
    "RandomMotion",
    "RandomNoise",
    "RandomSpike",
    "RandomSwap",
]
TORCHIO_ARGUMENTS: Mapping[TorchIOName, tuple[str, ...]] = {
    "RandomAffine": (
        "scales",
        "degrees",
        "translation",
        "isotropic",
        "center",
        "default_pad_value",
        "default_pad_label",
        "image_interpolation",
        "label_interpolation",
        "check_shape",
    ),
    "RandomAnisotropy": ("axes", "downsampling", "image_interpolation", "scalars_only"),
    "RandomBiasField": ("coefficients", "order"),
    "RandomBlur": ("std",),
    "RandomElasticDeformation": (
        "num_control_points",
        "max_displacement",
        "locked_borders",
        "image_interpolation",
        "label_interpolation",
    ),
    "RandomGamma": ("log_gamma",),
    "RandomGhosting": ("num_ghosts", "axes", "intensity", "restore"),
    "RandomMotion": ("degrees", "translation", "num_transforms", "image_interpolation"),
    "RandomNoise": ("mean", "std"),
    "RandomSpike": ("num_spikes", "intensity"),
    "RandomSwap": ("patch_size", "num_iterations"),
}


class TorchIOAugmentation(Settings):
    """One of TorchIO's own random transforms, as it is. (To mirror, use flip, which swaps left and right.)"""

    kind: Literal["torchio"]
    p: Probability = 0.2
    name: TorchIOName
    arguments: dict[str, JsonValue] = Field(default_factory=dict)
    """What TorchIO calls them, lists standing for tuples; those that are left out are TorchIO's own."""

    @field_validator("arguments")
    @classmethod
    def _are_known(cls, arguments: dict[str, JsonValue], info: Any) -> dict[str, JsonValue]:
        name = info.data.get("name")
        known = TORCHIO_ARGUMENTS.get(name, ()) if name is not None else tuple(arguments)
        for argument in arguments:
            if argument not in known:
                close = difflib.get_close_matches(argument, known, n=1)
                hint = f"did you mean {close[0]}?" if close else f"known here: {', '.join(known)}"
                raise ValueError(f"{name} takes no {argument} ({hint})")
        return arguments


Augmentation = Annotated[
    SpatialAugmentation
    | FlipAugmentation
    | NoiseAugmentation
    | BlurAugmentation
    | GammaAugmentation
    | BrightnessContrastAugmentation
    | BiasFieldAugmentation
    | MotionAugmentation
    | GhostingAugmentation
    | SpikeAugmentation
    | AnisotropyAugmentation
    | TorchIOAugmentation,
    Field(discriminator="kind"),
]

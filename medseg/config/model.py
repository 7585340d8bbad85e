"""Which network, and its size. One union; ``medseg.models.build`` is its only reader."""

from typing import Annotated, Literal

from pydantic import Field, JsonValue, model_validator

from medseg.config.base import Count, Probability, Settings
from medseg.config.monai_networks import ARGUMENTS, REQUIRED, NetworkName

Plane = Literal["sagittal", "coronal", "axial"]
"""A 2D network sees slices across i (sagittal), j (coronal) or k (axial) of the canonical grid."""


class _Network(Settings):
    spatial_dims: Literal[2, 3] = 3
    """3: volumes. 2: slices, folded into the batch, so that training and inference are the same code."""
    plane: Plane = "axial"
    """The slices of a 2D network."""
    neighbours: int = Field(0, ge=0, le=7)
    """2.5D: this many slices on each side become further channels of a 2D network."""

    @model_validator(mode="after")
    def _neighbours_need_slices(self) -> "_Network":
        if self.neighbours and self.spatial_dims == 3:
            raise ValueError("neighbours is for slice networks: set spatial_dims: 2, or remove neighbours")
        return self


def _require_depth(channels: tuple[int, ...]) -> None:
    if len(channels) < 2:
        raise ValueError("channels: at least two stages are needed, as in [16, 32]")


def _require_odd(kernel: int | tuple[tuple[int, ...], ...]) -> None:
    sizes = {kernel} if isinstance(kernel, int) else {size for stage in kernel for size in stage}
    even = sorted(size for size in sizes if size % 2 == 0)
    if even:
        raise ValueError(f"kernel {even[0]} is even and has no centre: give {even[0] - 1} or {even[0] + 1}")


class UNetConfig(_Network):
    """U-Net, plain (Ronneberger 2015, Çiçek 2016) or with residual encoder (Isensee 2024)."""

    kind: Literal["unet"]
    channels: tuple[Count, ...] = (32, 64, 128, 256)
    """Feature maps of each stage, finest first; its length is the depth."""
    kernel: Count | tuple[tuple[Count, ...], ...] = 3
    """Kernel size (odd), or one a stage and axis, as in [[3, 3, 1], [3, 3, 3], ...] for thick slices."""
    strides: tuple[tuple[Count, ...], ...] | None = None
    """Pooling into each stage and axis; the first is [1, 1, 1]. Unset: 2 everywhere, but for axes of the
    patch that are too short (4 voxels are left) or odd."""
    blocks: Count | tuple[Count, ...] = 2
    """Convolutions (plain) or residual blocks a stage, for all stages or each."""
    decoder_blocks: Count | tuple[Count, ...] = 2
    """Convolutions a stage of the expanding path, for all or each, finest first."""
    residual: bool = False
    norm: Literal["instance", "batch", "none"] = "instance"
    activation: Literal["leaky_relu", "relu", "prelu"] = "leaky_relu"
    downsample: Literal["stride", "max"] = "stride"
    """The first convolution of a stage has the stride, or max pooling goes before it (the papers)."""
    upsample: Literal["transposed", "linear"] = "transposed"
    narrow_first: bool = False
    """Çiçek 2016: the first convolution of an encoder stage has half the feature maps, and upsampling keeps
    the number of feature maps."""
    dropout: Probability = 0.0
    deep_supervision: bool = False

    @model_validator(mode="after")
    def _one_a_stage(self) -> "UNetConfig":
        _require_depth(self.channels)
        depth = len(self.channels)
        for name in ("kernel", "strides", "blocks"):
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != depth:
                raise ValueError(
                    f"{name} has {len(value)} entries for {depth} stages (the length of channels)"
                )
        back = self.decoder_blocks
        if isinstance(back, tuple) and len(back) != depth - 1:
            raise ValueError(f"decoder_blocks has {len(back)} entries; {depth} stages have {depth - 1}")
        return self

    @model_validator(mode="after")
    def _one_an_axis(self) -> "UNetConfig":
        _require_odd(self.kernel)
        for name in ("kernel", "strides"):
            value = getattr(self, name)
            for stage in value if isinstance(value, tuple) else ():
                if len(stage) != self.spatial_dims:
                    raise ValueError(
                        f"{name}: {list(stage)} has {len(stage)} entries for {self.spatial_dims} axes"
                    )
        if self.strides and set(self.strides[0]) != {1}:
            raise ValueError(
                f"strides: the first stage keeps the full size; write {[1] * self.spatial_dims} first"
            )
        return self

    @model_validator(mode="after")
    def _options_fit(self) -> "UNetConfig":
        if self.narrow_first and self.residual:
            raise ValueError("narrow_first is for the plain encoder: remove it, or set residual: false")
        odd = [width for width in self.channels if width % 2]
        if self.narrow_first and odd:
            raise ValueError(f"channels: {odd[0]} is odd, and narrow_first halves it: give an even number")
        return self


class VNetConfig(_Network):
    """V-Net (Milletari 2016): residual stages, strided convolutions, PReLU, large kernels."""

    kind: Literal["vnet"]
    channels: tuple[Count, ...] = (16, 32, 64, 128, 256)
    """Feature maps of each stage of the contracting path, finest first; its length is the depth."""
    kernel: Count = 5
    """Kernel size (odd)."""
    blocks: tuple[Count, ...] = (1, 2, 3, 3, 3)
    """Convolutions in each stage of the contracting path."""
    decoder_blocks: tuple[Count, ...] = (1, 2, 3, 3)
    """Convolutions in each stage of the expanding path, finest first."""
    norm: Literal["batch", "instance", "none"] = "batch"
    """The paper has none; with batch norm it trains faster."""
    dropout: Probability = 0.0
    deep_supervision: bool = False

    @model_validator(mode="after")
    def _one_a_stage(self) -> "VNetConfig":
        _require_depth(self.channels)
        _require_odd(self.kernel)
        depth = len(self.channels)
        if len(self.blocks) != depth:
            raise ValueError(
                f"blocks has {len(self.blocks)} entries for {depth} stages (the length of channels)"
            )
        if len(self.decoder_blocks) != depth - 1:
            raise ValueError(
                f"decoder_blocks has {len(self.decoder_blocks)} entries; {depth} stages have {depth - 1}"
            )
        return self


class SegResNetConfig(_Network):
    """SegResNet (Myronenko 2018), MONAI's."""

    kind: Literal["segresnet"]
    init_filters: Annotated[int, Field(ge=8, multiple_of=8)] = 16
    """Feature maps of the finest stage; each stage doubles them. A multiple of 8, the groups of its norm."""
    blocks_down: tuple[Count, ...] = (1, 2, 2, 4)
    """Residual blocks in each stage of the contracting path."""
    blocks_up: tuple[Count, ...] = (1, 1, 1)
    """Residual blocks in each stage of the expanding path, coarsest first."""
    dropout: Probability = 0.0

    @model_validator(mode="after")
    def _one_a_stage(self) -> "SegResNetConfig":
        depth = len(self.blocks_down)
        if depth < 2:
            raise ValueError("blocks_down: at least two stages are needed, as in [1, 2]")
        if len(self.blocks_up) != depth - 1:
            raise ValueError(f"blocks_up has {len(self.blocks_up)} entries; {depth} stages have {depth - 1}")
        return self


class SwinUNETRConfig(_Network):
    """Swin UNETR (Hatamizadeh 2022), MONAI's. Patch sizes must be multiples of 32."""

    kind: Literal["swin_unetr"]
    feature_size: Annotated[int, Field(ge=12, multiple_of=12)] = 24
    dropout: Probability = 0.0


class MonaiConfig(_Network):
    """A network of MONAI under its own name and with its own arguments, as ``medseg convert monai`` finds it
    in a bundle."""

    kind: Literal["monai"]
    network: NetworkName
    arguments: dict[str, JsonValue] = Field(default_factory=dict)
    """Arguments of MONAI's class, but for the number of axes and channels. Plain values, as in
    {channels: [16, 32, 64], strides: [2, 2]}."""
    outputs: Literal["classes", "structures"] = "classes"
    """classes: the first output is the background. structures: the network has none for it (a sigmoid each);
    a structure is where its output is above 0."""

    @model_validator(mode="after")
    def _known_arguments(self) -> "MonaiConfig":
        known = ARGUMENTS[self.network]
        unknown = sorted(set(self.arguments) - set(known))
        if unknown:
            raise ValueError(
                f"arguments: {unknown[0]:.60} is not one of {self.network}'s that may be given "
                f"({', '.join(known)}): remove it"
            )
        missing = [name for name in REQUIRED.get(self.network, ()) if name not in self.arguments]
        if missing:
            raise ValueError(f"arguments: {self.network} needs {', '.join(missing)} as well: give them")
        return self


ModelConfig = Annotated[
    UNetConfig | VNetConfig | SegResNetConfig | SwinUNETRConfig | MonaiConfig, Field(discriminator="kind")
]

"""How a network learns, and when it stops."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from medseg.config.base import Count, Positive, Probability, Settings, SizeTriple


class SamplingConfig(Settings):
    patch_size: SizeTriple
    """Voxels of a training patch along i, j, k of the preprocessed grid; [256, 256, 1] is an axial slice."""
    foreground: Probability = 0.5
    """Share of patches centred on a voxel of a structure; structures take turns, so small ones are seen, and
    one that was drawn in few cases has its turn there the oftener."""


class DiceLoss(Settings):
    """Soft Dice over the structures (Milletari 2016; Drozdzal 2016), computed over the batch."""

    kind: Literal["dice"]


class CrossEntropyLoss(Settings):
    kind: Literal["ce"]


class DiceCELoss(Settings):
    """Soft Dice of the structures that are in the batch, plus cross-entropy (Isensee 2021)."""

    kind: Literal["dice_ce"]
    dice_weight: float = Field(1.0, ge=0)
    ce_weight: float = Field(1.0, ge=0)


class FocalLoss(Settings):
    """Lin 2017."""

    kind: Literal["focal"]
    gamma: float = Field(2.0, ge=0)


class TverskyLoss(Settings):
    """Salehi 2017: ``alpha`` weighs false positives, ``beta`` false negatives."""

    kind: Literal["tversky"]
    alpha: Probability = 0.3
    beta: Probability = 0.7


def _named(value: Any) -> Any:
    """``loss: dice_ce`` is short for ``loss: {kind: dice_ce}``."""
    return {"kind": value} if isinstance(value, str) else value


Loss = Annotated[
    DiceLoss | CrossEntropyLoss | DiceCELoss | FocalLoss | TverskyLoss,
    Field(discriminator="kind"),
    BeforeValidator(_named),
]


class AdamW(Settings):
    kind: Literal["adamw"]
    weight_decay: float = Field(1e-2, ge=0)


class SGD(Settings):
    """With Nesterov momentum."""

    kind: Literal["sgd"]
    momentum: Probability = 0.99
    weight_decay: float = Field(3e-5, ge=0)


Optimizer = Annotated[AdamW | SGD, Field(discriminator="kind"), BeforeValidator(_named)]


class StopConfig(Settings):
    """Training ends at whichever comes first."""

    epochs: Count | None = None
    minutes: Positive | None = None
    """Wall-clock budget of training and validation; the learning-rate schedule is fitted to it."""
    patience: Count | None = None
    """Early stopping: this many validations without a better Dice."""

    @model_validator(mode="after")
    def _ends(self) -> "StopConfig":
        if self.epochs is None and self.minutes is None:
            raise ValueError("give epochs, minutes or both: training would never end")
        return self


class TrainingConfig(Settings):
    loss: Loss = DiceCELoss(kind="dice_ce")
    optimizer: Optimizer = AdamW(kind="adamw")
    learning_rate: Positive = 1e-3
    schedule: Literal["poly", "cosine", "constant"] = "cosine"
    warmup: Probability = 0.03
    """Share of the training over which the learning rate rises to its value."""
    stop: StopConfig
    init_from: str | None = None
    """Fine-tuning: a model file, a run folder or the name of a model at hand, whose weights are the first
    ones. Structures and channels may differ: those of the same name are taken."""
    freeze: Literal["none", "encoder"] = "none"
    """encoder: the contracting path keeps its first weights, which needs ``init_from``."""
    freeze_epochs: Count | None = None
    """After this many epochs the frozen part learns too. Unset: never."""
    batch_size: Count = 2
    """Patches a batch, of all devices together."""
    steps_per_epoch: Count | None = None
    """Unset: each training case gives one patch an epoch."""
    accumulate: Count = 1
    """Batches whose gradients are summed before a step."""
    clip_norm: Positive | None = 12.0
    """Largest norm of the gradient."""
    ema: float | None = Field(0.99, gt=0, lt=1)
    """Decay of the moving average of the weights, which is what validates and is kept; null: none."""
    validate_every: Count = 5
    """Epochs between validations on whole volumes."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """auto: bf16 where the hardware computes in it, else fp32."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    devices: Count | Literal["auto"] = "auto"
    """Processes that train together, each on a device of its own; ``batch_size`` divides by it. auto: as many
    CUDA devices as there are and as divide the batch, else 1."""
    compile: bool | Literal["auto"] = "auto"
    """torch.compile the network. auto: on CUDA, where a compiler is at hand; on CPUs it takes minutes and
    gains nothing."""
    workers: int | Literal["auto"] = "auto"
    """Processes that load and augment; never changes the result."""
    augment_on: Literal["auto", "workers", "device"] = "auto"
    """Who augments. workers: processes, patch by patch. device: they cut patches, and the rest is done to a
    batch at once, where the network trains. auto: device on CUDA, else workers."""
    checkpoint_minutes: Positive = 5
    """Longest time between checkpoints, which validations write too; never changes the result."""
    seed: int = Field(0, ge=0, lt=2**63)

    @model_validator(mode="after")
    def _fits_together(self) -> "TrainingConfig":
        if self.freeze != "none" and self.init_from is None:
            raise ValueError("freeze keeps weights that were learned: give init_from, or remove freeze")
        if self.freeze_epochs and self.freeze == "none":
            raise ValueError("freeze_epochs: nothing is frozen: add freeze: encoder, or remove freeze_epochs")
        if self.devices != "auto" and self.batch_size % self.devices:
            raise ValueError(
                f"batch_size {self.batch_size} does not divide by devices {self.devices}: "
                "give a multiple, or fewer devices"
            )
        return self

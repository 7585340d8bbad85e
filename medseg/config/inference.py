"""Sliding window, postprocessing, and what is measured."""

from typing import Literal

from pydantic import Field

from medseg.config.base import Count, Positive, Settings, SizeTriple


class PostprocessingConfig(Settings):
    largest_component: tuple[str, ...] = ()
    """Structures of which only the largest connected part (26 neighbours) is kept."""
    minimum_volume_ml: dict[str, Positive] = Field(default_factory=dict)
    """Structure to volume: connected parts smaller than this are removed."""


class InferenceConfig(Settings):
    overlap: float = Field(0.5, ge=0, lt=1)
    """Share of a window that its neighbour covers again."""
    blend: Literal["gaussian", "constant", "nnunet"] = "gaussian"
    """How much the voxels of a window count: most in its middle, or all alike. nnunet: a Gaussian about voxel
    size // 2, as nnU-Net has it."""
    step: Literal["even", "fixed"] = "even"
    """Windows lie evenly over the scan; or each a fixed step after the last, but for the one at the end
    (MONAI)."""
    average: Literal["probabilities", "logits", "windows"] = "probabilities"
    """What is averaged where windows overlap and over mirrorings, and brought back to the scan's grid.
    windows: logits of windows and mirrorings are averaged, and what comes back is their probabilities
    (MONAI)."""
    nested: bool = False
    """Structures may lie within one another, in the order of ``labels`` (nnU-Net's regions): a voxel gets the
    last one that scores above the background, instead of the one that scores most."""
    padding: Literal["minimum", "zero", "edge"] = "minimum"
    """What surrounds a scan that is smaller than a window: its smallest normalised intensity, 0, or its
    outermost voxels again."""
    mirror: bool = False
    """Test-time augmentation: average over mirrorings along ``mirror_axes`` (left/right pairs swapped)."""
    mirror_axes: tuple[Literal["i", "j", "k"], ...] = ("i", "j", "k")
    window_size: SizeTriple | None = None
    """Unset: the training patch, and several slices at once for slice networks."""
    batch_size: Count = 1
    """Windows through the network at once."""
    postprocessing: PostprocessingConfig = PostprocessingConfig()


Metric = Literal[
    "dice", "iou", "pixel_accuracy", "mean_pixel_accuracy", "precision", "recall", "f1", "hd95", "assd", "nsd"
]


class LesionConfig(Settings):
    match: Literal["iou", "any_voxel"] = "iou"
    """When a reference lesion is found. iou: a predicted lesion of its own overlaps it by at least ``iou``.
    any_voxel: any predicted lesion shares a voxel with it, and may find several."""
    iou: float = Field(0.1, gt=0, le=1)
    """Intersection over union from which two lesions are one (nnDetection's 0.1; Baumgartner 2021)."""
    minimum_volume_mm3: float = Field(0.0, ge=0)
    """Smaller parts, of the reference and of the prediction, are no lesions. 0: each voxel counts."""


class EvaluationConfig(Settings):
    metrics: tuple[Metric, ...] = (
        "dice", "iou", "pixel_accuracy", "mean_pixel_accuracy", "precision", "recall", "f1",
        "hd95", "assd", "nsd",
    )  # fmt: skip
    """Volumes and their errors in mL are always told."""
    nsd_tolerance_mm: Positive = 2.0
    """Surfaces closer than this agree (normalised surface distance, Nikolov 2018)."""
    lesions: dict[str, LesionConfig] = Field(default_factory=dict)
    """Structures, such as tumours, whose connected parts (26 neighbours) are counted one by one."""

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
    blend: Literal["gaussian", "constant"] = "gaussian"
    mirror: bool = False
    """Test-time augmentation: average over the mirrorings along all axes (left/right pairs swapped)."""
    window_size: SizeTriple | None = None
    """Unset: the training patch, and several slices at once for slice networks."""
    batch_size: Count = 1
    """Windows through the network at once."""
    postprocessing: PostprocessingConfig = PostprocessingConfig()


Metric = Literal[
    "dice", "iou", "pixel_accuracy", "mean_pixel_accuracy", "precision", "recall", "f1", "hd95", "assd", "nsd"
]


class EvaluationConfig(Settings):
    metrics: tuple[Metric, ...] = (
        "dice", "iou", "pixel_accuracy", "mean_pixel_accuracy", "precision", "recall", "f1",
        "hd95", "assd", "nsd",
    )  # fmt: skip
    """Volumes and their errors in mL are always told."""
    nsd_tolerance_mm: Positive = 2.0
    """Surfaces closer than this agree (normalised surface distance, Nikolov 2018)."""

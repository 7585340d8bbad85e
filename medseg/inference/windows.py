"""Where the windows of a sliding-window inference lie, and how much each voxel of one counts."""

from dataclasses import dataclass
from itertools import product

import torch
from jaxtyping import Float32
from torch import Tensor

from medseg.config import Experiment
from medseg.config.inference import InferenceConfig
from medseg.models import size_multiples
from medseg.models.layout import require_multiple

SLICES_AT_ONCE = 16
"""Slices a window of a slice network spans; they are its batch."""

Size = tuple[int, int, int]


@dataclass(frozen=True)
class WindowPlan:
    """Size of a window (voxels) and the share that neighbours overlap, along each axis.

    ``softmax_after``: averaged logits become probabilities before they are brought back to the scan's grid.
    """

    size: Size
    overlap: tuple[float, float, float]
    blend: str = "gaussian"
    batch_size: int = 1
    mirror: bool = False
    mirror_axes: tuple[int, ...] = (0, 1, 2)
    average_logits: bool = False
    softmax_after: bool = False
    padding: str = "minimum"
    nested: bool = False
    fixed_step: bool = False

    @property
    def gives_logits(self) -> bool:
        """Whether what comes back to the scan's grid are logits, not probabilities."""
        return self.average_logits and not self.softmax_after


def plan_windows(experiment: Experiment, inference: InferenceConfig | None = None) -> WindowPlan:
    """Windows as trained, unless configured otherwise; slice networks take several slices at once.

    Raises:
        ConfigError: ``inference.window_size`` does not divide by what the network pools.
    """
    chosen = inference or experiment.inference
    if chosen.window_size is not None:
        multiples = size_multiples(experiment.model, experiment.sampling.patch_size)
        reason = "what the network's pooling needs there"
        require_multiple(chosen.window_size, "ijk", multiples, reason, "inference.window_size")
    size = list(chosen.window_size or experiment.sampling.patch_size)
    overlap = [chosen.overlap] * 3
    model = experiment.model
    if model.spatial_dims == 2:
        axis = ("sagittal", "coronal", "axial").index(model.plane)
        if chosen.window_size is None:
            size[axis] = max(size[axis], SLICES_AT_ONCE)
        if model.neighbours == 0:
            overlap[axis] = 0.0  # slices do not see each other
    return WindowPlan(
        size=(size[0], size[1], size[2]),
        overlap=(overlap[0], overlap[1], overlap[2]),
        blend=chosen.blend,
        batch_size=chosen.batch_size,
        mirror=chosen.mirror,
        mirror_axes=tuple("ijk".index(axis) for axis in chosen.mirror_axes),
        average_logits=chosen.average != "probabilities",
        softmax_after=chosen.average == "windows",
        padding=chosen.padding,
        nested=chosen.nested,
        fixed_step=chosen.step == "fixed",
    )


def window_starts(length: int, window: int, overlap: float, *, fixed: bool = False) -> tuple[int, ...]:
    """First voxels of windows that cover ``length`` voxels with at least ``overlap``: evenly, or each a
    ``fixed`` step after the last as far as the scan reaches.

    ``length`` must not be below ``window`` (pad before).
    """
    if length <= window:
        return (0,)
    step = max(1, int(window * (1 - overlap)))
    count = -(-(length - window) // step) + 1
    if fixed:
        return tuple(min(index * step, length - window) for index in range(count))
    return tuple(round(index * (length - window) / (count - 1)) for index in range(count))


def window_grid(shape: Size, plan: WindowPlan, stream_axis: int) -> list[tuple[int, list[Size]]]:
    """Windows grouped by their start along ``stream_axis``, in increasing order."""
    starts = [
        window_starts(n, w, o, fixed=plan.fixed_step)
        for n, w, o in zip(shape, plan.size, plan.overlap, strict=True)
    ]
    groups = []
    for first in starts[stream_axis]:
        across = [(first,) if axis == stream_axis else values for axis, values in enumerate(starts)]
        groups.append((first, [(i, j, k) for i, j, k in product(*across)]))
    return groups


def blend_weights(size: Size, blend: str) -> Float32[Tensor, "I J K"]:
    """Weight of each voxel of a window: one, or a Gaussian of sigma = size / 8 (Isensee 2021).

    The smallest weight is a thousandth of the largest: a corner that only one window sees still counts.
    ``nnunet``: about voxel size // 2, and bounded by the smallest half-precision number of a peak of 10.
    """
    if blend == "constant":
        return torch.ones(size)
    axes = []
    for n in size:
        centre = n // 2 if blend == "nnunet" else (n - 1) / 2
        position = torch.arange(n, dtype=torch.float32) - centre
        axes.append(torch.exp(-0.5 * (position / max(n / 8, 0.5)) ** 2))
    weights = axes[0][:, None, None] * axes[1][None, :, None] * axes[2][None, None, :]
    return (weights / weights.max()).clamp_min(6e-9 if blend == "nnunet" else 1e-3)

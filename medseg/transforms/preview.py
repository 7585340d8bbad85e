"""A picture of what augmentation does to a case."""

import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from medseg.config.experiment import Experiment
from medseg.errors import Code, UsageError
from medseg.transforms.augmentation import build_augmentation
from medseg.transforms.preprocessing import Prepared
from medseg.transforms.randomness import single_thread
from medseg.transforms.sampling import ForegroundIndex, sample_patch

COLOURS = ("#e6194b", "#3cb44b", "#ffe119", "#4363d8", "#f58231", "#42d4f4", "#f032e6", "#bfef45")
"""Of the structures, in their order and then again from the first."""

Patch = tuple[Tensor, Tensor]


def augmentation_preview(
    prepared: Prepared, experiment: Experiment, rows: int = 4, columns: int = 6
) -> bytes:
    """A PNG: a patch of the case as it is, and as training sees it in ``rows`` x ``columns`` - 1 samples.

    All panels show the same slice of the same patch, first channel, through the structure in it, with the
    contours of the structures; the patch is seen from the feet (the patient's right on the left).

    Raises:
        UsageError: when the case has no label, or there is only room for the original.
    """
    if prepared.label is None or rows * columns < 2:
        raise UsageError(
            Code.CALL, "augmentation preview: a case with a label and at least two panels are needed"
        )
    patches = _draw_patches(prepared, experiment, rows * columns)
    axis, index = _most_telling_slice(patches[0][1])
    width, height = (n * s for a, (n, s) in enumerate(_sides(prepared, patches[0][1])) if a != axis)
    low, high = (float(v) for v in np.percentile(patches[0][0][0].numpy(), (0.5, 99.5)))
    panel = 2.2 * min(max(height / width, 0.4), 2.5) + 0.2  # inches
    figure = Figure(figsize=(2.2 * columns, panel * rows + 0.7), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"Augmentation of {experiment.name}", fontsize=11)
    for number, (image, label) in enumerate(patches):
        axes = figure.add_subplot(rows, columns, number + 1)
        axes.set_title("original" if number == 0 else f"sample {number}", fontsize=8)
        picture = np.take(image[0].numpy(), index, axis)
        aspect = height / width * picture.shape[0] / picture.shape[1]
        axes.imshow(picture.T, cmap="gray", vmin=low, vmax=high, origin="lower", aspect=aspect)
        _draw_contours(axes, np.take(label.numpy(), index, axis))
        axes.set_axis_off()
        if axis != 0:
            axes.invert_xaxis()
    _draw_legend(figure, tuple(experiment.labels))
    png = io.BytesIO()
    figure.savefig(png, format="png")
    return png.getvalue()


def _draw_patches(prepared: Prepared, experiment: Experiment, count: int) -> list[Patch]:
    """The patch as it is, then augmented as samples 1, 2, ... of epoch 0."""
    if prepared.label is None:
        raise UsageError(Code.CALL, "augmentation preview: a case with a label is needed")
    size, seed = experiment.sampling.patch_size, experiment.training.seed
    configs, pairs = experiment.augmentation, experiment.class_pairs
    augment = build_augmentation(configs, pairs=pairs, patch_size=size)
    plain = build_augmentation((), pairs=pairs, patch_size=size)
    spacing = prepared.geometry.spacing_mm
    margin = augment.margin(spacing)
    i, j, k = (n + 2 * m for n, m in zip(size, margin, strict=True))
    label = prepared.label.numpy()
    with single_thread():
        image, classes = sample_patch(
            prepared.image.numpy(),
            label,
            (i, j, k),
            foreground=1.0,
            index=ForegroundIndex.build(label),
            rng=np.random.default_rng(seed),
            margin=margin,
        )
        patches = [plain(image, classes, spacing, key=(seed, 0, 0))[:2]]
        patches += [augment(image, classes, spacing, key=(seed, 0, n))[:2] for n in range(1, count)]
    return patches


def _most_telling_slice(label: Tensor) -> tuple[int, int]:
    """(axis, index): of a flat patch its slice, else the axial one with the most structures, then voxels."""
    shape = label.shape
    axis = shape.index(1) if 1 in shape else 2
    slices = label.movedim(axis, 0)
    scores = [(len(s.unique()), int((s > 0).sum())) for s in slices]
    return axis, max(range(len(scores)), key=scores.__getitem__)


def _sides(prepared: Prepared, label: Tensor) -> list[tuple[int, float]]:
    """Voxels and spacing (mm) along each axis of a patch."""
    return list(zip(label.shape, prepared.geometry.spacing_mm, strict=True))


def _colour(index: int) -> str:
    return COLOURS[(index - 1) % len(COLOURS)]


def _draw_contours(axes: Axes, label: UInt8[np.ndarray, "W H"]) -> None:
    if min(label.shape) < 2:
        return
    for index in np.unique(label[label > 0]):
        mask = (label == index).astype(np.float32).T
        axes.contour(mask, levels=[0.5], colors=[_colour(int(index))], linewidths=1.0)


def _draw_legend(figure: Figure, names: Sequence[str]) -> None:
    shown = names[:24]
    swatches = [figure.axes[0].plot([], [], color=_colour(n + 1), linewidth=2)[0] for n in range(len(shown))]
    columns = min(len(shown), 6)
    figure.legend(swatches, shown, loc="outside lower center", ncols=columns, fontsize=8, frameon=False)

"""One case, read once: all that the rules and the pictures of a check need to know of it."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
from jaxtyping import Shaped, UInt8
from scipy import ndimage

from medseg.audit.canonical import Canonical
from medseg.audit.contrast import Boxes, Contrast, contrast
from medseg.audit.thumbnail import Thumbnail, content_hash, thumbnail
from medseg.config import Experiment
from medseg.data import Case
from medseg.data.loading import to_class_indices
from medseg.errors import VolumeError
from medseg.planning.look import CaseLook, measure, read_reference
from medseg.transforms.crop import crop
from medseg.volume import Geometry, Volume

PERCENTILES = (0.5, 5, 25, 50, 75, 95, 99.5)
INSIDE = (10, 50, 90)
"""Percentiles of a structure's own intensities."""

FEW_VALUES = 16
_SAMPLED = 300_000
_BACKGROUND = 0.15
"""Share of a scan's range that counts as background: how much air a scan shows must not matter."""
Quantiles = tuple[float, ...]
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class ChannelFacts:
    """``quantiles`` at ``PERCENTILES`` of what is not background; ``distinct``: number of different values,
    at most ``FEW_VALUES``."""

    content: str
    quantiles: Quantiles
    distinct: int


@dataclass(frozen=True)
class StructureFacts:
    """``centre_mm``: of gravity, from the middle of the scan along right, anterior, superior. ``border``: the
    largest cross-section on a face of the scan, as a share of the structure's largest cross-section along
    that axis. ``inside``: a channel's intensities at ``INSIDE``."""

    centre_mm: Triple
    border: float
    inside: tuple[Quantiles, ...]


@dataclass(frozen=True)
class CaseFacts:
    """``look``: what a plan measures. ``cropped``: the grid that preprocessing works on. ``drawn``: structure
    to what is known of it, only those with a voxel."""

    look: CaseLook
    cropped: Geometry
    axis_codes: str
    label_content: str
    channels: tuple[ChannelFacts, ...]
    drawn: Mapping[str, StructureFacts]
    contrast: Contrast
    thumbnail: Thumbnail
    read_seconds: float
    """Of reading alone, by one thread."""

    @property
    def id(self) -> str:
        return self.look.id


def look_closely(case: Case, experiment: Experiment) -> CaseFacts:
    """Read ``case`` and measure it.

    Raises:
        VolumeError, CohortError: as ``planning.look``, and when the crop of the configuration leaves nothing.
    """
    began = time.perf_counter()
    images, label = read_reference(case)
    seconds = time.perf_counter() - began
    look = measure(case, images, label)
    classes, _ = to_class_indices(label.array, experiment.labels, f"case {case.id}")
    canonical = Canonical.of(label.geometry)
    seen = np.ascontiguousarray(canonical.view(classes))
    boxes = cast(Boxes, ndimage.find_objects(seen, max_label=len(experiment.labels)))
    channels = tuple(_channel(image, canonical) for image in images)
    return CaseFacts(
        look=look,
        cropped=_cropped(case, images, experiment),
        axis_codes=images[0].geometry.axis_codes,
        label_content=content_hash(classes, canonical) if classes.any() else "",
        channels=channels,
        drawn=_drawn(seen, canonical, [canonical.view(image.array) for image in images], boxes, experiment),
        contrast=_contrast(canonical.view(images[0].array), seen, boxes, canonical, channels[0].quantiles),
        thumbnail=thumbnail(images[0].array, canonical),
        read_seconds=seconds,
    )


def _cropped(case: Case, images: tuple[Volume, ...], experiment: Experiment) -> Geometry:
    config = experiment.preprocessing.crop
    if config is None:
        return images[0].geometry
    try:
        cropped, _ = crop(images, None, config)
    except VolumeError as error:
        raise error.about(f"case {case.id}") from error
    return cropped[0].geometry


def _channel(image: Volume, canonical: Canonical) -> ChannelFacts:
    flat = image.array.ravel(order="K")
    sample = flat[:: max(1, flat.size // _SAMPLED)].astype(np.float64)
    low, high = np.percentile(sample, (PERCENTILES[0], PERCENTILES[-1]))
    shown = sample[sample > low + _BACKGROUND * (high - low)]
    quantiles = tuple(float(q) for q in np.percentile(shown if shown.size else sample, PERCENTILES))
    distinct = len(np.unique(sample))
    if distinct < FEW_VALUES:
        distinct = len(np.unique(flat))
    return ChannelFacts(content_hash(image.array, canonical), quantiles, min(FEW_VALUES, distinct))


def _drawn(
    classes: UInt8[np.ndarray, "R A S"],
    canonical: Canonical,
    images: list[Shaped[np.ndarray, "R A S"]],
    boxes: Boxes,
    experiment: Experiment,
) -> dict[str, StructureFacts]:
    found = {}
    middle = (np.array(classes.shape) - 1) / 2
    for index, (name, box) in enumerate(zip(experiment.labels, boxes, strict=True), start=1):
        if box is None:
            continue
        inside = classes[box] == index
        start = np.array([side.start for side in box])
        centre = (np.array(ndimage.center_of_mass(inside)) + start - middle) * canonical.spacing_mm
        x, y, z = (float(c) for c in centre)
        values = tuple(
            tuple(float(q) for q in np.percentile(image[box][inside].astype(np.float64), INSIDE))
            for image in images
        )
        found[name] = StructureFacts((x, y, z), _on_border(inside, box, classes.shape), values)
    return found


def _contrast(
    image: Shaped[np.ndarray, "R A S"],
    classes: UInt8[np.ndarray, "R A S"],
    boxes: Boxes,
    canonical: Canonical,
    quantiles: Quantiles,
) -> Contrast:
    """Without the brightest and darkest voxels: metal must not decide."""
    low, high = quantiles[0], quantiles[-1]
    spread = max(quantiles[-2] - quantiles[1], 1e-6 * max(1.0, abs(high), abs(low)))
    return contrast(image.clip(low, high), classes, boxes, canonical.spacing_mm, spread)


def _on_border(inside: Shaped[np.ndarray, "i j k"], box: tuple[slice, ...], shape: tuple[int, ...]) -> float:
    """Scans of few slices show every organ on their border; an axis of one slice has none."""
    largest = 0.0
    for axis, (side, n) in enumerate(zip(box, shape, strict=True)):
        others = tuple(other for other in range(3) if other != axis)
        areas = inside.sum(axis=others)
        faces = [areas[0]] * (side.start == 0) + [areas[-1]] * (side.stop == n)
        if n > 1 and faces:
            largest = max(largest, float(max(faces)) / float(areas.max()))
    return largest

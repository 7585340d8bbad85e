"""One case, looked at once: what a plan needs to know of it."""

from dataclasses import dataclass
from typing import cast

import numpy as np
from jaxtyping import Integer, Shaped, UInt8
from scipy import ndimage

from medseg.config.preprocessing import CropConfig
from medseg.data import Case, load_images
from medseg.data.loading import MAX_CLASSES, to_class_indices
from medseg.data.regrid import place_label
from medseg.errors import Code, CohortError, VolumeError
from medseg.io import read_label
from medseg.transforms.crop import Box, body_box
from medseg.transforms.grid import Spacing, canonical_spacing_mm
from medseg.volume import Geometry, Shape, Volume

SAMPLED = 500_000
"""Percentiles are taken over about this many voxels, evenly spread."""

AIR_BELOW = -200
"""In Hounsfield units a scan that shows air around the patient has voxels below this."""

BODY_ABOVE_AIR = 700
"""Skin and fat begin this far above air."""


@dataclass(frozen=True)
class StructureLook:
    """A label value in one reference. ``extent_mm`` is its box along right, anterior, superior;
    ``largest_part`` the share of its voxels in its largest of ``parts`` connected parts (26 neighbours)."""

    voxels: int
    volume_ml: float
    extent_mm: Spacing
    largest_part: float
    parts: int


@dataclass(frozen=True)
class IntensityLook:
    """One channel: percentiles 0.5 and 99.5 of all voxels, extremes, the median inside labels (None without
    any), the share of voxels that are 0, and whether all values are whole numbers."""

    low: float
    high: float
    minimum: float
    maximum: float
    labelled_median: float | None
    zeros: float
    whole: bool

    @property
    def shows_air(self) -> bool:
        """Whether values look like Hounsfield units with air in the picture."""
        return self.low < AIR_BELOW and self.minimum >= -5000 and self.maximum > 0


@dataclass(frozen=True)
class CaseLook:
    """``shape`` and ``spacing_mm`` run along right, anterior, superior. ``body_shape`` is what is left within
    the box around the body and ``body_loses`` how many labelled voxels lie outside of it; ``nonzero_shape``
    the box of what is not 0."""

    id: str
    patient: str
    shape: Shape
    spacing_mm: Spacing
    values: dict[int, StructureLook]
    intensity: tuple[IntensityLook, ...]
    body_shape: Shape
    body_loses: int
    nonzero_shape: Shape

    @property
    def size_mm(self) -> Spacing:
        i, j, k = (n * s for n, s in zip(self.shape, self.spacing_mm, strict=True))
        return i, j, k


def look_at(case: Case) -> CaseLook:
    """Read a case and measure it.

    Raises:
        as :func:`read_reference` and :func:`measure`.
    """
    images, label = read_reference(case)
    return measure(case, images, label)


def read_reference(case: Case) -> tuple[tuple[Volume, ...], Volume]:
    """The channels of a case, and its reference with the values of its file, all on one grid.

    Raises:
        VolumeError: a file is damaged, or image and reference do not share a grid.
        CohortError: there is no reference.
    """
    images = load_images(case)
    if case.label is None:
        raise CohortError(
            Code.NO_LABEL,
            f"case {case.id}: no reference label, a plan needs one: add it, or remove the case",
        )
    try:
        label = read_label(case.label, geometry=case.reading.geometry)
    except VolumeError as error:
        raise error.about(f"case {case.id}: label") from error
    label = place_label(
        label,
        images[0].geometry,
        f"case {case.id}: image and label",
        resample=case.reading.resample_labels,
        option="data.reading.resample_labels",
    ).label
    return images, label


def measure(case: Case, images: tuple[Volume, ...], label: Volume) -> CaseLook:
    """What a plan needs to know of a case in memory.

    Raises:
        CohortError: the reference has too many values to be one.
    """
    values = _values(label.array, case.id)
    classes, _ = to_class_indices(label.array, {str(value): value for value in values}, f"case {case.id}")
    geometry = images[0].geometry
    body, loses = _body(images[0], classes)
    return CaseLook(
        id=case.id,
        patient=case.patient,
        shape=_canonical(geometry.shape, geometry),
        spacing_mm=canonical_spacing_mm(geometry),
        values={
            value: found
            for value, found in zip(values, _structures(classes, len(values), geometry), strict=True)
            if found is not None
        },
        intensity=tuple(_intensity(image.array, classes) for image in images),
        body_shape=_canonical(body, geometry),
        body_loses=loses,
        nonzero_shape=_canonical(_nonzero(images), geometry),
    )


def _canonical(shape: Shape, geometry: Geometry) -> Shape:
    """Along right, anterior, superior."""
    order = ["RLAPSI".index(code) // 2 for code in geometry.axis_codes]
    i, j, k = (shape[order.index(axis)] for axis in range(3))
    return i, j, k


def _values(array: Integer[np.ndarray, "I J K"], subject: str) -> list[int]:
    """The values of a reference but 0."""
    low, high = int(array.min()), int(array.max())
    if high - low < 1 << 20:
        counts = np.bincount(array.ravel(order="K").astype(np.int64) - low)
        found = (np.flatnonzero(counts) + low).tolist()
    else:
        found = np.unique(array).tolist()
    values = [int(value) for value in found if value != 0]
    if len(values) > MAX_CLASSES:
        raise CohortError(
            Code.TOO_MANY_CLASSES,
            f"case {subject}: its reference has {len(values)} values, at most {MAX_CLASSES} are possible: "
            "is it an image? correct the path, or name the references by --label-file (data.label)",
        )
    return values


def _structures(
    classes: UInt8[np.ndarray, "I J K"], count: int, geometry: Geometry
) -> list[StructureLook | None]:
    found: list[StructureLook | None] = []
    spacing = canonical_spacing_mm(geometry)
    boxes = cast(list[Box | None], ndimage.find_objects(classes, max_label=count))
    for index, box in enumerate(boxes, start=1):
        if box is None:
            found.append(None)
            continue
        inside = classes[box] == index
        parts, number = ndimage.label(inside, structure=np.ones((3, 3, 3)))
        voxels = int(np.count_nonzero(inside))
        largest = voxels if number == 1 else int(np.bincount(parts.ravel())[1:].max())
        shape = _canonical((inside.shape[0], inside.shape[1], inside.shape[2]), geometry)
        i, j, k = (n * s for n, s in zip(shape, spacing, strict=True))
        found.append(StructureLook(voxels, voxels * geometry.voxel_ml, (i, j, k), largest / voxels, number))
    return found


def _intensity(array: Shaped[np.ndarray, "I J K"], classes: UInt8[np.ndarray, "I J K"]) -> IntensityLook:
    flat = array.reshape(-1)
    sample = flat[:: max(1, flat.size // SAMPLED)].astype(np.float32)
    low, high = (float(p) for p in np.percentile(sample, (0.5, 99.5)))
    inside = array[classes > 0]
    return IntensityLook(
        low=low,
        high=high,
        minimum=float(array.min()),
        maximum=float(array.max()),
        labelled_median=float(np.median(inside)) if inside.size else None,
        zeros=float(np.mean(sample == 0)),
        whole=bool((sample == np.round(sample)).all()),
    )


def _body(image: Volume, classes: UInt8[np.ndarray, "I J K"]) -> tuple[Shape, int]:
    """The shape of the box around the body, if this is a CT, and how many labelled voxels lie beyond it."""
    try:
        box = body_box(image, CropConfig(above=body_above(float(image.array.min()))))
    except VolumeError:
        return image.geometry.shape, 0
    i, j, k = (side.stop - side.start for side in box)
    return (i, j, k), int(np.count_nonzero(classes)) - int(np.count_nonzero(classes[box]))


def body_above(minimum: float) -> float:
    """Where the body begins, in Hounsfield units or on a scale shifted so that nothing is negative."""
    air = -1000 if minimum < AIR_BELOW else 0
    return air + BODY_ABOVE_AIR


def _nonzero(images: tuple[Volume, ...]) -> Shape:
    inside = np.logical_or.reduce([image.array != 0 for image in images])
    if not inside.any():
        return images[0].geometry.shape
    sides = [np.flatnonzero(inside.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
    i, j, k = (int(side[-1] - side[0]) + 1 for side in sides)
    return i, j, k

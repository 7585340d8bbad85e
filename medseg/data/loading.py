"""Files of a case to volumes: channels and reference on one grid, label values as class indices."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Integer, UInt8

from medseg.data.case import Case
from medseg.data.regrid import place_label
from medseg.errors import Code, CohortError, VolumeError
from medseg.io import read_label, read_volume
from medseg.volume import Volume, require_same_grid

log = logging.getLogger(__name__)

MAX_CLASSES = 255
_LARGEST_TABLE = 1 << 20


@dataclass(frozen=True, eq=False)
class LoadedCase:
    """A case in memory.

    ``label`` holds class indices (background 0, structures from 1 in the order of the labels), or is None;
    ``known[c]`` tells whether class ``c`` was drawn in this case: where it is False, the case teaches and
    judges nothing about it. ``known[0]`` is True.
    """

    case: Case
    images: tuple[Volume, ...]
    label: Volume | None
    known: tuple[bool, ...]


def load_case(
    case: Case, labels: Mapping[str, int], missing: Literal["absent", "not_contoured"] = "absent"
) -> LoadedCase:
    """Read the images and the reference of ``case``.

    A reference within a tenth of a voxel of its image's grid is taken as it is, and logged. Beyond, it is
    refused, or with ``case.reading.resample_labels`` put onto the image's grid, and logged.

    Args:
        labels: structure to its value in the file; other values become background.
        missing: whether a structure without a voxel is absent, or was not contoured.

    Raises:
        VolumeError: a file is damaged; GridMismatchError: channels or reference do not share a grid.
        CohortError: more than 255 structures.
    """
    if len(labels) > MAX_CLASSES:
        raise CohortError(
            Code.TOO_MANY_CLASSES,
            f"labels: {len(labels)} structures, at most {MAX_CLASSES} are possible; split them into models",
        )
    images = load_images(case)
    if case.label is None:
        drawn = (name not in case.not_contoured for name in labels)
        return LoadedCase(case, images, None, (True, *drawn))
    try:
        reference = read_label(case.label, geometry=case.reading.geometry)
    except VolumeError as error:
        raise error.about(f"case {case.id}: label") from error
    reference = place_label(
        reference,
        images[0].geometry,
        f"case {case.id}: image and label",
        resample=case.reading.resample_labels,
        option="data.reading.resample_labels (--set data.reading.resample_labels=true)",
    ).label
    classes, counts = to_class_indices(reference.array, labels, f"case {case.id}")
    known = [
        name not in case.not_contoured and (missing == "absent" or counts[index] > 0)
        for index, name in enumerate(labels, start=1)
    ]
    return LoadedCase(case, images, reference.with_array(classes), (True, *known))


def load_images(case: Case) -> tuple[Volume, ...]:
    """The channels of ``case``, all on one grid.

    Raises:
        VolumeError: a file is damaged; GridMismatchError: two channels do not share a grid.
    """
    images: list[Volume] = []
    told = case.reading
    for number, path in enumerate(case.images, start=1):
        try:
            image = read_volume(
                path, geometry=told.geometry, nonfinite=told.nonfinite, series_uid=told.series_uid
            )
        except VolumeError as error:
            raise error.about(f"case {case.id}") from error
        if images:
            subject = f"case {case.id}: channels 1 ({case.images[0].name}) and {number} ({path.name})"
            require_same_grid(images[0].geometry, image.geometry, subject)
        images.append(image)
    return tuple(images)


def to_class_indices(
    array: Integer[np.ndarray, "I J K"], labels: Mapping[str, int], subject: str
) -> tuple[UInt8[np.ndarray, "I J K"], tuple[int, ...]]:
    """Label values to class indices, and the number of voxels of each class (background first).

    Values that ``labels`` does not name become background, and are logged once.
    """
    low, high = int(array.min()), int(array.max())
    if high - low >= _LARGEST_TABLE:
        return _by_search(array, labels, subject)
    table = np.zeros(high - low + 1, dtype=np.uint8)
    for index, value in enumerate(labels.values(), start=1):
        if low <= value <= high:
            table[value - low] = index
    classes = np.empty_like(array, dtype=np.uint8)
    found = np.zeros(len(table), dtype=np.int64)
    axis = int(np.argmax(np.abs(array.strides)))  # slab by slab along the slowest axis: little memory
    for slab, out in zip(np.moveaxis(array, axis, 0), np.moveaxis(classes, axis, 0), strict=True):
        offset = slab.astype(np.int64) - low
        out[...] = table[offset]
        found += np.bincount(offset.ravel(order="K"), minlength=len(table))
    _tell_unknown(np.flatnonzero(found) + low, labels, subject)
    counts = np.bincount(table, weights=found, minlength=len(labels) + 1)
    return classes, tuple(int(count) for count in counts)


def _by_search(
    array: Integer[np.ndarray, "I J K"], labels: Mapping[str, int], subject: str
) -> tuple[UInt8[np.ndarray, "I J K"], tuple[int, ...]]:
    """The same for values so far apart that a table would not fit."""
    values, inverse, found = np.unique(array, return_inverse=True, return_counts=True)
    index_of = {value: index for index, value in enumerate(labels.values(), start=1)}
    table = np.array([index_of.get(int(value), 0) for value in values], dtype=np.uint8)
    _tell_unknown(values, labels, subject)
    counts = np.bincount(table, weights=found, minlength=len(labels) + 1)
    return table[inverse].reshape(array.shape), tuple(int(count) for count in counts)


def _tell_unknown(values: np.ndarray, labels: Mapping[str, int], subject: str) -> None:
    unknown = sorted({int(value) for value in values} - set(labels.values()) - {0})
    if unknown:
        told = ", ".join(str(value) for value in unknown[:10]) + (" ..." if len(unknown) > 10 else "")
        log.info("%s: label values %s are not in the configuration and count as background", subject, told)

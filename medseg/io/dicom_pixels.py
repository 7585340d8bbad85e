"""The voxels of a DICOM series: decoded file by file, rescaled slice by slice."""

from itertools import groupby
from pathlib import Path

import numpy as np
from jaxtyping import Shaped
from pydicom.pixels.utils import pixel_array

from medseg.errors import Code, EnvironmentProblem, VolumeError
from medseg.io.dicom_file import DICOM_ERRORS, quiet_pydicom, read_pixel_dataset
from medseg.io.dicom_privacy import listed_files
from medseg.io.dicom_series import Series
from medseg.io.dicom_slices import Slice
from medseg.io.values import Voxels, narrowed_signed


def series_voxels(series: Series, subject: str) -> Voxels:
    """All slices as (column, row up, slice).

    Raises:
        VolumeError: naming the files whose pixels are damaged.
        EnvironmentProblem: memory is short.
    """
    first = series.slices[0]
    shape = (len(series.slices), first.rows, first.columns)
    try:
        planes = np.empty(shape, dtype=_dtype(series.slices))
    except (MemoryError, ValueError):
        raise EnvironmentProblem(
            Code.MEMORY, f"{subject}: no memory for {shape[0]} slices of {shape[1]}x{shape[2]}; free some"
        ) from None
    sizes = {header.file: header.pixel_bytes for header in series.headers}
    places = {(plane.file, plane.frame): k for k, plane in enumerate(series.slices)}
    damaged = []
    by_file = groupby(sorted(series.slices, key=lambda plane: plane.file), key=lambda plane: plane.file)
    with quiet_pydicom():
        for file, own in by_file:
            try:
                frames = _frames(file, sizes[file])
                for plane in own:
                    k = places[file, plane.frame]
                    planes[k] = _rescaled(frames[plane.frame], plane, planes.dtype)[::-1]
            except DICOM_ERRORS:
                damaged.append(file)
    if damaged:
        raise VolumeError(
            Code.DICOM_PIXELS,
            f"{subject}: pixels that cannot be decoded, damaged or cut off, in "
            f"{listed_files(damaged, series.root)}; export the series anew",
        )
    return narrowed_signed(planes.transpose(2, 1, 0))


def _frames(file: Path, pixel_bytes: int) -> Shaped[np.ndarray, "frames rows columns"]:
    dataset = read_pixel_dataset(file, pixel_bytes)
    pixels: np.ndarray = pixel_array(dataset)
    if pixels.dtype.kind not in "iu":
        raise TypeError("pixels that are no whole numbers")
    return pixels[np.newaxis] if pixels.ndim == 2 else pixels


def _rescaled(
    stored: Shaped[np.ndarray, "rows columns"], plane: Slice, dtype: np.dtype
) -> Shaped[np.ndarray, "rows columns"]:
    if stored.shape != (plane.rows, plane.columns):
        raise ValueError("not of the declared size")
    low, high = plane.stored_range
    if stored.min() < low or stored.max() > high:
        raise ValueError("values beyond the declared bits")
    if dtype.kind == "f":
        return (stored * np.float64(plane.slope) + plane.intercept).astype(dtype)
    whole: np.ndarray = stored.astype(dtype)
    whole *= dtype.type(plane.slope)
    whole += dtype.type(plane.intercept)
    return whole


def _dtype(slices: tuple[Slice, ...]) -> np.dtype:
    """int16 or int32 when all rescaled values are whole and fit, float32 otherwise (PET, mixed slopes)."""
    largest = 0.0
    for plane in slices:
        if not (plane.slope.is_integer() and plane.intercept.is_integer()):
            return np.dtype(np.float32)
        largest = max(largest, *(abs(end * plane.slope) + abs(plane.intercept) for end in plane.stored_range))
    return np.dtype(np.int16 if largest < 2**15 else np.int32 if largest < 2**31 else np.float32)

"""Reading a DICOM series as a volume: slices by position, true geometry (tilt kept), rescale applied.

Axes: i runs along the columns of the images, j *up* their rows (the rows are flipped), k along the images'
normal. That is the layout of dcm2niix, so masks made here lie voxel on voxel over volumes converted by it.
"""

import warnings
from itertools import groupby
from pathlib import Path

import numpy as np
import pydicom
from jaxtyping import Shaped
from pydicom.pixels.utils import pixel_array

from medseg.errors import Code, EnvironmentProblem, VolumeError
from medseg.io.dicom_geometry import series_geometry
from medseg.io.dicom_series import Series, choose_series, damaged, find_series, stacks
from medseg.io.dicom_slices import DICOM_ERRORS, Slice, looks_like_dicom, read_header
from medseg.io.paths import require_regular_file
from medseg.io.values import Voxels, narrowed_signed
from medseg.volume import Geometry, Volume


def read_dicom(path: Path, series_uid: str | None = None) -> Volume:
    """The volume of the only series in folder ``path``, or of the series that file ``path`` belongs to.

    Raises:
        VolumeError: when slices are missing, doubled or damaged, or the series is not clear.
    """
    series = _find(path, series_uid)
    geometry = series_geometry(series, path.name)
    return Volume(_voxels(series, path.name), geometry)


def read_dicom_geometry(path: Path, series_uid: str | None = None) -> Geometry:
    """The grid of a series, from its headers alone."""
    return series_geometry(_find(path, series_uid), path.name)


def _find(path: Path, series_uid: str | None) -> Series:
    if path.is_dir():
        return choose_series(find_series(path), path.name, series_uid)
    require_regular_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header = read_header(path) if looks_like_dicom(path) else None
    except DICOM_ERRORS as error:
        raise VolumeError(Code.DICOM_HEADER, damaged(path.name, error)) from None
    if header is None:
        raise VolumeError(
            Code.DICOM_NO_SERIES,
            f"{path.name}: not an image of a DICOM scan; give a volume or the folder of a series",
        )
    if len(header.slices) > 1:
        return choose_series(stacks([header]), path.name)
    return choose_series(find_series(path.parent, recursive=False), path.name, series_uid or header.uid)


def _voxels(series: Series, name: str) -> Voxels:
    first = series.slices[0]
    try:
        planes = np.empty((len(series.slices), first.rows, first.columns), dtype=_dtype(series.slices))
    except (MemoryError, ValueError):
        raise EnvironmentProblem(
            Code.MEMORY, f"{name}: no memory for {len(series.slices)} slices; free some"
        ) from None
    places = {plane: k for k, plane in enumerate(series.slices)}
    problems = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for file, own in groupby(
            sorted(series.slices, key=lambda plane: plane.file), key=lambda plane: plane.file
        ):
            try:
                frames = _frames(file)
                for plane in own:
                    planes[places[plane]] = _rescaled(frames[plane.frame], plane, planes.dtype)[::-1]
            except DICOM_ERRORS as error:
                problems.append(_undecodable(file, error))
    if problems:
        raise VolumeError(Code.DICOM_PIXELS, *(f"{name}: {problem}" for problem in problems))
    return narrowed_signed(planes.transpose(2, 1, 0))


def _frames(file: Path) -> Shaped[np.ndarray, "frames rows columns"]:
    pixels: np.ndarray = pixel_array(pydicom.dcmread(file))
    return pixels[np.newaxis] if pixels.ndim == 2 else pixels


def _rescaled(
    stored: Shaped[np.ndarray, "rows columns"], plane: Slice, dtype: np.dtype
) -> Shaped[np.ndarray, "rows columns"]:
    if stored.shape != (plane.rows, plane.columns):
        raise ValueError("not of the declared size")
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


def _undecodable(file: Path, error: BaseException) -> str:
    return f"{file.name}: pixels cannot be decoded ({type(error).__name__}), damaged or cut off; export anew"

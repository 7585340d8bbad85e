"""Reading a DICOM series as a volume: slices by position, true geometry (tilt kept), rescale applied.

Axes: i runs along the columns of the images, j *up* their rows (the rows are flipped), k along the images'
normal. So an axial CT of a patient on the back is stored as NIfTI files of it mostly are.
"""

from pathlib import Path

from medseg.errors import Code, VolumeError
from medseg.io.dicom_choice import choose_series
from medseg.io.dicom_geometry import series_geometry
from medseg.io.dicom_header import read_header
from medseg.io.dicom_pixels import series_voxels
from medseg.io.dicom_series import Series, find_series, series_of
from medseg.io.paths import require_regular_file
from medseg.volume import Geometry, Volume


def read_dicom(path: Path, series_uid: str | None = None) -> Volume:
    """The volume of the only series in folder ``path``, or of the series that file ``path`` belongs to.

    Raises:
        VolumeError: when slices are missing, doubled or damaged, or the series is not clear.
    """
    series, subject = _find(path, series_uid)
    geometry = series_geometry(series, subject)
    return Volume(series_voxels(series, subject), geometry)


def read_dicom_geometry(path: Path, series_uid: str | None = None) -> Geometry:
    """The grid of a series, from its headers alone."""
    return series_geometry(*_find(path, series_uid))


def _find(path: Path, series_uid: str | None) -> tuple[Series, str]:
    """The series, and what messages call it."""
    folder = path if path.is_dir() else path.parent
    subject = folder.resolve().name
    if path.is_dir():
        return choose_series(find_series(path), subject, series_uid), subject
    require_regular_file(path)
    header = read_header(path)
    if header is None:
        raise VolumeError(
            Code.DICOM_NO_SERIES,
            f"{subject}: the file given is no image of a DICOM scan; give a volume or a series' folder",
        )
    if header.fault is not None or len(header.slices) > 1:
        return choose_series(series_of([header], folder), subject), subject
    return choose_series(find_series(folder, recursive=False), subject, series_uid or header.uid), subject

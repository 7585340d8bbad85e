"""Volumes in and out of files, the only room that knows formats. One affine rule, one axis convention."""

from medseg.files import sweep_temporary
from medseg.io.dicom_series import Series, find_series, is_dicom_folder
from medseg.io.paths import VOLUME_SUFFIXES, is_volume_file, volume_stem
from medseg.io.read import read_geometry, read_label, read_volume
from medseg.io.write import write_volume

__all__ = [
    "VOLUME_SUFFIXES",
    "Series",
    "find_series",
    "is_dicom_folder",
    "is_volume_file",
    "read_geometry",
    "read_label",
    "read_volume",
    "sweep_temporary",
    "volume_stem",
    "write_volume",
]

"""A scan as nnU-Net has to get it: stored along L, P, S, for it never turns one."""

from pathlib import Path

import nibabel
import numpy as np
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform


def stored_lps(scan: Path, copy: Path, add: float) -> Path:
    """``scan``, or an int16 copy that is turned (no voxel changes its place), ``add`` added to all values."""
    image = nibabel.load(scan)
    if nibabel.aff2axcodes(image.affine) == ("L", "P", "S") and add == 0:
        return scan
    turned = image.as_reoriented(ornt_transform(io_orientation(image.affine), axcodes2ornt("LPS")))
    low, high = np.iinfo(np.int16).min, np.iinfo(np.int16).max
    values = (np.asarray(turned.dataobj) + add).clip(low, high).round().astype(np.int16)
    told = nibabel.Nifti1Image(values, turned.affine)
    told.header.set_xyzt_units("mm")
    nibabel.save(told, copy)
    return copy

"""Whether two evaluations used the same reference: a short hash of each structure as it was compared."""

import hashlib

import numpy as np
from jaxtyping import Bool

from medseg.volume import Geometry


def hash_structure(mask: Bool[np.ndarray, "I J K"], corner: tuple[int, int, int], geometry: Geometry) -> str:
    """Sixteen hexadecimal digits of a mask and its place.

    The file's format, its compression and the label's value do not change it.

    Args:
        mask: the smallest box that holds the structure; of no voxel when it is absent.
        corner: of the box, in voxels.
        geometry: of the whole grid; its affine counts to a thousandth of a millimetre.
    """
    affine = np.round(geometry.affine, 3) + 0.0  # no minus zero
    told = hashlib.sha256(repr((geometry.shape, affine.tolist(), mask.shape, corner)).encode())
    told.update(np.packbits(mask).tobytes())
    return told.hexdigest()[:16]

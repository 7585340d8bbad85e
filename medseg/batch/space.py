"""Whether the disk has room for the masks, asked before hours are spent on them."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from medseg.errors import Code, EnvironmentProblem
from medseg.files import cannot_write

COMPRESSED = 0.03
"""Bytes of a compressed mask for a voxel; masks of many organs on CT take 0.005 to 0.02."""
_RESERVE_BYTES = 1 << 20


def require_space(folder: Path, voxels: Sequence[int], bytes_per_voxel: int) -> None:
    """Refuse to start when the masks will not fit.

    Args:
        voxels: how many each mask will have.

    Raises:
        EnvironmentProblem: what is needed and what there is.
    """
    needed = int(COMPRESSED * bytes_per_voxel * sum(voxels)) + _RESERVE_BYTES
    try:
        available = shutil.disk_usage(folder).free
    except OSError as error:
        raise cannot_write(folder, error) from None
    if needed > available:
        raise EnvironmentProblem(
            Code.DISK_FULL,
            f"{folder}: {len(voxels)} masks need about {needed / 2**20:.0f} MiB, the disk has "
            f"{available / 2**20:.0f} MiB: free some disk space, or choose another output folder",
        )

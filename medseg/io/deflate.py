"""Voxels out of memory into compressed bytes, slab by slab, so that no second volume lies in memory."""

from collections.abc import Iterable, Iterator
from typing import IO

from isal import isal_zlib

from medseg.io.values import Voxels

_LEVEL = 2  # of ISA-L: files as small as zlib's level 2 makes them, several times faster
_SLAB_VOXELS = 1 << 21


def voxel_bytes(array: Voxels) -> Iterator[bytes]:
    """The voxels' bytes, little-endian, i running fastest."""
    little = array.dtype.newbyteorder("<")
    for start, end in slabs(array):
        yield array[:, :, start:end].astype(little, copy=False).tobytes(order="F")


def slabs(array: Voxels) -> Iterator[tuple[int, int]]:
    """Ranges of k of a few megabytes each."""
    thick = max(1, _SLAB_VOXELS // (array.shape[0] * array.shape[1]))
    for start in range(0, array.shape[2], thick):
        yield start, min(start + thick, array.shape[2])


def deflate(file: IO[bytes], pieces: Iterable[bytes], coding: int) -> int:
    """Write ``pieces`` as one stream of ``coding`` (``payload.GZIP`` or ``ZLIB``); the bytes it took.

    No time and no name is stored, so that the same pieces give the same bytes.
    """
    compressor = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, coding)
    stored = 0
    for piece in pieces:
        stored += file.write(compressor.compress(piece))
    return stored + file.write(compressor.flush())

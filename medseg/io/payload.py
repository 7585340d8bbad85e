"""The bytes of voxels: read exactly as many as declared, decompressed and checked to the last one."""

from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import psutil
from isal import igzip_lib, isal_zlib
from jaxtyping import Shaped

from medseg.errors import Code, EnvironmentProblem, VolumeError
from medseg.volume import Shape

GZIP = 31  # zlib's window bits: a gzip member, its checksum verified
ZLIB = 15  # a zlib stream, its checksum verified
PLAIN = 0
_GZIP_MARK = b"\x1f\x8b"
_DAMAGE: type[Exception] = igzip_lib.IsalError  # type: ignore[assignment] # its stub has an instance
_CHUNK = 1 << 18  # stays in the processor's cache
_LARGE, _CREDIBLE = 1 << 32, 200  # bytes, and times smaller: more of both at once is made to fill memories
_DEFLATE_LIMIT = 1040  # deflate cannot shrink further than 1032:1, so a larger claim is a lie


class Payload:
    """A file's bytes from ``offset`` on, inflated unless ``coding`` is ``PLAIN``.

    Raises:
        VolumeError: when the compressed bytes are damaged or end too soon.
    """

    def __init__(self, path: Path, coding: int, offset: int = 0) -> None:
        self._name = path.name
        self._coding = coding
        self._file: BinaryIO = open_binary(path)
        self._file.seek(offset)
        self._inflater: Any = isal_zlib.decompressobj(coding) if coding else None
        self._pending = b""
        self.consumed = 0  # bytes handed out so far

    def __enter__(self) -> "Payload":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, count: int) -> bytes:
        """Up to ``count`` bytes; fewer only at the end."""
        found = bytearray(count)
        return bytes(found[: self.readinto(memoryview(found))])

    def readinto(self, view: memoryview) -> int:
        """Fill ``view`` as far as there are bytes; return how many there were."""
        filled = 0
        while filled < len(view):
            piece = self._next(min(len(view) - filled, _CHUNK))
            if not piece:
                break
            view[filled : filled + len(piece)] = piece
            filled += len(piece)
        self.consumed += filled
        return filled

    def skip(self, count: int) -> bool:
        """Pass over ``count`` bytes, holding few of them; whether there were as many."""
        while count > 0:
            piece = self._next(min(count, _CHUNK))
            if not piece:
                return False
            count -= len(piece)
            self.consumed += len(piece)
        return True

    def at_end(self) -> bool:
        """Whether nothing is left. Only now are the checksums of compressed bytes verified."""
        return not self._next(1)

    def _next(self, limit: int) -> bytes:
        try:
            return self._file.read(limit) if self._inflater is None else self._inflate(limit)
        except (_DAMAGE, OSError) as error:
            raise VolumeError(
                Code.DAMAGED, f"{self._name}: damaged ({error}); copy or export the file anew"
            ) from None

    def _inflate(self, limit: int) -> bytes:
        inflater = self._inflater
        while inflater is not None:
            if inflater.eof:
                inflater = self._inflater = self._next_member(inflater.unused_data)
                continue
            source = self._pending or self._file.read(_CHUNK)
            if not source:
                raise VolumeError(
                    Code.TRUNCATED,
                    f"{self._name}: truncated, its compressed data end too soon; copy the file anew",
                )
            found: bytes = inflater.decompress(source, limit)
            self._pending = inflater.unconsumed_tail
            if found:
                return found
            if len(self._pending) == len(source):  # neither taken nor given: it would go on for ever
                raise _DAMAGE("no progress")
        return b""

    def _next_member(self, unused: bytes) -> Any:  # zlib does not export the type
        """Gzip files may be several members in a row, and may be padded with zeros."""
        rest = unused.lstrip(b"\0")
        while not rest:
            chunk = self._file.read(_CHUNK)
            if not chunk:
                self._inflater = None
                self._coding = PLAIN
                return None
            rest = chunk.lstrip(b"\0")
        self._pending = rest if len(rest) > 1 else rest + self._file.read(1)
        if self._coding != GZIP or not self._pending.startswith(_GZIP_MARK):
            raise VolumeError(
                Code.SURPLUS_BYTES,
                f"{self._name}: holds other bytes behind its compressed data; export the file anew",
            )
        return isal_zlib.decompressobj(self._coding)


def coding_of(path: Path) -> int:
    """``GZIP`` when the file starts as gzip files do, whatever its name; else ``PLAIN``."""
    with open_binary(path) as file:
        return GZIP if file.read(2) == _GZIP_MARK else PLAIN


def require_possible(name: str, declared: int, stored: int, coding: int) -> None:
    """Refuse a header that declares more bytes than the file can hold, before memory is taken for them.

    Args:
        declared: bytes the header asks for (from the start of the data).
        stored: bytes there are in the file from there on.
    """
    if declared > (stored * _DEFLATE_LIMIT if coding else stored):
        raise VolumeError(
            Code.TRUNCATED,
            f"{name}: truncated, or its header is wrong: {stored} bytes stored, {declared} bytes of voxels "
            "declared; copy or export the file anew",
        )
    if coding and declared > max(_LARGE, stored * _CREDIBLE):
        raise VolumeError(
            Code.BOMB,
            f"{name}: {stored} bytes that unpack to {declared}, which no scan does; unpack it to .nii, "
            "and give that, if it is one",
        )


def read_voxels(payload: Payload, name: str, shape: Shape, dtype: np.dtype) -> Shaped[np.ndarray, "I J K"]:
    """All voxels, i running fastest, in native byte order.

    Raises:
        VolumeError: when there are fewer or more bytes than ``shape`` and ``dtype`` need.
        EnvironmentProblem: when memory is short.
    """
    needed = prod(shape) * dtype.itemsize
    try:
        if needed > psutil.virtual_memory().available:  # the system promises more than it has
            raise MemoryError
        array = np.empty(shape, dtype=dtype, order="F")
    except (MemoryError, ValueError):
        size = "x".join(str(n) for n in shape)
        raise EnvironmentProblem(
            Code.MEMORY,
            f"{name}: {needed / 1e9:.3g} GB needed for {size} voxels of {dtype}, more than is free; "
            "close other programs, or use a machine with more memory",
        ) from None
    found = payload.readinto(array.reshape(-1, order="F").view(np.uint8).data)
    if found != array.nbytes:
        raise VolumeError(
            Code.TRUNCATED,
            f"{name}: truncated, {found} bytes of voxels found, {array.nbytes} expected; "
            "copy or export the file anew",
        )
    if not payload.at_end():
        raise VolumeError(
            Code.SURPLUS_BYTES, f"{name}: holds more bytes than its header declares; export the file anew"
        )
    return array if array.dtype.isnative else array.byteswap(inplace=True).view(array.dtype.newbyteorder("="))


def open_binary(path: Path) -> BinaryIO:
    """Open ``path`` to read; VolumeError when it may not be read."""
    try:
        return path.open("rb")
    except OSError as error:
        raise VolumeError(
            Code.CANNOT_OPEN, f"{path.name}: cannot be opened ({error.strerror}); check its permissions"
        ) from None

"""Writers of volumes that write something else than they were given: what memory, disk and mistakes do."""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medseg.volume import Geometry, Volume
from support.raw_volumes import NIFTI1_FIELDS

Write = Callable[[Volume, Path], None]


@dataclass(frozen=True)
class Sabotage:
    """``spoil(write, volume, path)`` writes ``volume`` by ``write``, but not as it is."""

    what: str
    suffix: str
    spoil: Callable[[Write, Volume, Path], None]


def _otherwise(change: Callable[[Volume], Volume]) -> Callable[[Write, Volume, Path], None]:
    """Another volume is written than the one given."""
    return lambda write, volume, path: write(change(volume), path)


def _afterwards(change: Callable[[bytes], bytes]) -> Callable[[Write, Volume, Path], None]:
    """The bytes change on their way to the disk."""

    def spoil(write: Write, volume: Volume, path: Path) -> None:
        write(volume, path)
        path.write_bytes(change(path.read_bytes()))

    return spoil


def _bit(byte: int) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        changed = bytearray(content)
        changed[byte] ^= 1
        return bytes(changed)

    return change


def _field(name: str, *values: float) -> Callable[[bytes], bytes]:
    byte, form = NIFTI1_FIELDS[name]

    def change(content: bytes) -> bytes:
        changed = bytearray(content)
        struct.pack_into(f"<{form}", changed, byte, *values)
        return bytes(changed)

    return change


def _shifted(volume: Volume) -> Volume:
    affine = volume.geometry.affine.copy()
    affine[0, 3] += 0.01
    return Volume(volume.array, Geometry(volume.geometry.shape, affine))


def _without_last_slice(volume: Volume) -> Volume:
    i, j, k = volume.geometry.shape
    return Volume(volume.array[:, :, :-1], Geometry((i, j, k - 1), volume.geometry.affine))


def _wrapped(volume: Volume) -> Volume:
    return volume.with_array(volume.array.astype(np.uint8))


def _exchanged(volume: Volume) -> Volume:
    return volume.with_array(np.ascontiguousarray(volume.array.transpose(1, 0, 2)))


def _without_one_label(volume: Volume) -> Volume:
    return volume.with_array(np.where(volume.array == 300, 0, volume.array).astype(volume.array.dtype))


def _byteswapped(content: bytes) -> bytes:
    return content[:352] + np.frombuffer(content[352:], dtype=">u2").astype("<u2").tobytes()


def _another_file(write: Write, volume: Volume, path: Path) -> None:
    """As when a stale file of an earlier run takes the place of the one just written."""
    write(volume.with_array(np.roll(volume.array, 1, axis=0)), path)


SABOTAGES = (
    Sabotage("a bit of a voxel flips", ".nii", _afterwards(_bit(-7))),
    Sabotage("a bit of compressed bytes flips", ".nii.gz", _afterwards(_bit(-40))),
    Sabotage("the origin is 0.01 mm off", ".mha", _otherwise(_shifted)),
    Sabotage("a slice is dropped", ".nrrd", _otherwise(_without_last_slice)),
    Sabotage("300 becomes 44 in 8 bits", ".nii.gz", _otherwise(_wrapped)),
    Sabotage("the write ends early", ".nii.gz", _afterwards(lambda content: content[:-20])),
    Sabotage("two axes are exchanged", ".mha", _otherwise(_exchanged)),
    Sabotage("qform 0.05 mm from sform", ".nii", _afterwards(_field("qoffset", 10.05, 20.0, 30.0))),
    Sabotage("a label is lost", ".nrrd", _otherwise(_without_one_label)),
    Sabotage("a slope of 2", ".nii", _afterwards(_field("scl_slope", 2.0))),
    Sabotage("voxels of the other byte order", ".nii", _afterwards(_byteswapped)),
    Sabotage("an older file in its place", ".nii.gz", _another_file),
)

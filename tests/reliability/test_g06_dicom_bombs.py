"""DICOM headers that ask for far more than their file holds: refused at once, before memory is taken."""

import resource
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import uid as uids

from medseg.errors import Code, VolumeError
from medseg.io import read_volume
from support.dicom_series import line, noise, write_multiframe, write_series

SECONDS, MEBIBYTES = 2.0, 300
DEPTH = 3000


def _name(n: int) -> str:
    return f"IM{n:02d}.dcm"


def _large_plane(folder: Path) -> None:
    write_series(folder, line(5), name=_name, Rows=65535, Columns=65535)


def _large_compressed_plane(folder: Path) -> None:
    stored = noise(5, 40, 36)
    write_series(
        folder, line(5), stored=stored, name=_name, syntax=uids.JPEG2000Lossless, Rows=16000, Columns=16000
    )


def _many_frames(folder: Path) -> None:
    write_multiframe(folder / _name(0), line(5), NumberOfFrames=1_000_000_000)


def _many_legacy_frames(folder: Path) -> None:
    write_series(folder, line(5), name=_name, NumberOfFrames=2_000_000_000)


def _nested_sequences(folder: Path) -> None:
    """Sequences of undefined length inside each other, in a tag that is read."""
    write_multiframe(folder / _name(0), line(3))
    opened = struct.pack("<HH2sHL", 0x5200, 0x9230, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
        "<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF
    )
    _insert(folder / _name(0), opened * DEPTH)


def _endless_value(folder: Path) -> None:
    """An element of undefined length whose end never comes."""
    write_series(folder, line(5), name=_name)
    for file in folder.iterdir():
        _insert(file, struct.pack("<HH2sHL", 0x0009, 0x0010, b"OB", 0, 0xFFFFFFFF))


def _four_gigabyte_value(folder: Path) -> None:
    write_series(folder, line(5), name=_name)
    for file in folder.iterdir():
        _insert(file, struct.pack("<HH2sHL", 0x0008, 0x0008, b"UT", 0, 0xFFFFFFF0))


def _four_gigabyte_implicit_value(folder: Path) -> None:
    write_series(folder, line(5), name=_name, syntax=uids.ImplicitVRLittleEndian)
    for file in folder.iterdir():
        _insert(file, struct.pack("<HHL", 0x0008, 0x0008, 0xFFFFFFF0))


def _insert(file: Path, element: bytes) -> None:
    """Put ``element`` at the start of the dataset."""
    content = file.read_bytes()
    start = 144 + struct.unpack("<L", content[140:144])[0]
    file.write_bytes(content[:start] + element + content[start:])


def _deflate_bomb(folder: Path) -> None:
    """Each file inflates to 2 GiB of one private value."""
    write_series(folder, line(3), name=_name, syntax=uids.DeflatedExplicitVRLittleEndian)
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = deflater.compress(struct.pack("<HH2sHL", 0x0009, 0x1010, b"OB", 0, 2 << 30))
    zeros = bytes(16 << 20)
    block = deflater.compress(zeros) + deflater.flush(zlib.Z_FULL_FLUSH)
    repeated = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    again = repeated.compress(zeros) + repeated.flush(zlib.Z_FULL_FLUSH)
    for file in folder.iterdir():
        content = file.read_bytes()
        start = 144 + struct.unpack("<L", content[140:144])[0]
        file.write_bytes(content[:start] + packed + block + again * 127)


VERDICTS: dict[str, tuple[Code, Callable[[Path], None]]] = {
    "large_plane": (Code.DICOM_HEADER, _large_plane),
    "large_compressed_plane": (Code.DICOM_PIXELS, _large_compressed_plane),
    "many_frames": (Code.DICOM_PIXELS, _many_frames),
    "many_legacy_frames": (Code.DICOM_PIXELS, _many_legacy_frames),
    "nested_sequences": (Code.DICOM_HEADER, _nested_sequences),
    "endless_value": (Code.DICOM_HEADER, _endless_value),
    "four_gigabyte_value": (Code.DICOM_HEADER, _four_gigabyte_value),
    "four_gigabyte_implicit_value": (Code.DICOM_HEADER, _four_gigabyte_implicit_value),
    "deflate_bomb": (Code.DICOM_HEADER, _deflate_bomb),
}


@pytest.mark.row("G06")
@pytest.mark.parametrize("name", VERDICTS)
def test_refused_at_once(name: str, tmp_path: Path) -> None:
    code, build = VERDICTS[name]
    build(tmp_path / "scan")
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(VolumeError) as caught:
        read_volume(tmp_path / "scan")
    seconds = time.process_time() - start  # whatever else the machine does
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert caught.value.code == code, caught.value.told
    assert "IM00.dcm" in str(caught.value) or "<file 1 of " in str(caught.value)
    assert seconds < SECONDS and grown < MEBIBYTES, (seconds, grown)

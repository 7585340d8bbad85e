"""Row G16, files: what is no regular file is refused at once, and never waited for."""

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from medseg.errors import Code, VolumeError
from medseg.io import is_volume_file, read_geometry, read_label, read_volume

SECONDS = 5.0


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        here = Path.cwd()
        os.chdir(path.parent)  # names of sockets are short
        try:
            bound.bind(path.name)
        finally:
            os.chdir(here)


def _loop(path: Path) -> None:
    other = path.with_name("other.nii.gz")
    path.symlink_to(other)
    other.symlink_to(path)


BLOCKING = [
    ("a pipe", _pipe, Code.NOT_REGULAR),
    ("an endless device", _endless, Code.NOT_REGULAR),
    ("a socket", _socket, Code.NOT_REGULAR),
    ("links in a circle", _loop, Code.CANNOT_OPEN),
]


def in_time(work: Callable[[], object]) -> object:
    """What ``work`` raised, or AssertionError when it is still at it."""
    told: list[object] = []

    def run() -> None:
        try:
            told.append(work())
        except VolumeError as error:
            told.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(SECONDS)
    assert not thread.is_alive(), "still waiting"
    return told[0]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
@pytest.mark.row("G16")
@pytest.mark.parametrize(
    ("make", "code"), [case[1:] for case in BLOCKING], ids=[case[0] for case in BLOCKING]
)
def test_refused_at_once(tmp_path, make, code):
    for suffix in (".nii.gz", ".nrrd", ".mha", ".dcm"):
        folder = tmp_path / suffix[1:]
        folder.mkdir()
        path = folder / f"scan{suffix}"
        make(path)
        for read in (read_volume, read_label, read_geometry):
            error = in_time(lambda read=read, path=path: read(path))
            assert isinstance(error, VolumeError) and error.code == code, error
            assert path.name in str(error) and "; " in str(error)
        assert not in_time(lambda path=path: is_volume_file(path))


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
def test_a_folder_with_a_volumes_name_is_no_volume(tmp_path, suffix):
    (tmp_path / f"scan{suffix}").mkdir()
    assert not is_volume_file(tmp_path / f"scan{suffix}")
    with pytest.raises(VolumeError):
        read_volume(tmp_path / f"scan{suffix}")


@pytest.mark.parametrize("suffix", [".nhdr", ".mhd"])
def test_voxels_from_a_pipe_are_refused(tmp_path, suffix):
    from support.raw_volumes import metaimage, nrrd

    header = {
        ".nhdr": nrrd().split(b"\n\n")[0] + b"\ndata file: a.raw\n",
        ".mhd": metaimage().split(b"LOCAL\n")[0] + b"a.raw\n",
    }[suffix]
    (tmp_path / f"a{suffix}").write_bytes(header)
    os.mkfifo(tmp_path / "a.raw")
    error = in_time(lambda: read_volume(tmp_path / f"a{suffix}"))
    assert isinstance(error, VolumeError) and error.code == Code.NOT_REGULAR

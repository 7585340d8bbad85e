"""Row G10: full disks (ENOSPC) and failing ones (EIO), at each writer and many moments.

The disks that fill up are real file systems of a few kilobytes; those that fail are the system's own calls
failing, in this process, or by strace under the command's feet.
"""

import errno
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from medseg.errors import Code
from support.faults import WRITERS, Failing, Writer, bytes_needed, can_mount, on_full_disk, refused

ALL = pytest.mark.parametrize("writer", WRITERS, ids=lambda writer: writer.name)
_mounting = cache(can_mount)


def fill_up(writer: Writer, tmp_path: Path, share: float, old: bool) -> None:
    if not _mounting():
        pytest.skip("no file system of one's own can be mounted here (needs root, or user namespaces)")
    needed = bytes_needed(writer, tmp_path / "measured")
    folder = tmp_path / "full"
    folder.mkdir()
    assert on_full_disk(writer, folder, int(needed * share), old) == ""


@pytest.mark.row("G10")
@pytest.mark.parametrize(("share", "old"), [(0, False), (0.5, True)], ids=["no room", "half, over old"])
@ALL
def test_a_disk_fills_up(tmp_path, writer, share, old):
    fill_up(writer, tmp_path, share, old)


@pytest.mark.nightly
@pytest.mark.row("G10")
@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.95])
@ALL
def test_a_disk_fills_up_at_other_moments(tmp_path, writer, share, old):
    fill_up(writer, tmp_path, share, old)


def fail(writer: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int) -> None:
    writer.write(tmp_path, 0)
    with monkeypatch.context() as patched:
        patched.setattr(os, call, Failing(getattr(os, call), number))
        problem = refused(writer, tmp_path)
    assert problem.code == (Code.DISK_FULL if number == errno.ENOSPC else Code.CANNOT_WRITE)
    writer.write(tmp_path, 1)
    assert writer.found(tmp_path) == 1


@pytest.mark.row("G10")
@ALL
def test_flushing_fails(tmp_path, monkeypatch, writer):
    fail(writer, tmp_path, monkeypatch, "fsync", errno.EIO)


@pytest.mark.nightly
@pytest.mark.row("G10")
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC], ids=["EIO", "ENOSPC"])
@ALL
def test_naming_fails(tmp_path, monkeypatch, writer, number):
    fail(writer, tmp_path, monkeypatch, "rename" if "Cache" in writer.name else "replace", number)


CHILD = """
import sys
import numpy as np
from medseg.errors import MedsegError
from medseg.io import write_volume
from medseg.volume import Geometry, Volume
array = np.random.default_rng(1).integers(-999, 999, (96, 96, 160), dtype=np.int16)
try:
    write_volume(Volume(array, Geometry(array.shape, np.eye(4))), sys.argv[1])
except MedsegError as error:
    print(*error.told)
    sys.exit(error.exit_code)
"""
STRACE = ("strace", "-f", "--seccomp-bpf", "-qq", "-o", os.devnull)


def under_strace(path: Path, inject: str) -> subprocess.CompletedProcess[str]:
    """A process that writes ``path``, with one of its system calls failing."""
    trace = inject.split(":", maxsplit=1)[0]
    return subprocess.run(
        [*STRACE, "-e", f"trace={trace}", "-e", f"inject={inject}", sys.executable, "-c", CHILD, str(path)],
        capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip


@cache
def can_inject() -> bool:
    if shutil.which("strace") is None:
        return False
    probe = [
        "strace",
        "-f",
        "--seccomp-bpf",
        "-qq",
        "-o",
        os.devnull,
        "-e",
        "inject=write:error=EIO:when=1",
        "/bin/echo",
    ]
    return subprocess.run(probe, capture_output=True, check=False, timeout=20).returncode == 1


def fail_in_the_system(tmp_path: Path, name: str, inject: str, code: Code) -> None:
    if not can_inject():
        pytest.skip("strace is not here, or may not trace")
    path = tmp_path / name
    path.write_bytes(b"the old one")
    done = under_strace(path, inject)
    assert done.returncode == 4 and f"[{code}]" in done.stdout and not done.stderr, (done.stdout, done.stderr)
    assert path.read_bytes() == b"the old one"
    assert [one.name for one in tmp_path.iterdir()] == [name]


@pytest.mark.row("G10")
@pytest.mark.parametrize(
    ("name", "inject", "code"),
    [
        ("a.nii.gz", "write:error=ENOSPC:when=1", Code.DISK_FULL),
        ("a.nii", "write:error=EIO:when=2", Code.CANNOT_WRITE),
        ("a.nrrd", "fsync:error=EIO:when=1", Code.CANNOT_WRITE),
        ("a.mha", "rename:error=ENOSPC:when=1", Code.DISK_FULL),
    ],
)
def test_the_system_fails(tmp_path, name, inject, code):
    fail_in_the_system(tmp_path, name, inject, code)


@pytest.mark.nightly
@pytest.mark.row("G10")
@pytest.mark.parametrize(
    ("name", "inject", "code"),
    [
        ("a.nii.gz", "write:error=EIO:when=2", Code.CANNOT_WRITE),
        ("a.nrrd", "write:error=ENOSPC:when=2", Code.DISK_FULL),
        ("a.mha", "write:error=EDQUOT:when=1", Code.DISK_FULL),
        ("a.nii.gz", "fsync:error=ENOSPC:when=1", Code.DISK_FULL),
        ("a.nii.gz", "rename:error=EIO:when=1", Code.CANNOT_WRITE),
    ],
)
def test_the_system_fails_elsewhere(tmp_path, name, inject, code):
    fail_in_the_system(tmp_path, name, inject, code)

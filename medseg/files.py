"""Writing files so that a name always means a whole file; reading those that should be small."""

import errno
import json
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

from medseg.errors import Code, EnvironmentProblem

_TEMPORARY = ".medseg-"
_LEFTOVER = re.compile(r"\.medseg-[0-9a-f]{8}\.[a-z.]{2,8}")

_FULL = {errno.ENOSPC: "free some disk space", errno.EDQUOT: "free some of your disk quota"}
_FIXES = {
    **_FULL,
    errno.EIO: "the disk or the way to it fails, check it and choose another",
    errno.EACCES: "choose a folder you may write to",
    errno.EPERM: "choose a folder you may write to",
    errno.EROFS: "choose a folder that is not read-only",
    errno.EISDIR: "choose another name, a folder has this one",
    errno.ENOTDIR: "choose another folder, a file lies on the way",
    errno.EEXIST: "choose another folder, a file has its name",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EFBIG: "choose a disk that takes larger files",
}
_CANNOT_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES, errno.EPERM}


@contextmanager
def named_when_whole(path: Path, suffix: str = ".tmp") -> Iterator[Path]:
    """A temporary path in the folder of ``path``, made if need be, which gets the name after the block.

    The block writes the temporary file and flushes it to the disk (``write_flushed``). Whatever stops it, no
    temporary file is left, and ``path`` is as it was.

    Raises:
        EnvironmentProblem: the disk is full, or the place cannot be written.
    """
    temporary = path.with_name(f"{_TEMPORARY}{uuid4().hex[:8]}{suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def sweep_temporary(folder: Path) -> int:
    """Remove the temporary files that killed processes left in ``folder``; how many there were.

    Call it only where no other process writes, as under the lock of an output folder.
    """
    removed = 0
    with suppress(FileNotFoundError):
        for path in sorted(folder.iterdir()):
            if _LEFTOVER.fullmatch(path.name) and not path.is_dir():
                path.unlink(missing_ok=True)
                removed += 1
    return removed


def write_flushed(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Let ``write`` fill a new file, and return when its bytes are on the disk."""
    with path.open("xb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())


def read_regular(path: Path, most: int) -> bytes:
    """All bytes of a regular file: a pipe would wait, and a device give, for ever.

    Raises:
        OSError: no regular file, larger than ``most`` bytes (EFBIG), or not to be read.
    """
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, "a folder")
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file")
    with path.open("rb") as file:
        data = file.read(most + 1) if status.st_size <= most else b""
    if status.st_size > most or len(data) > most:
        raise OSError(errno.EFBIG, f"{max(status.st_size, len(data))} bytes; at most {most} are read")
    return data


def write_bytes_atomically(path: Path, data: bytes) -> None:
    """Temporary file in the same folder, flushed to disk, then renamed.

    Raises:
        EnvironmentProblem: the disk is full, or the place cannot be written; nothing is left behind.
    """
    with named_when_whole(path) as temporary:
        write_flushed(temporary, lambda file: file.write(data))


def write_text_atomically(path: Path, text: str) -> None:
    """UTF-8; what UTF-8 cannot hold (bytes of foreign file names) is written as ``\\udcff``."""
    write_bytes_atomically(path, text.encode("utf-8", "backslashreplace"))


def write_text_if_other(path: Path, text: str) -> None:
    """As :func:`write_text_atomically`; a file that would be as it is already is not touched.

    Raises:
        EnvironmentProblem: as there.
    """
    if not path.is_file() or path.read_bytes() != text.encode("utf-8", "backslashreplace"):
        write_text_atomically(path, text)


def write_json_atomically(path: Path, value: Any) -> None:
    """Strict JSON (no NaN), indented, keys in their own order."""
    write_text_atomically(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def cannot_write(path: Path, error: OSError) -> EnvironmentProblem:
    """What to tell a user of a failed write."""
    number = error.errno or 0
    code = Code.DISK_FULL if number in _FULL else Code.CANNOT_WRITE
    why = "the disk is full" if number in _FULL else error.strerror or str(error)
    fix = _FIXES.get(number, "choose another output folder")
    return EnvironmentProblem(code, f"{path}: cannot be written ({why}); {fix}")


def sync_folder(folder: Path) -> None:
    """Flush a rename to disk (where the system allows opening folders)."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows has no such thing
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:  # some network file systems refuse; the rename itself is done
            raise
    finally:
        os.close(handle)

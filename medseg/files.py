"""Writing files so that a name always means a whole file."""

import errno
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from medseg.errors import Code, EnvironmentProblem


def write_bytes_atomically(path: Path, data: bytes) -> None:
    """Temporary file in the same folder, flushed to disk, then renamed.

    Raises:
        EnvironmentProblem: the disk is full, or the place cannot be written; nothing is left behind.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name[:80]}.", suffix=".tmp", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text_atomically(path: Path, text: str) -> None:
    write_bytes_atomically(path, text.encode("utf-8"))


def write_json_atomically(path: Path, value: Any) -> None:
    """Strict JSON (no NaN), indented, keys in their own order."""
    write_text_atomically(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def cannot_write(path: Path, error: OSError) -> EnvironmentProblem:
    """What to tell a user of a failed write."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return EnvironmentProblem(
            Code.DISK_FULL, f"{path}: the disk is full: free some space, or choose another output folder"
        )
    return EnvironmentProblem(
        Code.CANNOT_WRITE, f"{path}: cannot be written ({error.strerror}): choose another output folder"
    )


def sync_folder(folder: Path) -> None:
    """Flush a rename to disk (where the system allows opening folders)."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows has no such thing
        return
    try:
        os.fsync(handle)
    except OSError:  # some network file systems refuse; the rename itself is done
        return
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

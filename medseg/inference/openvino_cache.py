"""Compiled networks on disk, so that the second start is quick.

A file holds the SHA-256 of what follows, and what OpenVINO exported. Its name is a hash of all that the
compiled network depends on. A file that is damaged is as if it were not there; nothing here can fail a run.
"""

import hashlib
import logging
import time
from contextlib import suppress
from pathlib import Path

from medseg.data.cache import default_cache
from medseg.errors import EnvironmentProblem
from medseg.files import named_when_whole, read_regular, write_flushed

log = logging.getLogger(__name__)

MAX_BYTES = 4 * 2**30
"""Of all files together; those used longest ago are removed first."""

_SUFFIX = ".compiled"
_DIGEST = hashlib.sha256().digest_size
_STALE_SECONDS = 24 * 3600


def compiled_path(key: str) -> Path:
    return default_cache() / "openvino" / f"{key}{_SUFFIX}"


def read_compiled(key: str) -> bytes | None:
    """What :func:`write_compiled` wrote under ``key``; None when there is none, or it was damaged."""
    path = compiled_path(key)
    try:
        data = read_regular(path, MAX_BYTES)
    except OSError:
        return None
    blob = data[_DIGEST:]
    if hashlib.sha256(blob).digest() != data[:_DIGEST]:
        log.info("%s is damaged and is made again", path)
        return None
    with suppress(OSError):
        path.touch()
    return blob


def write_compiled(key: str, blob: bytes) -> None:
    """Keep ``blob`` under ``key``; where that cannot be written, the next start is slower, no more."""
    path = compiled_path(key)
    try:
        with named_when_whole(path) as temporary:
            write_flushed(temporary, lambda file: file.write(hashlib.sha256(blob).digest() + blob))
        _prune(path.parent)
    except (EnvironmentProblem, OSError) as error:
        log.info("compiled network not kept: %s", error)


def _prune(folder: Path) -> None:
    found = []
    for path in folder.iterdir():
        with suppress(OSError):  # another process may have just removed it
            status = path.stat()
            if path.suffix == _SUFFIX:
                found.append((status.st_mtime, status.st_size, path))
            elif time.time() - status.st_mtime > _STALE_SECONDS:
                path.unlink()  # what a killed process left
    total = sum(size for _, size, _ in found)
    for _, size, path in sorted(found)[:-1]:
        if total <= MAX_BYTES:
            break
        path.unlink(missing_ok=True)
        total -= size

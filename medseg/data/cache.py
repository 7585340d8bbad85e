"""Prepared cases on disk, keyed by content: the same files and the same preparation are prepared once."""

import json
import logging
import os
import shutil
import tempfile
import threading
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from medseg.data.case import Case
from medseg.data.fingerprint import case_fingerprint
from medseg.files import cannot_write

log = logging.getLogger(__name__)

FORMAT_VERSION = 2
_META = "meta.json"
_TEMPORARY = ".new-"
_STALE_SECONDS = 24 * 3600
_CHUNK = 1 << 22
_PARSING = threading.Lock()
"""numpy reads headers by ``ast``, which some versions of Python cannot always do in two threads at once."""


def default_cache() -> Path:
    """``$MEDSEG_CACHE``, else ``$XDG_CACHE_HOME/medseg``, else ``~/.cache/medseg``."""
    told = os.environ.get("MEDSEG_CACHE")
    if told:
        return Path(told).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path("~/.cache").expanduser()) / "medseg"


DEFAULT_CACHE = default_cache()


class PreparedCache:
    """Arrays of cases as ``.npy`` files, read by memory map; safe for several processes at once.

    An entry is a folder ``<key>/`` that appears whole or not at all. What is read back is compared with the
    sizes, types and checksums that were written; an entry that does not fit is removed, as if never written.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = (default_cache() / "prepared") if folder is None else folder
        self._verified: set[str] = set()

    def key(self, case: Case, preprocessing_json: str) -> str:
        """sha256 over the bytes of the case's files, ``preprocessing_json`` and the format's version.

        ``preprocessing_json`` must hold all that the arrays depend on: settings, fitted values, labels.
        """
        return case_fingerprint(case, f"{FORMAT_VERSION}\n{preprocessing_json}")

    def get(self, key: str) -> dict[str, np.ndarray] | None:
        """The arrays of an entry, memory-mapped and read-only; None when there is none, or it was damaged."""
        entry = self._entry(key)
        try:
            described = self._described(entry)
            if described is None:
                return None
            arrays = {name: self._load(entry, name, told, key) for name, told in described["arrays"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError) as error:
            log.warning("cache entry %s is damaged (%s) and is removed", entry, error)
            self._verified.discard(key)
            self._remove(entry)
            return None
        self._verified.add(key)
        _touch(entry)
        return arrays

    def meta(self, key: str) -> Any:
        """What was stored as ``meta`` with an entry, or None when there is no such entry."""
        try:
            described = self._described(self._entry(key))
        except (OSError, ValueError, TypeError):
            return None
        return None if described is None else described.get("meta")

    def put(self, key: str, arrays: Mapping[str, np.ndarray], meta: Any = None) -> None:
        """Store ``arrays`` (names are plain words) and ``meta`` (JSON) under ``key``.

        Raises:
            EnvironmentProblem: the disk is full, or the folder cannot be written.
        """
        temporary: Path | None = None
        entry = self._entry(key)
        try:
            entry.parent.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=entry.parent))
            described = {name: _store(temporary, name, array) for name, array in arrays.items()}
            text = json.dumps({"version": FORMAT_VERSION, "arrays": described, "meta": meta}, allow_nan=False)
            _write(temporary / _META, text.encode())
            if self.get(key) is None:
                _rename(temporary, entry)
        except OSError as error:
            raise cannot_write(self.folder, error) from error
        finally:
            if temporary is not None:
                shutil.rmtree(temporary, ignore_errors=True)

    def size_bytes(self) -> int:
        """What all entries take on disk."""
        return sum(size for _, size, _ in self._entries())

    def prune(self, max_bytes: int) -> int:
        """Remove entries, those used longest ago first, down to ``max_bytes``; returns the bytes removed."""
        self._remove_stale()
        entries = sorted(self._entries(), key=lambda entry: entry[2])
        left = sum(size for _, size, _ in entries)
        removed = 0
        for path, size, _ in entries:
            if left - removed <= max_bytes:
                break
            self._remove(path)
            self._verified.discard(path.name)
            removed += size
        return removed

    def _entry(self, key: str) -> Path:
        if not (len(key) >= 8 and key.isalnum() and key.isascii()):
            raise ValueError(f"{key!r} is no key of the cache")
        return self.folder / key[:2] / key

    def _described(self, entry: Path) -> dict[str, Any] | None:
        try:
            described = json.loads((entry / _META).read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            if not entry.exists():
                return None
            described = self._appeared(entry)
        if not isinstance(described, dict) or described.get("version") != FORMAT_VERSION:
            raise ValueError(f"{_META} is of another version")
        return described

    def _appeared(self, entry: Path) -> Any:
        """An entry that was not there a moment ago appears whole, so that a second look tells damage."""
        try:
            return json.loads((entry / _META).read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            raise ValueError(f"{_META} is not there") from None

    def _load(self, entry: Path, name: str, told: Mapping[str, Any], key: str) -> np.ndarray:
        path = _array_path(entry, name)
        size = path.stat().st_size
        if size != told["bytes"]:
            raise ValueError(f"{path.name} has {size} bytes, {told['bytes']} were written")
        if key not in self._verified and _checksum(path) != told["crc32"]:
            raise ValueError(f"{path.name} is not what was written")
        with _PARSING:
            array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        if list(array.shape) != told["shape"] or str(array.dtype) != told["dtype"]:
            raise ValueError(f"{path.name} holds {array.shape} {array.dtype}")
        return array

    def _entries(self) -> list[tuple[Path, int, float]]:
        """Path, bytes and time of last use of each entry."""
        found = []
        for meta in self.folder.glob(f"??/*/{_META}"):
            try:
                if not meta.parent.name.startswith(_TEMPORARY):
                    size = sum(path.stat().st_size for path in meta.parent.iterdir())
                    found.append((meta.parent, size, meta.stat().st_mtime))
            except OSError:  # another process has just removed it
                continue
        return found

    def _remove(self, entry: Path) -> None:
        """Renamed first, so that no other process sees half an entry."""
        try:
            doomed = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=entry.parent))
            entry.rename(doomed / "gone")
            shutil.rmtree(doomed, ignore_errors=True)
        except OSError as error:
            log.debug("cache entry %s could not be removed: %s", entry, error)

    def _remove_stale(self) -> None:
        """What killed processes left behind."""
        for path in self.folder.glob(f"??/{_TEMPORARY}*"):
            try:
                if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                    shutil.rmtree(path, ignore_errors=True)
            except OSError:  # another process has just removed it
                continue


def _array_path(folder: Path, name: str) -> Path:
    if not name.isidentifier():
        raise ValueError(f"{name!r} is no name of an array")
    return folder / f"{name}.npy"


def _store(folder: Path, name: str, array: np.ndarray) -> dict[str, Any]:
    path = _array_path(folder, name)
    with path.open("wb") as file:
        stream = _Summed(file)  # numpy's own way into a file drops the system's error
        np.save(stream, array, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())
    shape, dtype = list(array.shape), str(array.dtype)
    return {"shape": shape, "dtype": dtype, "bytes": stream.bytes, "crc32": stream.crc32}


class _Summed:
    """A file whose checksum is computed as it is written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.bytes = self.crc32 = 0

    def write(self, chunk: bytes) -> int:
        self.bytes += len(chunk)
        self.crc32 = zlib.crc32(chunk, self.crc32)
        return self._file.write(chunk)


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _rename(temporary: Path, entry: Path) -> None:
    """When two processes prepared the same case, the first wins; both wrote the same."""
    try:
        temporary.chmod(0o755)
        temporary.rename(entry)
    except OSError:
        if not (entry / _META).exists():
            raise


def _touch(entry: Path) -> None:
    """The time of last use, for :meth:`PreparedCache.prune`; a cache that is read-only serves as well."""
    try:
        os.utime(entry / _META)
    except OSError as error:
        log.debug("cache entry %s: time of use not kept (%s)", entry, error)


def _checksum(path: Path) -> int:
    checksum = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            checksum = zlib.crc32(chunk, checksum)
    return checksum

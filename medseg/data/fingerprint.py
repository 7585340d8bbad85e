"""The content of a case as one number: the same bytes give the same, wherever the files lie."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from medseg.data.case import Case
from medseg.errors import Code, CohortError

_DETACHED = re.compile(
    rb"^\s*(?:ElementDataFile|data ?file)\s*[:=]\s*(.+?)\s*$", re.IGNORECASE | re.MULTILINE
)
_LARGEST_HEADER = 1 << 20


def case_fingerprint(case: Case, preparation: str) -> str:
    """sha256 (64 hexadecimal digits) over the bytes of images and label, and over ``preparation``.

    Raises:
        CohortError: a file cannot be read.
    """
    digest = hashlib.sha256(preparation.encode())
    for role, path in [*(("image", image) for image in case.images), ("label", case.label)]:
        digest.update(f"\0{role}".encode())
        if path is None:
            continue
        try:
            for file in _files_of(path):
                content = _file_digest(file)
                digest.update(content)
        except OSError as error:
            raise CohortError(
                Code.CANNOT_OPEN,
                f"case {case.id}: {path} cannot be read ({error.strerror or error}); check the disk",
            ) from None
    return digest.hexdigest()


def _file_digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _files_of(path: Path) -> Iterator[Path]:
    """All files whose bytes make the volume: the slices of a series, the voxels beside a detached header."""
    if path.is_dir():
        yield from sorted(entry for entry in path.rglob("*") if entry.is_file())
        return
    if path.suffix.lower() in (".dcm", ".ima"):  # one slice stands for its series
        yield from sorted(entry for entry in path.parent.iterdir() if entry.is_file())
        return
    yield path
    if path.suffix.lower() in (".mhd", ".nhdr"):
        yield from _beside(path)


def _beside(header: Path) -> Iterator[Path]:
    with header.open("rb") as file:
        named = _DETACHED.findall(file.read(_LARGEST_HEADER))
    told = [header.parent / name.decode(errors="replace") for name in named]
    files = [path for path in told if path.is_file()]
    if files and len(files) == len(told):
        yield from files
    else:  # a list or a pattern of files: all that lies beside the header may count
        yield from sorted(entry for entry in header.parent.iterdir() if entry.is_file() and entry != header)

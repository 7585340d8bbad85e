"""The content of a case as one number: the same bytes give the same, wherever the files lie."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
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
        for content in _contents(case, path):
            digest.update(content)
    return digest.hexdigest()


def files_of_cases(cases: Iterable[Case]) -> dict[str, dict[str, str]]:
    """For each case the sha256 of each file by what it is: ``image``, ``image 2``, ``label``.

    Of a volume of several files, the sha256 over theirs. Files that cannot be read are left out.
    """
    return {case.id: dict(_hashes(case)) for case in cases}


def _hashes(case: Case) -> Iterator[tuple[str, str]]:
    names = ["image", *(f"image {number}" for number in range(2, len(case.images) + 1)), "label"]
    for name, path in zip(names, (*case.images, case.label), strict=True):
        with suppress(CohortError):
            contents = _contents(case, path)
            if len(contents) == 1:
                yield name, contents[0].hex()
            elif contents:
                yield name, hashlib.sha256(b"".join(contents)).hexdigest()


def _contents(case: Case, path: Path | None) -> list[bytes]:
    """The digest of each file behind ``path``."""
    if path is None:
        return []
    try:
        return [_file_digest(file, _stamp(file)) for file in _files_of(path)]
    except OSError as error:
        raise CohortError(
            Code.CANNOT_OPEN,
            f"case {case.id}: {path} cannot be read ({error.strerror or error}); check the disk",
        ) from None


def _stamp(path: Path) -> tuple[int, ...]:
    told = path.stat()
    return told.st_size, told.st_mtime_ns, told.st_ctime_ns, told.st_ino


@lru_cache(maxsize=1 << 16)
def _file_digest(path: Path, stamp: tuple[int, ...]) -> bytes:  # noqa: ARG001 - a file that was written to has another
    """Read once, though a training asks several times."""
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

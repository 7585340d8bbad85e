"""Which files a scan is read from, whether they changed, and the hash of what is in them."""

import hashlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from medseg.errors import Code, MedsegError, VolumeError
from medseg.io.itk import read_layout
from medseg.io.paths import volume_suffix


def files_of(image: Path) -> tuple[Path, ...]:
    """The regular files that reading ``image`` may open; a few more, as notes beside slices, do no harm."""
    suffix = volume_suffix(image)
    with suppress(MedsegError, OSError, ValueError):  # reading itself will tell
        if image.is_dir():
            return _regular(image.rglob("*"))
        if suffix in (".nhdr", ".mhd"):
            return _regular({image, read_layout(image).file})
        if not suffix:  # a slice stands for its series
            return _regular(image.parent.iterdir())
    return _regular([image])


def seen(paths: Iterable[Path]) -> str:
    """A digest of sizes, times and inodes: when it is the same, nobody has written to the files.

    The change time cannot be set back as the modification time can. A missing file has its own mark.
    """
    digest = hashlib.sha256()
    for path in paths:
        try:
            found = path.stat()
            told = f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}"
        except OSError as error:
            told = f"none {error.errno}"
        digest.update(f"{path.name!r} {told}\n".encode("utf-8", "backslashreplace"))
    return digest.hexdigest()


def seen_images(images: Sequence[Path]) -> str:
    """``seen`` of all files of a case."""
    return seen(path for image in images for path in files_of(image))


def content_hash(image: Path) -> str:
    """SHA-256 of a file; of a scan of several files, the SHA-256 over their sorted SHA-256s.

    Names do not count: slices are placed by their headers, and names of files may hold those of patients.

    Raises:
        VolumeError: a file cannot be read.
    """
    hashes = [file_hash(path) for path in files_of(image)]
    if len(hashes) == 1:
        return hashes[0]
    return hashlib.sha256("\n".join(sorted(hashes)).encode()).hexdigest()


def file_hash(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise VolumeError(
            Code.CANNOT_OPEN,  # the name of a slice's file may be a patient's
            f"{path.name if volume_suffix(path) else 'a slice'}: cannot be read ({error.strerror}); "
            "check its permissions",
        ) from None


def _regular(paths: Iterable[Path]) -> tuple[Path, ...]:
    """A pipe or a device among them would block, or never end."""
    return tuple(sorted(path for path in paths if path.is_file()))

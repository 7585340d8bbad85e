"""Walking through folders of scans: what lies where, in one order on every machine."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from medseg.io import is_dicom_folder, is_volume_file
from medseg.io.paths import volume_suffix


@dataclass(frozen=True)
class Folder:
    """A folder, the scans directly in it (volume files, DICOM subfolders), and why it cannot be read."""

    path: Path
    files: tuple[Path, ...] = ()
    dicom: tuple[Path, ...] = ()
    problem: str = ""

    @property
    def scans(self) -> tuple[Path, ...]:
        return self.files + self.dicom


def is_scan(path: Path) -> bool:
    """Whether ``path`` is what a case may name: a volume file or a DICOM folder."""
    return is_dicom_folder(path) if path.is_dir() else is_volume_file(path)


def look(folder: Path) -> tuple[Folder, list[Path]]:
    """One folder and the subfolders that may hold more. Hidden files and those of archivers are left out."""
    files: list[Path] = []
    dicom: list[Path] = []
    below: list[Path] = []
    try:
        for entry in sorted(folder.iterdir()):
            if entry.name.startswith(".") or entry.name == "__MACOSX":
                continue
            if entry.is_dir():
                is_series = is_dicom_folder(entry) and not _has_volume_files(entry)
                (dicom if is_series else below).append(entry)
            elif volume_suffix(entry):  # a pipe or a broken link, too: reading it tells what is wrong
                files.append(entry)
        if files and is_dicom_folder(folder):  # slices and a reference side by side
            dicom.append(folder)
    except OSError as error:
        return Folder(folder, problem=f"cannot be listed ({error.strerror or error})"), []
    return Folder(folder, tuple(files), tuple(dicom)), below


def walk(root: Path, leave_out: Path | None = None) -> Iterator[Folder]:
    """``root`` and every folder below it; each real folder once, so that links in circles end."""
    pending, seen = [root], set() if leave_out is None else {leave_out.resolve()}
    while pending:
        path = pending.pop()
        real = path.resolve()
        if real in seen:
            continue
        seen.add(real)
        folder, below = look(path)
        yield folder
        pending += reversed(below)


def relative_id(path: Path, root: Path) -> str:
    """The folders from ``root`` to ``path`` joined by dashes; the plain name where there is one level."""
    parts = path.relative_to(root).parts
    return "-".join(parts) if parts else path.resolve().name


def _has_volume_files(folder: Path) -> bool:
    return any(is_volume_file(entry) for entry in folder.iterdir())

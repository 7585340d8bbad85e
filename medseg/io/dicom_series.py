"""Which DICOM series a folder tree holds."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from medseg.io.dicom_file import looks_like_dicom
from medseg.io.dicom_header import Header, read_header
from medseg.io.dicom_slices import Slice
from medseg.io.paths import volume_suffix

_DIRECTORY = "DICOMDIR"  # the index of a medium; the standard fixes its name
_NOT_DICOM = frozenset(
    {".json", ".csv", ".txt", ".yaml", ".yml", ".png", ".jpg", ".jpeg", ".pdf", ".zip", ".md"}
)
_SAME_DIRECTION = 2e-4  # of cosines: 0.1 mm at the edge of a large field of view


@dataclass(frozen=True)
class Series:
    """The files below ``root`` that share a series uid, and their slices sorted along the normal.

    ``stacks`` are the slices apart by orientation and size: one for a volume. ``uid`` is empty, as are
    ``stacks``, for files so damaged that nothing tells their series.
    """

    root: Path = field(repr=False)
    headers: tuple[Header, ...]
    stacks: tuple[tuple[Slice, ...], ...]

    @property
    def uid(self) -> str:
        return self.headers[0].uid

    @property
    def number(self) -> int | None:
        return self.headers[0].number

    @property
    def modality(self) -> str:
        return self.headers[0].modality

    @property
    def localizer(self) -> bool:
        return all(header.localizer for header in self.headers)

    @property
    def slices(self) -> tuple[Slice, ...]:
        """Those of the largest stack."""
        return max(self.stacks, key=len, default=())

    @property
    def files(self) -> tuple[Path, ...]:
        """In the order of ``slices``; a multi-frame file is named once."""
        return tuple(dict.fromkeys(plane.file for plane in self.slices))

    @property
    def faulty(self) -> tuple[Header, ...]:
        return tuple(header for header in self.headers if header.fault is not None)

    @property
    def subject(self) -> str:
        """What messages call it: the folder's name."""
        return self.root.resolve().name

    def __str__(self) -> str:
        number = "without number" if self.number is None else str(self.number)
        told = [self.modality] + ["localiser"] * self.localizer
        told += [" and ".join(_counted(stack) for stack in self.stacks)] if self.stacks else []
        told += [f"{len(self.faulty)} unusable files"] if self.faulty else []
        return f"{number} ({', '.join(told)}) uid {self.uid or 'missing'}"


def is_dicom_folder(path: Path) -> bool:
    """Whether ``path`` is a folder with a DICOM file directly in it."""
    try:
        return path.is_dir() and any(looks_like_dicom(file) for file in _candidates(sorted(path.iterdir())))
    except OSError:  # not allowed to look
        return False


def find_series(folder: Path, *, recursive: bool = True) -> tuple[Series, ...]:
    """Every series in ``folder`` and its subfolders, in the order of series number and uid.

    Localisers are listed, and marked. What is no scan (SEG, RTSTRUCT, reports, projections, other files) is
    left out. Damaged files stand in their series, or where that cannot be told, in one of their own.
    """
    files = _candidates(sorted(folder.rglob("*") if recursive else folder.iterdir()))
    headers = [header for header in map(read_header, files) if header is not None]
    return series_of(headers, folder)


def series_of(headers: Sequence[Header], root: Path) -> tuple[Series, ...]:
    """``headers`` by series. A localiser image in a volume's own series is left out of it."""
    groups: dict[tuple[str, int | None, bool], list[Header]] = {}
    for header in headers:
        number = None if header.uid else header.number
        groups.setdefault((header.uid, number, header.localizer), []).append(header)
    found = [Series(root, tuple(own), _stacks(own)) for own in groups.values()]
    return tuple(sorted(found, key=lambda one: (one.number is None, one.number or 0, one.uid)))


def _stacks(headers: Sequence[Header]) -> tuple[tuple[Slice, ...], ...]:
    found: list[list[Slice]] = []
    for header in headers:
        for plane in header.slices:
            for stack in found:
                if parallel(stack[0], plane) and (stack[0].rows, stack[0].columns) == (
                    plane.rows,
                    plane.columns,
                ):
                    stack.append(plane)
                    break
            else:
                found.append([plane])
    return tuple(_along_normal(stack) for stack in found)


def parallel(a: Slice, b: Slice, tolerance: float = _SAME_DIRECTION) -> bool:
    """Whether both planes have, within the rounding of headers, the same orientation."""
    cosines = zip(a.row_cosine + a.column_cosine, b.row_cosine + b.column_cosine, strict=True)
    return all(abs(p - q) < tolerance for p, q in cosines)


def _along_normal(planes: Sequence[Slice]) -> tuple[Slice, ...]:
    """``planes`` sorted by position along the normal of the first."""
    (a, b, c), (d, e, f) = planes[0].row_cosine, planes[0].column_cosine
    normal = (b * f - c * e, c * d - a * f, a * e - b * d)
    return tuple(
        sorted(planes, key=lambda plane: sum(n * p for n, p in zip(normal, plane.position_mm, strict=True)))
    )


def _counted(stack: Sequence[Slice]) -> str:
    return f"{len(stack)} slices of {stack[0].rows}x{stack[0].columns}"


def _candidates(paths: list[Path]) -> Iterator[Path]:
    for path in paths:
        if (
            not path.name.startswith(".")
            and path.name.upper() != _DIRECTORY
            and path.suffix.lower() not in _NOT_DICOM
            and not volume_suffix(path)
        ):
            yield path

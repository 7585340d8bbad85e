"""Which DICOM series a folder holds, and which of them is the volume that was meant."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from medseg.errors import Code, VolumeError
from medseg.io.dicom_slices import DICOM_ERRORS, Header, Slice, looks_like_dicom, read_header
from medseg.io.paths import volume_suffix

log = logging.getLogger(__name__)

_LOCALIZER_SLICES = 5  # fewer slices than this are a localiser, beside a stack of at least twice as many
_NOT_DICOM = frozenset(
    {".json", ".csv", ".txt", ".yaml", ".yml", ".png", ".jpg", ".jpeg", ".pdf", ".zip", ".md"}
)


@dataclass(frozen=True)
class Series:
    """Slices of one series that share orientation and size, that is one stack.

    ``files`` are in the order of ``slices``; a multi-frame file is named once.
    """

    uid: str
    number: int | None
    description: str
    modality: str
    slices: tuple[Slice, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(dict.fromkeys(plane.file for plane in self.slices))

    def __str__(self) -> str:
        number = "without number" if self.number is None else str(self.number)
        what = f"{self.modality} {self.description or 'without description'}"
        return f"{number} ({what}, {len(self.slices)} slices)"


def is_dicom_folder(path: Path) -> bool:
    """Whether ``path`` is a folder with a DICOM file directly in it."""
    try:
        return path.is_dir() and any(looks_like_dicom(file) for file in _candidates(sorted(path.iterdir())))
    except OSError:  # not allowed to look
        return False


def find_series(folder: Path, *, recursive: bool = True) -> tuple[Series, ...]:
    """Every stack of slices in ``folder`` and its subfolders, in the order of series number and uid.

    Localisers and what is no scan (SEG, RTSTRUCT, reports, projections, other files) are left out.

    Raises:
        VolumeError: when DICOM files of the folder are damaged, naming them.
    """
    headers, problems = [], []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom warns of every value that strays from the standard
        for file in _candidates(sorted(folder.rglob("*") if recursive else folder.iterdir())):
            try:
                header = read_header(file) if looks_like_dicom(file) else None
            except DICOM_ERRORS as error:
                problems.append(damaged(str(file.relative_to(folder)), error))
                continue
            if header is not None and not header.localizer:
                headers.append(header)
    VolumeError.raise_if(Code.DICOM_HEADER, problems)
    return stacks(headers)


def stacks(headers: Sequence[Header]) -> tuple[Series, ...]:
    """The slices of ``headers`` by series, orientation and size, each stack sorted along its normal."""
    groups: list[tuple[Header, list[Slice]]] = []
    for header in headers:
        for plane in header.slices:
            for owner, planes in groups:
                if owner.uid == header.uid and _parallel(planes[0], plane):
                    planes.append(plane)
                    break
            else:
                groups.append((header, [plane]))
    found = [
        Series(owner.uid, owner.number, owner.description, owner.modality, along_normal(planes))
        for owner, planes in groups
    ]
    return tuple(sorted(found, key=lambda one: (one.number is None, one.number or 0, one.uid)))


def along_normal(planes: Sequence[Slice]) -> tuple[Slice, ...]:
    """``planes`` sorted by position along the normal of the first."""
    (a, b, c), (d, e, f) = planes[0].row_cosine, planes[0].column_cosine
    normal = (b * f - c * e, c * d - a * f, a * e - b * d)
    return tuple(
        sorted(planes, key=lambda plane: sum(n * p for n, p in zip(normal, plane.position_mm, strict=True)))
    )


def choose_series(everything: Sequence[Series], name: str, series_uid: str | None = None) -> Series:
    """The one of a folder's series that is a volume, or the one whose uid is ``series_uid``.

    Raises:
        VolumeError: when there is none, or more than one (they are listed).
    """
    found = [one for one in everything if series_uid is None or one.uid == series_uid]
    if not found:
        wanted = (
            "no CT, MR or other volumetric DICOM series" if series_uid is None else "no series with that uid"
        )
        listed = f" (it has {_listed(everything)})" if everything else ""
        raise VolumeError(
            Code.DICOM_NO_SERIES, f"{name}: {wanted} in the folder{listed}; correct the path or the choice"
        )
    volumes = _without_localizers(found, name)
    if len(volumes) > 1:
        raise VolumeError(
            Code.DICOM_SEVERAL_SERIES,
            f"{name}: {len(volumes)} DICOM series, one expected: {_listed(volumes)}; "
            "give the folder of one of them, or choose it by series_uid",
        )
    if len(volumes[0].slices) == 1:
        raise VolumeError(
            Code.DICOM_ONE_SLICE,
            f"{name}: a single DICOM slice, a volume expected; give all slices of the series",
        )
    return volumes[0]


def _without_localizers(found: Sequence[Series], name: str) -> list[Series]:
    """A few slices beside a stack of many are a localiser, even when their ImageType does not say so."""
    largest = max(len(one.slices) for one in found)
    fewest = _LOCALIZER_SLICES if largest >= 2 * _LOCALIZER_SLICES else min(2, largest)
    for one in found:
        if len(one.slices) < fewest:
            log.info("%s: series left out as a localiser: %s", name, one)
    return [one for one in found if len(one.slices) >= fewest]


def _listed(found: Sequence[Series]) -> str:
    return "; ".join(f"{one} uid {one.uid or 'missing'}" for one in found)


def _candidates(paths: list[Path]) -> Iterator[Path]:
    for path in paths:
        if (
            not path.name.startswith(".")
            and path.suffix.lower() not in _NOT_DICOM
            and not volume_suffix(path)
        ):
            yield path


def _parallel(a: Slice, b: Slice) -> bool:
    """Whether both planes have the same size and, within the rounding of headers, the same orientation."""
    cosines = zip(a.row_cosine + a.column_cosine, b.row_cosine + b.column_cosine, strict=True)
    return (a.rows, a.columns) == (b.rows, b.columns) and all(abs(p - q) < 1e-3 for p, q in cosines)


def damaged(name: str, error: BaseException) -> str:
    """One line on a file whose header cannot be read, not the error's text: it may hold a patient's name."""
    if isinstance(error, NotImplementedError):
        return f"{name}: has {error}, which is not supported; convert the series to .nii.gz"
    return f"{name}: damaged DICOM header ({type(error).__name__}); export the series anew"

"""The cohort's own fingerprint: all that the rules of a plan look at."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from medseg.config import DataConfig
from medseg.data import Case
from medseg.data.cohort import shortened
from medseg.errors import Code, CohortError, MedsegError
from medseg.planning.look import CaseLook, body_above, look_at
from medseg.planning.names import Modality
from medseg.transforms.grid import Spacing
from medseg.volume import Shape

Progress = Callable[[str, int, int], None]
_THREADS = 2  # each holds a scan
_ONE_PART = 0.95


@dataclass(frozen=True)
class Spread:
    """Over cases."""

    median: float
    low: float
    """5th percentile."""
    high: float
    """95th percentile."""


@dataclass(frozen=True)
class Structure:
    """``extent_mm``: the median box. ``one_part``: the share of references in which at least 95 % of its
    voxels are connected."""

    name: str
    value: int
    present_in: int
    volume_ml: Spread
    extent_mm: Spacing
    one_part: float


@dataclass(frozen=True)
class Fingerprint:
    """Of ``cases`` scans; shapes, spacings and sizes along right, anterior, superior."""

    cases: int
    patients: int
    channels: int
    modality: Modality
    modality_reason: str
    spacing_mm: Spacing
    """Median along each axis."""
    spacing_low_mm: Spacing
    spacing_high_mm: Spacing
    spacing_p10_mm: Spacing
    size_mm: Spacing
    """Median extent of a scan."""
    shape: Shape
    """Median, in voxels."""
    body_share: float
    """What the box around the body leaves of the median scan."""
    body_loses: int
    """Cases in which that box would cut labelled voxels off."""
    body_above: float
    nonzero_share: float
    body_size_mm: Spacing
    nonzero_size_mm: Spacing
    zeros: float
    """Share of voxels that are exactly 0 in the median scan."""
    structures: tuple[Structure, ...]
    labelled_share: float
    """Share of voxels inside structures, in the median scan."""
    intensity_low: Spread
    intensity_high: Spread
    labelled_median: Spread
    voxels: int
    """Of all scans together."""
    warnings: tuple[str, ...]

    @property
    def anisotropy(self) -> float:
        """Largest over smallest spacing."""
        return max(self.spacing_mm) / min(self.spacing_mm)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def look_at_all(cases: Sequence[Case], progress: Progress | None = None) -> tuple[CaseLook, ...]:
    """Every case, measured.

    Raises:
        CohortError: every case that cannot be used, one line each.
    """
    problems: list[str] = []
    looks: list[CaseLook] = []

    def work(case: Case) -> CaseLook | MedsegError:
        try:
            return look_at(case)
        except MedsegError as error:
            return error

    with ThreadPoolExecutor(_THREADS) as pool:
        for done, found in enumerate(pool.map(work, cases), start=1):
            if isinstance(found, CaseLook):
                looks.append(found)
            else:
                problems += found.told
            if progress is not None:
                progress("reading", done, len(cases))
    CohortError.raise_if(Code.COHORT_CASES, shortened(problems))
    return tuple(looks)


def fingerprint(
    looks: Sequence[CaseLook], labels: Mapping[str, int], modality: tuple[Modality, str], data: DataConfig
) -> Fingerprint:
    """Put the cases together."""
    spacings = np.array([look.spacing_mm for look in looks])
    shapes = np.array([look.shape for look in looks])
    sizes = spacings * shapes
    bodies, nonzero = (
        np.array([getattr(look, f"{box}_shape") for look in looks]) for box in ("body", "nonzero")
    )
    labelled = [sum(s.voxels for v, s in look.values.items() if v in labels.values()) for look in looks]
    first = [look.intensity[0] for look in looks]
    inside = [one.labelled_median for one in first if one.labelled_median is not None]
    return Fingerprint(
        cases=len(looks),
        patients=len({look.patient for look in looks}),
        channels=len(looks[0].intensity),
        modality=modality[0],
        modality_reason=modality[1],
        spacing_mm=_triple(np.median(spacings, axis=0)),
        spacing_low_mm=_triple(spacings.min(axis=0)),
        spacing_high_mm=_triple(spacings.max(axis=0)),
        spacing_p10_mm=_triple(np.percentile(spacings, 10, axis=0)),
        size_mm=_triple(np.median(sizes, axis=0)),
        shape=_shape(np.median(shapes, axis=0)),
        body_share=float(np.median(bodies.prod(axis=1) / shapes.prod(axis=1))),
        body_loses=sum(look.body_loses > 0 for look in looks),
        body_above=body_above(float(np.median([one.minimum for one in first]))),
        nonzero_share=float(np.median(nonzero.prod(axis=1) / shapes.prod(axis=1))),
        body_size_mm=_triple(np.median(bodies * spacings, axis=0)),
        nonzero_size_mm=_triple(np.median(nonzero * spacings, axis=0)),
        zeros=float(np.median([one.zeros for one in first])),
        structures=tuple(_structure(looks, name, value) for name, value in labels.items()),
        labelled_share=float(np.median(np.array(labelled) / shapes.prod(axis=1))),
        intensity_low=_spread([one.low for one in first]),
        intensity_high=_spread([one.high for one in first]),
        labelled_median=_spread(inside or [0.0]),
        voxels=int(shapes.prod(axis=1).sum()),
        warnings=tuple(_warnings(looks, labels, data, modality[0])),
    )


def _structure(looks: Sequence[CaseLook], name: str, value: int) -> Structure:
    found = [look.values[value] for look in looks if value in look.values]
    return Structure(
        name=name,
        value=value,
        present_in=len(found),
        volume_ml=_spread([one.volume_ml for one in found]),
        extent_mm=_triple(np.median([one.extent_mm for one in found], axis=0)),
        one_part=float(np.mean([one.largest_part >= _ONE_PART for one in found])),
    )


def _warnings(
    looks: Sequence[CaseLook], labels: Mapping[str, int], data: DataConfig, modality: Modality
) -> list[str]:
    """What a person should look at before training."""
    told = []
    for name, value in labels.items():
        without = [look.id for look in looks if value not in look.values]
        if without and data.missing_structures == "absent":
            told.append(
                f"{name} has no voxel in {len(without)} of {len(looks)} references (as {without[0]}): if "
                "nobody drew it there, plan again with --missing not_contoured"
            )
    unnamed = sorted({value for look in looks for value in look.values} - set(labels.values()))
    if unnamed:
        told.append(f"label values {unnamed[:12]} have no name and become background")
    empty = [look.id for look in looks if not look.values]
    if empty:
        told.append(f"{len(empty)} references are empty (as {empty[0]}): look whether that is true")
    median = np.median([look.spacing_mm for look in looks], axis=0)
    far = [
        look.id for look in looks if (np.abs(np.log(np.array(look.spacing_mm) / median)) > np.log(3)).any()
    ]
    if far:
        told.append(
            f"{len(far)} scans have a spacing over 3 times off the median (as {far[0]}): look at them"
        )
    airy = [look.intensity[0].minimum < 0 for look in looks]
    if modality == "ct" and 0 < sum(airy) < len(airy):
        few = [look.id for look, has in zip(looks, airy, strict=True) if has == (sum(airy) * 2 < len(airy))]
        told.append(
            f"{len(few)} scans are on another scale of intensity than the rest (as {few[0]}: air at 0 or at "
            "-1000): bring all to Hounsfield units"
        )
    return told


def _spread(values: Sequence[float]) -> Spread:
    low, median, high = (float(p) for p in np.percentile(values, (5, 50, 95)))
    return Spread(median, low, high)


def _triple(values: Any) -> Spacing:
    i, j, k = (float(np.round(value, 4)) for value in values)
    return i, j, k


def _shape(values: Any) -> Shape:
    i, j, k = (int(np.ceil(value)) for value in values)
    return i, j, k

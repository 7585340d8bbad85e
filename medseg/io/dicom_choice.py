"""Which of a folder's series is the volume that was meant, or why none can be taken for it."""

import logging
from collections import Counter, defaultdict
from collections.abc import Sequence

from medseg.errors import Code, VolumeError
from medseg.io.dicom_fault import Fault
from medseg.io.dicom_privacy import listed_files
from medseg.io.dicom_series import Series, parallel

log = logging.getLogger(__name__)

_FEW_SLICES = 5  # fewer than these, beside twice as many of another orientation, are a localiser
_CLEARLY_TURNED = 0.2


def choose_series(everything: Sequence[Series], subject: str, series_uid: str | None = None) -> Series:
    """The one of a folder's series that is a volume, or the one whose uid is ``series_uid``.

    Raises:
        VolumeError: when there is none or more than one (they are listed), or it cannot be used.
    """
    wanted = [one for one in everything if one.stacks or one.uid]
    if series_uid is not None:
        wanted = [one for one in wanted if one.uid == series_uid]
    volumes = _without_localizers([one for one in wanted if not one.localizer], subject)
    _require_sound([one for one in everything if not one.uid and not one.stacks], subject)
    if not volumes:
        raise _none(everything, subject, series_uid)
    if len(volumes) > 1:
        raise VolumeError(
            Code.DICOM_SEVERAL_SERIES,
            f"{subject}: {len(volumes)} DICOM series, one expected: {_listed(volumes)}; "
            "give the folder of one of them, or choose it by series_uid (--series-uid)",
        )
    _require_sound(volumes, subject)
    _require_one_scan(volumes[0], subject)
    return volumes[0]


def _none(everything: Sequence[Series], subject: str, series_uid: str | None) -> VolumeError:
    what = "no CT, MR or other volumetric DICOM series" if series_uid is None else "no volume with that uid"
    listed = f" (it has {_listed(everything)})" if everything else ""
    return VolumeError(
        Code.DICOM_NO_SERIES, f"{subject}: {what} in the folder{listed}; correct the path or the choice"
    )


def _without_localizers(found: Sequence[Series], subject: str) -> list[Series]:
    """A few slices across a stack of many are a localiser, even when their ImageType does not say so.

    Few slices along the stack may be anything, so they are left in: who reads is asked to choose.
    """
    sized = [one for one in found if one.slices]
    if not sized:
        return list(found)
    largest = max(sized, key=lambda one: len(one.slices)).slices
    volumes = []
    for one in found:
        few = one in sized and len(one.slices) < _FEW_SLICES <= len(largest) // 2
        if few and not parallel(one.slices[0], largest[0], _CLEARLY_TURNED):
            log.info("%s: series left out as a localiser: %s", subject, one)
        else:
            volumes.append(one)
    return volumes


def _require_sound(found: Sequence[Series], subject: str) -> None:
    groups = defaultdict(list)
    for series in found:
        for header in series.faulty:
            groups[header.fault].append(header.file)
    problems = [
        (fault.code, f"{subject}: {fault.what} in {listed_files(files, found[0].root)}; {fault.fix}")
        for fault, files in groups.items()
        if isinstance(fault, Fault)
    ]
    if problems:
        raise VolumeError(problems[0][0], *(problem for _, problem in problems))


def _require_one_scan(series: Series, subject: str) -> None:
    """Refuse what one series uid holds of several patients, spaces, orientations or sizes."""
    _require_one("patients", series, [header.patient.hex() for header in series.headers], subject)
    spaces = [header.frame_of_reference for header in series.headers]
    _require_one("frames of reference", series, spaces, subject)
    if len(series.stacks) > 1:
        smallest = min(series.stacks, key=len)
        raise VolumeError(
            Code.DICOM_MIXED,
            f"{subject}: slices of different orientation or size in one series {series}, the fewest in "
            f"{listed_files([plane.file for plane in smallest], series.root)}; give one stack of slices",
        )
    told = {plane.rescaled for plane in series.slices}
    if len(told) > 1:
        bare = [plane.file for plane in series.slices if not plane.rescaled]
        raise VolumeError(
            Code.SLOPE,
            f"{subject}: no RescaleSlope (0028,1053) in {listed_files(bare, series.root)}, and one in the "
            "other slices; export the series anew",
        )
    if len(series.slices) == 1:
        raise VolumeError(
            Code.DICOM_ONE_SLICE,
            f"{subject}: a single DICOM slice, a volume expected; give all slices of the series",
        )


def _require_one(what: str, series: Series, values: Sequence[str], subject: str) -> None:
    kinds = Counter(value for value in values if value)
    if len(kinds) > 1:
        rarest = min(kinds, key=lambda kind: kinds[kind])
        odd = [header.file for header, value in zip(series.headers, values, strict=True) if value == rarest]
        raise VolumeError(
            Code.DICOM_MIXED,
            f"{subject}: {len(kinds)} {what} in one series, the rarest in {listed_files(odd, series.root)}; "
            "give each a folder of its own",
        )


def _listed(found: Sequence[Series]) -> str:
    shown = "; ".join(str(one) for one in found[:8])
    return f"{shown} and {len(found) - 8} more" if len(found) > 8 else shown

"""Patients to infer: one scan, a DICOM folder, or a folder of patients. No references are needed."""

import logging
import os
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from medseg.data.case import Case
from medseg.data.naming import (
    is_called_label,
    listed,
    looks_like_image,
    looks_like_label,
    safe_id,
    star_pattern,
)
from medseg.data.tree import Folder, is_scan, relative_id, walk
from medseg.errors import Code, CohortError
from medseg.io import volume_stem

log = logging.getLogger(__name__)

Channels = Mapping[str, str]


class Problem(NamedTuple):
    """A patient that cannot be used: its id, why, the code of that, and where it lies."""

    id: str
    told: str
    code: Code = Code.NO_SCAN
    paths: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Patients:
    """The scans found, and what cannot be used. One bad patient stops no other."""

    cases: tuple[Case, ...]
    problems: tuple[Problem, ...] = ()


def find_patients(path: Path, channels: Channels | None = None, leave_out: Path | None = None) -> Patients:
    """Cases without labels at ``path``.

    A volume file or a DICOM folder is one case. In a folder, each volume file and each DICOM series directly
    in it is a case, and each folder below it that holds scans is one. Files named like references are passed
    over where other images lie beside them.

    Args:
        channels: channel name to file pattern, for models of several channels, as in ``data.channels``.
        leave_out: a folder that is not looked into, as that of the results.

    Raises:
        CohortError: nothing is there.
    """
    if not os.path.exists(path):  # noqa: PTH110 - Path.exists fails for a name that is too long
        raise CohortError(Code.INPUT_NOT_FOUND, f"{path}: not found: correct the path")
    if is_scan(path):
        return _single(path, channels)
    if not path.is_dir():
        raise CohortError(
            Code.NO_SCAN, f"{path}: neither a volume file, a DICOM folder nor a folder of patients; give one"
        )
    found: list[Case] = []
    problems: list[Problem] = []
    folders = list(walk(path, leave_out))
    for folder in folders:
        if folder.problem:
            problems.append(Problem(_id(folder.path, path), folder.problem, Code.CANNOT_OPEN, (folder.path,)))
        part = _flat(folder, path, channels) if folder.path == path else _patient(folder, path, channels)
        found += part.cases
        problems += part.problems
    problems += _empty(path, folders)
    if not found and not problems:
        raise CohortError(
            Code.NO_SCAN,
            f"{path}: no volume file and no DICOM series in it or below; give the folder of the scans",
        )
    cases, doubled = _distinct(found)
    return Patients(cases, (*problems, *doubled))


def _single(path: Path, channels: Channels | None) -> Patients:
    if channels and len(channels) > 1:
        raise CohortError(
            Code.CHANNELS,
            f"{path}: one image, and the model needs {len(channels)} channels ({', '.join(channels)}): "
            "give the folder that holds them",
        )
    name = path.resolve().parent.name if path.suffix.lower() in (".dcm", ".ima") else None
    stem = path.resolve().name if path.is_dir() else volume_stem(path)
    return Patients((Case(safe_id(name or stem), (path,)),))


def _flat(folder: Folder, root: Path, channels: Channels | None) -> Patients:
    """Each scan directly in the folder is a patient; channels are grouped by what ``*`` stands for."""
    if channels and len(channels) > 1:
        return _flat_channels(folder, root, channels)
    scans = [scan for scan in folder.scans if scan != root]
    images = [scan for scan in scans if not (scan.is_file() and is_called_label(volume_stem(scan)))]
    if images and len(images) < len(scans):
        skipped = [scan.name for scan in scans if scan not in images]
        log.info("%s: passed over as references: %s", folder.path, listed(skipped))
    return Patients(tuple(Case(safe_id(_stem(scan)), (scan,)) for scan in images or scans))


def _flat_channels(folder: Folder, root: Path, channels: Channels) -> Patients:
    groups: dict[str, dict[str, list[Path]]] = defaultdict(lambda: {name: [] for name in channels})
    for name, pattern in channels.items():
        expression = star_pattern(pattern)
        for scan in folder.scans:
            match = expression.fullmatch(scan.name)
            if match is not None and expression.groups:
                groups[match.group(1)][name].append(scan)
    cases, problems = [], []
    for group, matches in sorted(groups.items()):
        wrong = _channel_problems(matches, channels)
        if wrong:
            problems.append(Problem(safe_id(group), wrong, Code.CHANNELS, (folder.path,)))
        else:
            cases.append(
                Case(safe_id(group or relative_id(root, root)), tuple(m[0] for m in matches.values()))
            )
    return Patients(tuple(cases), tuple(problems))


def _patient(folder: Folder, root: Path, channels: Channels | None) -> Patients:
    """A folder below the root is one patient: its scans are the channels, or one of them is the image."""
    if not folder.scans:
        return Patients(())
    name = relative_id(folder.path, root)
    if channels and (len(channels) > 1 or any(_matching(folder, pattern) for pattern in channels.values())):
        matches = {channel: _matching(folder, pattern) for channel, pattern in channels.items()}
        wrong = _channel_problems(matches, channels)
        if wrong:
            told = f"{wrong} (found {listed([s.name for s in folder.scans])})"
            return Patients((), (Problem(safe_id(name), told, Code.CHANNELS, (folder.path,)),))
        return Patients(
            (Case(safe_id(name), tuple(m[0] for m in matches.values()), patient=_top(folder, root)),)
        )
    images = [scan for scan in folder.scans if not looks_like_label(volume_stem(scan))] or list(folder.scans)
    if len(images) > 1:
        images = [scan for scan in images if looks_like_image(volume_stem(scan))] or images
    if len(images) > 1:
        names = listed([scan.name for scan in images])
        told = f"{len(images)} scans could be the image ({names}): leave one in the folder"
        return Patients((), (Problem(safe_id(name), told, Code.CHANNELS, tuple(images)),))
    return Patients((Case(safe_id(name), (images[0],), patient=_top(folder, root)),))


def _matching(folder: Folder, pattern: str) -> list[Path]:
    return [scan for scan in folder.scans if fnmatchcase(scan.name, pattern)]


def _channel_problems(matches: Mapping[str, list[Path]], channels: Channels) -> str:
    wrong = [
        f"{'no image' if not found else f'{len(found)} images'} of channel {name} ({channels[name]!r})"
        for name, found in matches.items()
        if len(found) != 1
    ]
    return f"{', '.join(wrong)}: exactly one each is needed" if wrong else ""


def _empty(root: Path, folders: list[Folder]) -> list[Problem]:
    """Folders directly under the root without any scan: patients whose files got lost, or are damaged."""
    tops = [folder.path for folder in folders if folder.path.parent == root and folder.path != root]
    holding = [folder.path for folder in folders if folder.scans or folder.problem]
    return [
        Problem(_id(top, root), "no volume file and no DICOM series in it", Code.NO_SCAN, (top,))
        for top in tops
        if not any(path.is_relative_to(top) for path in holding)
    ]


def _distinct(cases: list[Case]) -> tuple[tuple[Case, ...], list[Problem]]:
    """Results are named after cases, so a name that is there twice would overwrite: the second is refused."""
    first: dict[str, Case] = {}
    problems = []
    for case in cases:
        other = first.setdefault(case.id.casefold(), case)
        if other is not case:
            told = f"{case.images[0]} has the same name as {other.images[0]}: rename one"
            name = safe_id(f"{case.id} ({case.images[0].name})")
            problems.append(Problem(name, told, Code.SAME_NAME, case.images))
    return tuple(sorted(first.values(), key=lambda case: case.id)), problems


def _id(folder: Path, root: Path) -> str:
    return safe_id(relative_id(folder, root))


def _stem(scan: Path) -> str:
    return scan.name if scan.is_dir() else volume_stem(scan)


def _top(folder: Folder, root: Path) -> str:
    return folder.path.relative_to(root).parts[0]

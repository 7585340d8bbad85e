"""A cohort as a folder of patient folders, at any depth: ``p01/ct.nii.gz`` and ``p01/label.nii.gz``."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from medseg.config import DataConfig
from medseg.data.case import Case, Findings
from medseg.data.naming import IMAGE_NAMES, LABEL_NAMES, listed, looks_like_image, looks_like_label, safe_id
from medseg.data.tree import Folder, relative_id, walk
from medseg.io import volume_stem

LABEL = "label"


@dataclass
class _PatientFolder:
    """One folder, all scans that belong to it, and which of them match the patterns of the configuration."""

    path: Path
    scans: list[Path] = field(default_factory=list)
    matches: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))


def find_in_patient_folders(root: Path, config: DataConfig) -> Findings:
    """The cases below ``root``. The folder directly under ``root`` is the patient, whatever lies deeper."""
    folders = list(walk(root))
    problems = [f"{folder.path}: {folder.problem}" for folder in folders if folder.problem]
    homes = _homes(root, folders, config)
    loose = homes.pop(root, None)
    if loose is not None:
        names = listed([scan.name for scan in loose.scans])
        problems.append(
            f"{root}: {names} lie beside the patient folders: give each patient a folder, "
            "or use images/ and labels/, or a CSV"
        )
    problems += _empty_folders(root, folders)
    cases: list[Case] = []
    for home in homes.values():
        found = _case(home, root, config)
        if isinstance(found, Case):
            cases.append(found)
        else:
            problems += found
    problems += _one_top_folder(root, cases)
    return Findings(tuple(cases), tuple(problems))


def _homes(root: Path, folders: Sequence[Folder], config: DataConfig) -> dict[Path, _PatientFolder]:
    """The patient folders, and what each has. A pattern with slashes is counted from the patient folder."""
    homes: dict[Path, _PatientFolder] = {}
    with_files = {folder.path for folder in folders if folder.files}
    patterns = dict(config.channels or {}) | ({LABEL: config.label} if config.label else {})
    for folder in folders:
        for scan in folder.scans:
            nearest = _nearest(folder, scan, with_files, root)
            homes.setdefault(nearest, _PatientFolder(nearest)).scans.append(scan)
            for role, pattern in patterns.items():
                home = scan.parents[pattern.count("/")] if "/" in pattern else nearest
                if home.is_relative_to(root) and _fits(scan, home, pattern):
                    homes.setdefault(home, _PatientFolder(home)).matches[role].append(scan)
    matched = {path for path, home in homes.items() if home.matches}
    return {
        path: home for path, home in sorted(homes.items()) if path in matched or not _related(path, matched)
    }


def _fits(scan: Path, home: Path, pattern: str) -> bool:
    told = scan.relative_to(home).as_posix() if "/" in pattern else scan.name
    return fnmatchcase(told, pattern) and told.count("/") == pattern.count("/")


def _related(path: Path, matched: set[Path]) -> bool:
    """Whether ``path`` is a folder inside a patient folder, or the folder around some."""
    return any(path.is_relative_to(other) or other.is_relative_to(path) for other in matched)


def _nearest(folder: Folder, scan: Path, with_files: set[Path], root: Path) -> Path:
    """A DICOM series may lie deeper (study, series) than the reference that was drawn on it."""
    if scan in folder.files:
        return folder.path
    for parent in (folder.path, *folder.path.parents):
        if parent == root:
            break
        if parent in with_files:
            return parent
    return folder.path if folder.path != root else scan


def _case(home: _PatientFolder, root: Path, config: DataConfig) -> Case | list[str]:
    subject = f"case {relative_id(home.path, root)}"
    label = _label(home, subject, config)
    images = _images(home, subject, config, [] if isinstance(label, str) else [label])
    problems = [found for found in (*images, label) if isinstance(found, str)]
    if problems:
        return problems
    patient = home.path.relative_to(root).parts[0]
    return Case(
        id=safe_id(relative_id(home.path, root)),
        images=tuple(image for image in images if isinstance(image, Path)),
        label=label if isinstance(label, Path) else None,
        patient=patient,
    )


def _label(home: _PatientFolder, subject: str, config: DataConfig) -> Path | str:
    if config.label:
        told = home.matches[LABEL]
        expected = f"data.label {config.label!r}"
    else:
        channels = {scan for role, found in home.matches.items() if role != LABEL for scan in found}
        told = [scan for scan in home.scans if looks_like_label(volume_stem(scan)) and scan not in channels]
        told = told or [scan for scan in home.scans if looks_like_label(volume_stem(scan))]
        expected = LABEL_NAMES
    if len(told) == 1:
        return told[0]
    return _not_one(subject, "label", told, home.scans, expected, 'data.label, as in "organs.nii.gz"')


def _images(
    home: _PatientFolder, subject: str, config: DataConfig, labels: Sequence[Path]
) -> Sequence[Path | str]:
    if config.channels:
        return [_channel(home, subject, name, pattern, labels) for name, pattern in config.channels.items()]
    told = [scan for scan in home.scans if looks_like_image(volume_stem(scan)) and scan not in labels]
    if not told:  # the only scan that is not the reference needs no name
        told = [scan for scan in home.scans if scan not in labels and not looks_like_label(volume_stem(scan))]
    if len(told) == 1:
        return told
    fix = 'data.channels, as in {image: "ct.nii.gz"}'
    return [_not_one(subject, "image", told, home.scans, IMAGE_NAMES, fix)]


def _channel(
    home: _PatientFolder, subject: str, name: str, pattern: str, labels: Sequence[Path]
) -> Path | str:
    told = home.matches[name]
    if len(told) > 1:
        told = [scan for scan in told if scan not in labels]
    if len(told) == 1:
        return told[0]
    expected = f"data.channels.{name} {pattern!r}"
    return _not_one(subject, f"image of channel {name}", told, home.scans, expected, f"data.channels.{name}")


def _not_one(
    subject: str, what: str, told: Sequence[Path], scans: Sequence[Path], expected: str, fix: str
) -> str:
    if told:
        names = listed([scan.name for scan in told])
        return f"{subject}: {len(told)} files could be the {what} ({names}): name one by {fix}"
    names = listed([scan.name for scan in scans]) or "nothing"
    return f"{subject}: no {what} (found {names}; looked for {expected}): add it, or name it by {fix}"


def _empty_folders(root: Path, folders: Sequence[Folder]) -> list[str]:
    """Folders directly under the root without any scan: no patient is passed over silently."""
    holds: Mapping[Path, bool] = {
        top.path: any(
            below.scans or below.problem for below in folders if below.path.is_relative_to(top.path)
        )
        for top in folders
        if top.path.parent == root and top.path != root
    }
    return [
        f"folder {path.name}: no scan in it: put one back, or take the folder away"
        for path, has in holds.items()
        if not has and any(holds.values())
    ]


def _one_top_folder(root: Path, cases: Sequence[Case]) -> list[str]:
    tops = {case.patient for case in cases}
    if len(cases) < 2 or len(tops) > 1:
        return []
    top = next(iter(tops))
    return [f"{root}: all {len(cases)} cases lie in {top}: set data.cohort to {root / top}"]

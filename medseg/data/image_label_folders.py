"""A cohort as two folders of files with the same names: ``images/p01.nii.gz`` and ``labels/p01.nii.gz``."""

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from medseg.config import DataConfig
from medseg.data.case import Case, Findings
from medseg.data.naming import listed, safe_id, star_pattern, without_role
from medseg.data.tree import look
from medseg.io import volume_stem

PAIRS = (("images", "labels"), ("imagesTr", "labelsTr"))
_CHANNEL_NUMBER = re.compile(r"(.+)_(\d{4})")
Images = dict[str, dict[str, list[Path]]]
"""Case to channel to the files that match."""


def image_label_pair(root: Path) -> tuple[Path, Path] | None:
    """The two folders, where ``root`` has such a pair."""
    for images, labels in PAIRS:
        if (root / images).is_dir() and (root / labels).is_dir():
            return root / images, root / labels
    return None


def find_in_image_label_folders(images: Path, labels: Path, config: DataConfig) -> Findings:
    """Cases by name. ``p01_seg`` or ``p01_label`` in ``labels`` is the reference of ``p01``, and ``p01_0000``
    in ``images`` is its first channel (nnU-Net)."""
    scans, problems = _scans(images)
    references, more = _scans(labels)
    problems += more
    named, more = _references(references, config)
    problems += more
    by_case, more = _by_channel(scans, config) if config.channels else _by_stem(scans, named)
    problems += more
    cases: list[Case] = []
    used: set[Path] = set()
    for name, channels in sorted(by_case.items()):
        label = _reference_of(name, named)
        used.update(label)
        found = _case(name, channels, label, images, labels)
        if isinstance(found, Case):
            cases.append(found)
        else:
            problems += found
    left = [
        path for path in references if path not in used and path in {p for ps in named.values() for p in ps}
    ]
    problems += [
        f"label {path.name}: no image of that name in {images}: add it, or take the label away"
        for path in left
    ]
    return Findings(tuple(cases), tuple(problems))


def _scans(folder: Path) -> tuple[list[Path], list[str]]:
    seen, below = look(folder)
    problems = [f"{folder}: {seen.problem}"] if seen.problem else []
    problems += [
        f"{deeper}: a folder in {folder.name}/ that is no DICOM series: take it away" for deeper in below
    ]
    return list(seen.scans), problems


def _references(references: Sequence[Path], config: DataConfig) -> tuple[dict[str, list[Path]], list[str]]:
    """Labels by the name of their case."""
    named: dict[str, list[Path]] = defaultdict(list)
    pattern = star_pattern(config.label) if config.label else None
    for path in references:
        if pattern is None:
            named[volume_stem(path)].append(path)
            continue
        match = pattern.fullmatch(path.name)
        if match is not None:
            named[match.group(1) if pattern.groups else volume_stem(path)].append(path)
    if references and not named:
        return named, [
            f"data.label {config.label!r}: fits none of {len(references)} files, as {references[0].name}"
        ]
    return named, []


def _reference_of(name: str, named: dict[str, list[Path]]) -> list[Path]:
    """The label of the case: the same name, else the same but for ``_seg``, ``_label`` or ``_ct``."""
    if name in named:
        return named[name]
    return [
        path for stem, paths in named.items() if without_role(stem) == without_role(name) for path in paths
    ]


def _by_stem(scans: Sequence[Path], named: dict[str, list[Path]]) -> tuple[Images, list[str]]:
    """One channel a case, without patterns. ``case_0001`` is a case itself where a label has that name."""
    found: Images = defaultdict(lambda: defaultdict(list))
    for path in scans:
        stem = volume_stem(path)
        numbered = _CHANNEL_NUMBER.fullmatch(stem)
        if numbered and not _reference_of(stem, named) and _reference_of(numbered.group(1), named):
            found[numbered.group(1)][numbered.group(2)].append(path)
        else:
            found[stem][""].append(path)
    many = max((len(channels) for channels in found.values()), default=0)
    if many > 1:
        name = next(name for name, channels in found.items() if len(channels) == many)
        told = ", ".join(f'c{number}: "*_{number}.*"' for number in sorted(found[name]))
        return {}, [
            f"case {name}: {many} channels, and one is expected: name them by data.channels, as in {{{told}}}"
        ]
    return found, []


def _by_channel(scans: Sequence[Path], config: DataConfig) -> tuple[Images, list[str]]:
    """The channels by their patterns; what ``*`` stands for is the case."""
    found: Images = defaultdict(lambda: {name: [] for name in config.channels or {}})
    problems = []
    for name, pattern in (config.channels or {}).items():
        expression = star_pattern(pattern)
        if not expression.groups:
            problems.append(f"data.channels.{name} {pattern!r}: a * is needed, which stands for the case")
            continue
        fitting = [(match.group(1), path) for path in scans if (match := expression.fullmatch(path.name))]
        for case, path in fitting:
            found[case if case else volume_stem(path)][name].append(path)
        if scans and not fitting:
            problems.append(
                f"data.channels.{name} {pattern!r}: fits none of {len(scans)} files, as {scans[0].name}"
            )
    return ({} if problems else found), problems


def _case(
    name: str, channels: dict[str, list[Path]], label: Sequence[Path], images: Path, labels: Path
) -> Case | list[str]:
    problems = []
    for channel, paths in channels.items():
        what = f"image of channel {channel}" if channel else "image"
        if not paths:
            problems.append(f"case {name}: no {what} in {images}: add it, or correct data.channels.{channel}")
        elif len(paths) > 1:
            names = listed([path.name for path in paths])
            problems.append(f"case {name}: {len(paths)} files could be the {what} ({names}): leave one")
    if not label:
        problems.append(
            f"case {name}: no label in {labels} (as {name}.nii.gz): add it, or name its pattern by data.label"
        )
    elif len(label) > 1:
        names = listed([path.name for path in label])
        problems.append(
            f"case {name}: {len(label)} files could be the label ({names}): leave one, or name data.label"
        )
    if problems:
        return problems
    return Case(id=safe_id(name), images=tuple(paths[0] for paths in channels.values()), label=label[0])

"""Which prediction belongs to which reference, by their names."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from medseg.errors import Code, CohortError, UsageError
from medseg.io.paths import VOLUME_SUFFIXES, is_volume_file, volume_stem

_WORDS = "seg|segmentation|mask|label|labels|pred|prediction|reference|ref|gt|organs"
_ENDING = re.compile(rf"[_.\- ]({_WORDS})$", re.IGNORECASE)
_IMAGES = re.compile(r"images?(tr|ts)?", re.IGNORECASE)
_LABELS = re.compile(rf"({_WORDS}|masks|predictions|references)(tr|ts)?", re.IGNORECASE)
_WORD = re.compile(rf"({_WORDS})", re.IGNORECASE)


class Pair(NamedTuple):
    """A case with its files; ``prediction`` is None when there is none, and the case has failed."""

    case: str
    prediction: Path | None
    reference: Path


@dataclass(frozen=True)
class _Found:
    """A label map, the names it may go by (the surest first), and the one to call its case."""

    path: Path
    names: tuple[str, ...]
    plainest: str


def match_pairs(predictions: Path, references: Path) -> list[Pair]:
    """Pair two files, or the label maps of two folders.

    In a folder a file goes by its name without suffix, with or without an ending such as ``_seg``; the only
    label map of a patient's sub-folder goes by the sub-folder's name too. Where an image lies beside its
    label map, the one named as label map counts; folders called images are passed over.

    Returns:
        Pairs in the order of the references' names; a reference without prediction has None.

    Raises:
        UsageError: a file against a folder, or a path that is not there.
        CohortError: predictions without reference, references that claim one prediction, or no match at all.
    """
    for path in (predictions, references):
        if not os.path.exists(path):  # noqa: PTH110 - Path.exists fails for a name that is too long
            raise UsageError(
                Code.INPUT_NOT_FOUND, f"{path}: there is no such file or folder; correct the path"
            )
    if predictions.is_file() != references.is_file():
        raise UsageError(Code.PAIRING, f"{predictions} and {references}: give two files or two folders")
    if references.is_file():
        return [Pair(_bare(volume_stem(references)), predictions, references)]
    found, expected = _find(predictions), _find(references)
    if not expected:
        raise CohortError(
            Code.PAIRING, f"{references}: no label map; give a folder that holds {', '.join(VOLUME_SUFFIXES)}"
        )
    return _match(found, expected, references)


def _match(found: list[_Found], expected: list[_Found], references: Path) -> list[Pair]:
    by_name: dict[str, list[_Found]] = defaultdict(list)
    for reference in expected:
        for name in dict.fromkeys(reference.names):
            by_name[name].append(reference)
    taken: dict[Path, list[Path]] = defaultdict(list)
    problems = []
    for prediction in found:
        partner = _partner(prediction, by_name, references)
        if isinstance(partner, str):
            problems.append(partner)
        else:
            taken[partner.path].append(prediction.path)
    for path, claims in taken.items():
        if len(claims) > 1:
            listed = ", ".join(str(claim) for claim in claims)
            problems.append(f"{path}: {len(claims)} predictions fit it ({listed}): keep one")
    if not problems and not taken:
        problems.append(
            f"no prediction fits a reference of {references}: the case names differ; correct the paths"
        )
    CohortError.raise_if(Code.PAIRING, problems)
    names = _case_names(expected)
    return [Pair(names[one.path], next(iter(taken.get(one.path, ())), None), one.path) for one in expected]


def _partner(prediction: _Found, by_name: Mapping[str, list[_Found]], references: Path) -> _Found | str:
    """The reference of a prediction, or the problem with it."""
    claimed = [by_name.get(name, []) for name in prediction.names]
    for several in claimed:
        if len(several) == 1:
            return several[0]
    if any(claimed):
        listed = ", ".join(str(one.path) for one in next(filter(None, claimed)))
        return f"{prediction.path}: fits several references ({listed}): rename them apart"
    return (
        f"{prediction.path}: no reference of that name in {references}: add it, or move the prediction away"
    )


def _case_names(expected: Sequence[_Found]) -> dict[Path, str]:
    """The plainest name where it is nobody else's, else the surest."""
    used = Counter(one.plainest for one in expected)
    return {one.path: one.plainest if used[one.plainest] == 1 else one.names[0] for one in expected}


def _find(folder: Path) -> list[_Found]:
    """The label maps of a folder and its sub-folders, sorted by path; hidden ones left out."""
    by_folder: dict[Path, list[Path]] = defaultdict(list)
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder).parts
        aside = any(part.startswith(".") for part in inside) or any(map(_IMAGES.fullmatch, inside[:-1]))
        if not aside and is_volume_file(path):
            by_folder[path.parent].append(path)
    found = []
    for parent, files in by_folder.items():
        of_one_patient = parent != folder and not _LABELS.fullmatch(parent.name)
        maps = _label_maps(files, of_one_patient=of_one_patient)
        own = parent.relative_to(folder).as_posix() if parent != folder else ""
        if len(maps) == 1 and of_one_patient:
            found.append(_Found(maps[0], (own, *_stems(maps[0])), own))
        else:
            found += [_Found(path, _names(path, own), _stems(path)[1]) for path in maps]
    return found


def _label_maps(files: list[Path], *, of_one_patient: bool) -> list[Path]:
    """The files without the images that lie beside label maps."""
    named = [path for path in files if _bare(volume_stem(path)) != volume_stem(path)]
    if of_one_patient:
        named = named or [path for path in files if _WORD.fullmatch(volume_stem(path))]
        return named or files
    bare = {_bare(volume_stem(path)) for path in named}
    return [path for path in files if path in named or volume_stem(path) not in bare]


def _bare(stem: str) -> str:
    """The name without its ending: ``p7_seg`` is ``p7``."""
    return _ENDING.sub("", stem)


def _stems(path: Path) -> tuple[str, str]:
    return volume_stem(path), _bare(volume_stem(path))


def _names(path: Path, folder: str) -> tuple[str, ...]:
    return (f"{folder}/{volume_stem(path)}", *_stems(path)) if folder else _stems(path)

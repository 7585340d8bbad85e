"""What is called what: structures, channels and modality, from the cohort's own files or from the user."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from medseg.data.dataset_json import MAX_BYTES
from medseg.data.dataset_json import NAME as DATASET_JSON
from medseg.data.phantom.simulate import PHANTOM_LABELS
from medseg.errors import Code, CohortError
from medseg.files import read_regular
from medseg.io import volume_stem
from medseg.planning.look import CaseLook

Modality = Literal["ct", "mr"]

_CT = re.compile(r"(?<![a-z])(ct|cbct|hu)(?![a-z])", re.IGNORECASE)
_MR = re.compile(r"(?<![a-z])(mri?|t1\w*|t2\w*|flair|adc|dwi)(?![a-z])", re.IGNORECASE)


def told_names(cohort: str) -> tuple[dict[str, int], tuple[str, ...]]:
    """Structures and channels that the cohort names in its ``dataset.json``; empty without one."""
    if cohort.startswith("phantom:"):
        return dict(PHANTOM_LABELS), ()
    path = Path(cohort).expanduser()
    path = path / DATASET_JSON if path.is_dir() else path
    if path.name != DATASET_JSON or not path.is_file():
        return {}, ()
    try:
        content: Any = json.loads(read_regular(path, MAX_BYTES).decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError):  # finding the cases has told what is wrong with it
        return {}, ()
    if not isinstance(content, dict):
        return {}, ()
    channels = content.get("channel_names", content.get("modality", {}))
    names = tuple(str(name) for name in channels.values()) if isinstance(channels, dict) else ()
    return _structures(content.get("labels", {})), names


def _structures(labels: Any) -> dict[str, int]:
    """Name to value, written either way round; background and nnU-Net's ignored voxels are no structures."""
    found: dict[str, int] = {}
    for key, value in labels.items() if isinstance(labels, dict) else ():
        name, number = (value, key) if isinstance(value, str) else (key, value)
        if isinstance(number, list) or not re.fullmatch(r"-?\d{1,10}", str(number)):
            continue  # regions: their values have no name of their own
        if int(number) != 0 and str(name).lower() != "ignore":
            found[_plain(str(name))] = int(number)
    return found


def _plain(name: str) -> str:
    """As a configuration takes it."""
    return re.sub(r"[^\w .()+-]", "_", name.strip())[:64] or "structure"


def name_values(
    looks: Sequence[CaseLook], told: Mapping[str, int], named: Mapping[str, int]
) -> dict[str, int]:
    """Structure to value: what the user named, else what the cohort's ``dataset.json`` tells, else by value.

    Raises:
        CohortError: no reference has a structure; a named value is nowhere; or references have values that
            others never have, and nobody said what they mean.
    """
    sets = {look.id: frozenset(look.values) for look in looks}
    found = sorted(set().union(*sets.values()))
    if not found:
        raise CohortError(
            Code.NOTHING_TO_LEARN,
            f"cohort: all {len(looks)} references are empty, nothing is to be learned: correct them",
        )
    wanted = dict(named or told)
    if wanted:
        missing = [f"{name} ({value})" for name, value in wanted.items() if value not in found]
        if missing and named:
            raise CohortError(
                Code.NOTHING_TO_LEARN,
                f"--labels: no reference has a voxel of {', '.join(missing)} (values found: "
                f"{_listed(found)}): correct the values",
            )
        return {name: value for name, value in wanted.items() if value in found}
    _require_one_meaning(sets)
    return {f"structure_{value}": value for value in found}


def _require_one_meaning(sets: Mapping[str, frozenset[int]]) -> None:
    """Values that stand together in some reference, or are linked by others, belong to one way of drawing."""
    groups: list[tuple[str, frozenset[int]]] = []
    for case, values in sets.items():
        linked = [group for group in groups if group[1] & values]
        if values:
            groups = [group for group in groups if group not in linked]
            groups.append((linked[0][0] if linked else case, values.union(*(group[1] for group in linked))))
    if len(groups) > 1:
        told = "; ".join(f"{_listed(sorted(values))} (as case {case})" for case, values in groups[:4])
        raise CohortError(
            Code.MIXED_LABELS,
            f"cohort: mixed label values, no reference has values of two of these groups: {told}: mend the "
            "references, or say what each value means by --labels name=value",
        )


def _listed(values: Sequence[int]) -> str:
    return ", ".join(str(value) for value in values[:12]) + (" ..." if len(values) > 12 else "")


def find_modality(
    looks: Sequence[CaseLook], channels: Sequence[str], images: Sequence[Path], told: Modality | None
) -> tuple[Modality, str]:
    """CT or not, and how that is known: told, by the name of channel or files, or by their values."""
    if told is not None:
        return told, "as told"
    for name in channels:
        if _CT.search(name) or _MR.search(name):
            return ("ct" if _CT.search(name) else "mr"), f"the channel is called {name}"
    stems = {volume_stem(image) for image in images}
    if all(_CT.search(stem) for stem in stems):
        return "ct", f"files are called as {sorted(stems)[0]}"
    if all(_MR.search(stem) for stem in stems):
        return "mr", f"files are called as {sorted(stems)[0]}"
    airy = sum(look.intensity[0].shows_air for look in looks)
    if airy * 2 > len(looks):
        return "ct", f"{airy} of {len(looks)} scans show air below -200"
    return "mr", f"{len(looks) - airy} of {len(looks)} scans have no air below -200, so values are no HU"

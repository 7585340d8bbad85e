"""A cohort as a folder with ``dataset.json``: Medical Segmentation Decathlon, or nnU-Net (1 and 2)."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medseg.config import DataConfig
from medseg.data.case import Case, Findings
from medseg.data.image_label_folders import find_in_image_label_folders
from medseg.data.naming import listed, safe_id
from medseg.data.tree import is_scan
from medseg.errors import Code, CohortError
from medseg.files import read_regular
from medseg.io import volume_stem

MAX_BYTES = 50_000_000
NAME = "dataset.json"


def find_in_dataset_json(path: Path, config: DataConfig) -> Findings:
    """The training cases that ``path`` lists (Decathlon, nnU-Net 1), or that lie beside it (nnU-Net 2)."""
    content = _read(path)
    numbers, problem = _channels(content, config)
    if problem:
        return Findings(problems=(f"{path}: {problem}",))
    if isinstance(content.get("training"), list):
        entries = [
            _listed_entry(place, entry, numbers, path.parent)
            for place, entry in enumerate(content["training"], start=1)
        ]
    elif isinstance(content.get("dataset"), dict):
        entries = [
            _named_entry(name, entry, numbers, path.parent) for name, entry in content["dataset"].items()
        ]
    elif isinstance(content.get("file_ending"), str):
        return _nnunet(path, content["file_ending"], numbers, config)
    else:
        problem = "neither 'training' (Decathlon) nor 'file_ending' (nnU-Net) is in it: add one"
        return Findings(problems=(f"{path}: {problem}",))
    cases = [entry for entry in entries if isinstance(entry, Case)]
    problems = [f"{path}: {problem}" for entry in entries if not isinstance(entry, Case) for problem in entry]
    return Findings(tuple(cases), tuple(problems))


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_regular(path, MAX_BYTES).decode("utf-8-sig"))
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        told = error.strerror if isinstance(error, OSError) else error
        raise CohortError(
            Code.COHORT_TABLE, f"{path}: cannot be read as JSON ({told}): give the dataset.json of a cohort"
        ) from None
    if not isinstance(content, dict):
        raise CohortError(Code.COHORT_TABLE, f"{path}: no object: give one with 'training' or 'file_ending'")
    return content


def _channels(content: Mapping[str, Any], config: DataConfig) -> tuple[list[int], str]:
    """Numbers of the channels to read, in the order of ``data.channels``; or what does not fit."""
    told = content.get("channel_names", content.get("modality", {}))
    if not isinstance(told, dict) or not all(
        number.isdecimal() and len(number) <= 4 and isinstance(name, str) for number, name in told.items()
    ):
        return [], 'channel_names must map numbers to names: write it as in {"0": "CT"}'
    names = {name.lower(): int(number) for number, name in told.items()}
    listed_names = listed(list(told.values()))
    if not config.channels:
        if len(told) > 1:
            return [], f"{len(told)} channels ({listed_names}): name those to use in data.channels"
        return [0], ""
    if {name.lower() for name in config.channels} <= set(names):
        return [names[name.lower()] for name in config.channels], ""
    if len(config.channels) == max(len(told), 1):
        return sorted(int(number) for number in told) or [0], ""
    return (
        [],
        f"channels are {listed_names}; data.channels has {', '.join(config.channels)}: correct it",
    )


def _listed_entry(place: int, entry: Any, numbers: Sequence[int], root: Path) -> Case | list[str]:
    if not (
        isinstance(entry, dict)
        and isinstance(entry.get("image"), str)
        and isinstance(entry.get("label"), str)
    ):
        return [f"training, entry {place}: write it as {{image: path, label: path}}"]
    image = root / entry["image"]
    if not image.name:
        return [f"training, entry {place}: {image} is no file: correct the path"]
    name = volume_stem(image)
    suffix = image.name[len(name) :]
    images = [image.with_name(f"{name}_{number:04d}{suffix}") for number in numbers]
    if image.exists() and len(numbers) == 1:
        images = [image]
    return _case(name, images, root / entry["label"])


def _named_entry(name: str, entry: Any, numbers: Sequence[int], root: Path) -> Case | list[str]:
    images = entry.get("images") if isinstance(entry, dict) else None
    if not (
        isinstance(images, list)
        and all(isinstance(i, str) for i in images)
        and isinstance(entry.get("label"), str)
    ):
        return [f"dataset: {name}: write it as {{images: [...], label: path}}"]
    if len(images) <= max(numbers):
        return [
            f"dataset: {name}: {len(images)} images ({listed(images)}): add that of channel {max(numbers)}"
        ]
    return _case(name, [root / images[number] for number in numbers], root / entry["label"])


def _case(name: str, images: Sequence[Path], label: Path) -> Case | list[str]:
    problems = []
    for what, path in [*(("image", image) for image in images), ("label", label)]:
        if not path.exists():
            problems.append(f"case {name}: {what} {path} does not exist: put it there, or correct the entry")
        elif not is_scan(path):
            problems.append(f"case {name}: {what} {path} is neither a volume file nor a DICOM folder")
    return problems or Case(id=safe_id(name), images=tuple(images), label=label)


def _nnunet(path: Path, ending: str, numbers: Sequence[int], config: DataConfig) -> Findings:
    """``imagesTr/p01_0000.nii.gz`` and ``labelsTr/p01.nii.gz``."""
    images, labels = path.parent / "imagesTr", path.parent / "labelsTr"
    missing = [folder for folder in (images, labels) if not folder.is_dir()]
    if missing:
        return Findings(problems=tuple(f"{path}: no folder {folder}: put it there" for folder in missing))
    names = list(config.channels or {"image": ""})
    channels = {name: f"*_{number:04d}{ending}" for name, number in zip(names, numbers, strict=True)}
    patterns = config.model_copy(update={"channels": channels, "label": f"*{ending}"})
    return find_in_image_label_folders(images, labels, patterns)

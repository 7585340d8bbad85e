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
from medseg.io import volume_stem

MAX_BYTES = 100_000_000
NAME = "dataset.json"


def find_in_dataset_json(path: Path, config: DataConfig) -> Findings:
    """The training cases that ``path`` lists (Decathlon, nnU-Net 1), or that lie beside it (nnU-Net 2)."""
    content = _read(path)
    numbers, problem = _channels(content, config)
    if problem:
        return Findings(problems=(f"{path}: {problem}",))
    if isinstance(content.get("training"), list):
        entries = [_listed_entry(entry, numbers, path.parent) for entry in content["training"]]
    elif isinstance(content.get("dataset"), dict):
        entries = [
            _named_entry(name, entry, numbers, path.parent) for name, entry in content["dataset"].items()
        ]
    elif isinstance(content.get("file_ending"), str):
        return _nnunet(path, content["file_ending"], numbers, config)
    else:
        problem = "neither 'training' (Decathlon) nor 'file_ending' (nnU-Net) is in it: no case is known"
        return Findings(problems=(f"{path}: {problem}",))
    cases = [entry for entry in entries if isinstance(entry, Case)]
    problems = [f"{path}: {problem}" for entry in entries if not isinstance(entry, Case) for problem in entry]
    return Findings(tuple(cases), tuple(problems))


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise CohortError(
                Code.COHORT_TABLE, f"{path}: larger than {MAX_BYTES} bytes; is this the right file?"
            )
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise CohortError(Code.COHORT_TABLE, f"{path}: cannot be read as JSON ({error})") from None
    if not isinstance(content, dict):
        raise CohortError(
            Code.COHORT_TABLE, f"{path}: an object with 'training' or 'file_ending' is expected"
        )
    return content


def _channels(content: Mapping[str, Any], config: DataConfig) -> tuple[list[int], str]:
    """Numbers of the channels to read, in the order of ``data.channels``; or what does not fit."""
    told = content.get("channel_names", content.get("modality", {}))
    if not isinstance(told, dict) or not all(str(number).isdigit() for number in told):
        return [], 'channel_names must map numbers to names, as in {"0": "CT"}'
    names = {str(name).lower(): int(number) for number, name in told.items()}
    listed_names = listed([str(name) for name in told.values()])
    if not config.channels:
        if len(told) > 1:
            return [], f"{len(told)} channels ({listed_names}): name those to use in data.channels"
        return [0], ""
    if {name.lower() for name in config.channels} <= set(names):
        return [names[name.lower()] for name in config.channels], ""
    if len(config.channels) == max(len(told), 1):
        return sorted(names.values()) or [0], ""
    return (
        [],
        f"channels are {listed_names}; data.channels has {', '.join(config.channels)}",
    )


def _listed_entry(entry: Any, numbers: Sequence[int], root: Path) -> Case | list[str]:
    if not (
        isinstance(entry, dict)
        and isinstance(entry.get("image"), str)
        and isinstance(entry.get("label"), str)
    ):
        return [f"training: {str(entry)[:80]}: an entry is {{image, label}}"]
    image = root / entry["image"]
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
        return [f"dataset: {name}: an entry is {{images: [...], label}}"]
    if len(images) <= max(numbers):
        return [f"dataset: {name}: {len(images)} images ({listed(images)}); channel {max(numbers)} is needed"]
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

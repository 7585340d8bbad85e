"""From what a bundle says to an experiment: labels, channels, preprocessing, network, windows."""

import re
from typing import Any

from medseg.convert.monai_inference import Decision, Windows
from medseg.convert.monai_preprocessing import Preprocessing
from medseg.errors import Code, ModelFileError
from medseg.transforms import Fitted

Network = dict[str, Any]
"""The ``model`` part of an experiment, with ``in_channels`` and ``out_channels`` beside it."""


def experiment_settings(
    metadata: dict[str, Any], network: Network, prepared: Preprocessing, windows: Windows, decision: Decision
) -> dict[str, Any]:
    """The experiment as a plain dictionary, but for its name.

    Raises:
        ModelFileError: its labels do not fit its network, or are not named.
    """
    threshold = decision.rule == "threshold"
    outputs = network["out_channels"]
    if threshold and outputs != 1:
        raise ModelFileError(
            Code.MODEL_UNSUPPORTED,
            f"its {outputs} outputs are thresholded each, so its structures may overlap, and it does not say "
            "which one a voxel gets: run the bundle in MONAI",
        )
    labels = _labels(metadata, outputs, threshold)
    keep = [axis for axis, size in zip("ijk", prepared.spacing_mm or (0, 0, 0), strict=True) if not size]
    return {
        "description": " ".join(str(metadata.get("description", "")).split())[:300],
        "labels": labels,
        "data": {"cohort": "MONAI bundle", "channels": _channels(metadata, prepared.channels)},
        "preprocessing": {
            "orientation": prepared.orientation,
            "spacing_mm": _spacing(prepared),
            "keep_spacing": keep,
            "resampling": "points",
            "normalise": prepared.normalise,
            "intensity": _intensity(prepared),
        },
        "sampling": {"patch_size": windows.size},
        "model": {
            "kind": "monai",
            "network": network["network"],
            "arguments": network["arguments"],
            "outputs": "structures" if threshold else "classes",
        },
        "training": {"stop": {"epochs": 1}},
        "inference": {
            **windows.settings,
            "average": "logits" if not decision.activation else "windows",
            "postprocessing": {"largest_component": _largest(decision, labels)},
        },
    }


def fitted_values(prepared: Preprocessing) -> Fitted:
    return Fitted(_spacing(prepared))


def _spacing(prepared: Preprocessing) -> tuple[float, float, float]:
    """Axes that keep the scan's own spacing have 1 mm here, which nobody looks at."""
    i, j, k = (size or 1.0 for size in prepared.spacing_mm or (0, 0, 0))
    return i, j, k


def _intensity(prepared: Preprocessing) -> dict[str, Any]:
    steps = prepared.intensity
    if len(steps) > 1:
        return {"kind": "sequence", "steps": steps}
    return steps[0] if steps else {"kind": "linear"}


def _labels(metadata: dict[str, Any], outputs: int, threshold: bool) -> dict[str, int]:
    """Structures with their value in the mask, which is their output's number."""
    told = _channel_names(metadata, "outputs")
    if threshold:
        return {_plain(told.get("1", told.get("0", "structure")), set()): 1}
    wanted = [str(index) for index in range(outputs)]
    if sorted(told) != sorted(wanted) or outputs < 2:
        raise ModelFileError(
            Code.MODEL_FOREIGN,
            f"configs/metadata.json: {len(told)} names in network_data_format.outputs.pred.channel_def for a "
            f"network of {outputs} outputs, the background first: name each, from 0 on",
        )
    used: set[str] = set()
    return {_plain(told[key], used): int(key) for key in wanted[1:]}


def _channels(metadata: dict[str, Any], count: int) -> dict[str, str] | None:
    """Channel to file pattern, ``*_0001.nii.gz``; a single channel needs none."""
    if count == 1:
        return None
    told, used = _channel_names(metadata, "inputs"), set[str]()
    return {
        _plain(told.get(str(index), f"channel {index}"), used): f"*_{index:04d}.nii.gz"
        for index in range(count)
    }


def _channel_names(metadata: dict[str, Any], side: str) -> dict[str, str]:
    """``channel_def`` of the (first) input or output."""
    node: Any = metadata.get("network_data_format")
    node = node.get(side) if isinstance(node, dict) else None
    first = next(iter(node.values()), None) if isinstance(node, dict) else None
    told = first.get("channel_def") if isinstance(first, dict) else None
    return {str(key): str(name) for key, name in told.items()} if isinstance(told, dict) else {}


def _plain(name: str, used: set[str]) -> str:
    """A name that a label may have, unlike those in ``used``."""
    plain = re.sub(r"[^\w .()+-]", "_", name.strip())[:60] or "structure"
    unlike = next(n for n in (plain, *(f"{plain}_{index}" for index in range(2, 10_000))) if n not in used)
    used.add(unlike)
    return unlike


def _largest(decision: Decision, labels: dict[str, int]) -> list[str]:
    if decision.largest is None:
        return []
    return [name for name, value in labels.items() if not decision.largest or value in decision.largest]

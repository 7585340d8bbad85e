"""One model, one file: weights, configuration, fitted values and provenance, as safetensors.

The header's ``__metadata__`` has one key, ``medseg``, which holds JSON::

    {"format": 1, "classes": ["background", ...], "experiment": {...}, "fitted": {...}, "provenance": {...},
     "sha256": "..."}

``sha256`` is taken over the rest of that JSON and every tensor (name, type, shape, bytes), and is verified
when the file is read. The order of keys counts: that of ``labels`` is the order of the classes.
Nothing in the file is ever executed: it is numbers and JSON.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from medseg.config import Experiment, parse_experiment
from medseg.errors import Code, ConfigError, EnvironmentProblem, ModelFileError
from medseg.files import write_bytes_atomically
from medseg.models import build_network

FORMAT = 1
"""Raised when older versions of medseg could not read the file rightly."""

MAX_HEADER_BYTES = 16_000_000
_KEY = "medseg"
_NOT_OURS = "not a medseg model (a .safetensors file that medseg train writes is expected)"


@dataclass(frozen=True, eq=False)
class ModelFile:
    """What a model file holds.

    ``fitted`` and ``provenance`` are plain JSON values; ``weights`` is the ``state_dict`` of the network.
    """

    experiment: Experiment
    fitted: dict[str, Any]
    provenance: dict[str, Any]
    weights: dict[str, Tensor]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the network's outputs, background first."""
        return ("background", *self.experiment.labels)


def save_model(path: Path, model: ModelFile) -> None:
    """Write ``model`` to ``path``; the name appears only when the file is whole and on disk.

    The same model gives the same bytes.

    Raises:
        ModelFileError: something in it is neither a tensor nor JSON.
        EnvironmentProblem: the disk is full, or the place cannot be written.
    """
    weights = _plain_tensors(path, model.weights)
    told = {
        "format": FORMAT,
        "classes": list(model.classes),
        "experiment": model.experiment.model_dump(mode="json"),
        "fitted": model.fitted,
        "provenance": model.provenance,
    }
    try:
        told["sha256"] = _checksum(told, weights)
        header = _to_json(told)
    except (TypeError, ValueError, RecursionError) as error:
        raise ModelFileError(
            Code.MODEL_CONTENT, f"{path}: fitted values or provenance are not plain JSON ({error})"
        ) from None
    if len(header.encode()) > MAX_HEADER_BYTES // 2:
        raise ModelFileError(
            Code.MODEL_CONTENT,
            f"{path}: {len(header)} characters of configuration, fitted values and provenance; "
            f"a model file holds at most {MAX_HEADER_BYTES // 2}",
        )
    write_bytes_atomically(path, safetensors.torch.save(weights, {_KEY: header}))


def load_model(path: Path) -> ModelFile:
    """Read a model file and verify its checksum. Weights are on the CPU.

    Raises:
        ModelFileError: missing, damaged, foreign, or written by a newer medseg.
        EnvironmentProblem: the file cannot be read.
    """
    data = _read(path)
    told = _read_header(path, data)
    try:
        weights = safetensors.torch.load(data)
    except (SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise ModelFileError(
            Code.MODEL_DAMAGED, f"{path}: damaged ({error}): copy or download it again"
        ) from None
    stated = told.pop("sha256", None)
    if stated != _checksum(told, weights):
        raise ModelFileError(
            Code.MODEL_DAMAGED, f"{path}: damaged (its checksum does not match): copy or download it again"
        )
    fitted, provenance, raw = told.get("fitted"), told.get("provenance"), told.get("experiment")
    if not (isinstance(fitted, dict) and isinstance(provenance, dict) and isinstance(raw, dict)):
        raise ModelFileError(Code.MODEL_FOREIGN, f"{path}: {_NOT_OURS}")
    try:
        experiment = parse_experiment(raw, "its configuration")
    except ConfigError as error:
        raise ModelFileError(
            Code.MODEL_MISFIT,
            *(f"{path}: {line}; it does not suit this version of medseg" for line in error.problems),
        ) from None
    return ModelFile(experiment, fitted, provenance, weights)


def load_network(model: ModelFile) -> nn.Module:
    """The network of ``model`` with its weights, in evaluation mode, on the CPU.

    Raises:
        ModelFileError: weights and configuration are not of the same network; names are told.
    """
    experiment = model.experiment
    try:
        network = build_network(
            experiment.model,
            in_channels=experiment.channel_count,
            classes=experiment.class_count,
            patch_size=experiment.sampling.patch_size,
        )
    except ConfigError as error:
        raise ModelFileError(
            Code.MODEL_MISFIT, *(f"model {experiment.name}: {line}" for line in error.problems)
        ) from None
    expected, found = network.state_dict(), model.weights
    shapes = [
        f"{name} is {_shape(found[name])}, expected {_shape(expected[name])}"
        for name in expected
        if name in found and found[name].shape != expected[name].shape
    ]
    problems = [
        *_some("missing", [name for name in expected if name not in found]),
        *_some("unexpected", [name for name in found if name not in expected]),
        *_some("of another shape", shapes),
    ]
    ModelFileError.raise_if(
        Code.MODEL_MISFIT,
        (f"model {experiment.name}: its weights are not of its network: {line}" for line in problems),
    )
    network.load_state_dict(found)
    return network.eval()


def model_summary(model: ModelFile) -> dict[str, Any]:
    """What a person asks of a model file, as JSON values."""
    experiment = model.experiment
    return {
        "name": experiment.name,
        "description": experiment.description,
        "kind": experiment.model.kind,
        "spatial_dims": experiment.model.spatial_dims,
        "labels": dict(experiment.labels),
        "channels": list(experiment.data.channels or ("image",)),
        "patch_size": list(experiment.sampling.patch_size),
        "weights": sum(tensor.numel() for tensor in model.weights.values()),
        "bytes": sum(tensor.numel() * tensor.element_size() for tensor in model.weights.values()),
        "fitted": model.fitted,
        "provenance": model.provenance,
    }


def _plain_tensors(path: Path, weights: Mapping[str, Any]) -> dict[str, Tensor]:
    """Contiguous copies on the CPU, none sharing memory."""
    wrong = [name for name, value in weights.items() if not isinstance(value, Tensor) or value.is_sparse]
    if wrong:
        raise ModelFileError(
            Code.MODEL_CONTENT, f"{path}: {', '.join(wrong[:5])}: only dense tensors go into a model file"
        )
    return {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in weights.items()
    }


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ModelFileError(Code.NO_MODEL_FILE, f"{path}: no such file") from None
    except IsADirectoryError:
        raise ModelFileError(
            Code.NO_MODEL_FILE, f"{path}: a folder; give the .safetensors file in it"
        ) from None
    except OSError as error:
        raise EnvironmentProblem(Code.CANNOT_READ, f"{path}: cannot be read ({error.strerror})") from None


def _read_header(path: Path, data: bytes) -> dict[str, Any]:
    """The JSON that medseg put into the header, its format checked."""
    size = int.from_bytes(data[:8], "little")
    if len(data) < 10 or data[8:9] != b"{":
        raise ModelFileError(Code.MODEL_FOREIGN, f"{path}: {_NOT_OURS}")
    if size > MAX_HEADER_BYTES:
        raise ModelFileError(
            Code.MODEL_FOREIGN, f"{path}: header of {size} bytes; at most {MAX_HEADER_BYTES} are read"
        )
    if len(data) < 8 + size:
        raise ModelFileError(
            Code.MODEL_DAMAGED, f"{path}: truncated (ends within its header): copy or download it again"
        )
    try:
        header = json.loads(data[8 : 8 + size])
        told = json.loads(header["__metadata__"][_KEY])
        _to_json(told)  # refuses what JSON has no number for
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ModelFileError(Code.MODEL_FOREIGN, f"{path}: {_NOT_OURS}") from None
    if not isinstance(told, dict) or not isinstance(told.get("format"), int):
        raise ModelFileError(Code.MODEL_FOREIGN, f"{path}: {_NOT_OURS}")
    if told["format"] > FORMAT:
        raise ModelFileError(
            Code.MODEL_NEWER,
            f"{path}: written by a newer medseg (file format {told['format']}; this one reads {FORMAT}): "
            "upgrade medseg",
        )
    return told


def _checksum(told: Mapping[str, Any], weights: Mapping[str, Tensor]) -> str:
    """SHA-256 of the metadata and of all tensors."""
    digest = hashlib.sha256(_to_json(told).encode())
    for name in sorted(weights):
        tensor = weights[name].contiguous()
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _to_json(value: Any) -> str:
    return json.dumps(value, allow_nan=False)


def _shape(tensor: Tensor) -> str:
    return "x".join(str(n) for n in tensor.shape) or "a number"


def _some(what: str, names: list[str]) -> list[str]:
    """One line that names the first few."""
    if not names:
        return []
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return [f"{len(names)} {what} ({', '.join(names[:3])}{more})"]

"""One model, one file: weights, configuration, fitted values and provenance, as safetensors.

The header's ``__metadata__`` has one key, ``medseg``, which holds JSON::

    {"format": 1, "classes": ["background", ...], "experiment": {...}, "fitted": {...}, "provenance": {...},
     "sha256": "..."}

A file of several networks, whose scores are averaged, has format 2 and ``"members": 5``; their weights are
named ``member0.*`` to ``member4.*``. With ``"weights": "fp16"`` floating weights are stored as float16; they
are float32 when the file is read.

``sha256`` is taken over the rest of that JSON and every tensor (name, type, shape, bytes), and is verified
when the file is read. The order of keys counts: that of ``labels`` is the order of the classes.
Nothing in the file is ever executed: it is numbers and JSON.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from medseg.config import Experiment, parse_experiment
from medseg.errors import Code, ConfigError, ModelFileError
from medseg.files import write_bytes_atomically
from medseg.modelheader import FORMAT, GIVE_OURS, KEY, MAX_HEADER_BYTES, NOT_OURS, read_model_bytes, to_json
from medseg.models import build_network
from medseg.modelweights import HALF, STORED, checksum, halved, plain_tensors, restored


@dataclass(frozen=True, eq=False)
class ModelFile:
    """What a model file holds.

    ``fitted`` and ``provenance`` are plain JSON values; ``weights`` is the ``state_dict`` of the network, or
    of each of ``members`` networks, under names that begin with :func:`member_prefix`. ``quantisation`` is
    what int8 needs (plain JSON, empty where it was not asked for): the ``ranges`` of each network, and what
    it costs, as ``measured``. ``review`` is the :class:`medseg.inference.review.ReviewRule`, if there is one.
    """

    experiment: Experiment
    fitted: dict[str, Any]
    provenance: dict[str, Any]
    weights: dict[str, Tensor]
    members: int = 1
    quantisation: dict[str, Any] = field(default_factory=dict)
    review: dict[str, Any] = field(default_factory=dict)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the network's outputs, background first."""
        return ("background", *self.experiment.labels)


MAX_MEMBERS = 32


def member_prefix(member: int) -> str:
    """How the weights' names of a member begin, in a file of several."""
    return f"member{member}."


def save_model(path: Path, model: ModelFile, *, half: bool = False) -> None:
    """Write ``model`` to ``path``; the name appears only when the file is whole and on disk.

    The same model gives the same bytes. ``half`` stores weights as float16: half the size.

    Raises:
        ModelFileError: something in it is neither a tensor nor JSON, or a weight is too large for ``half``.
        EnvironmentProblem: the disk is full, or the place cannot be written.
    """
    weights = plain_tensors(path, model.weights)
    if half:
        weights = halved(path, weights)
    told = {
        "format": 1 if model.members == 1 else FORMAT,
        **({} if model.members == 1 else {"members": model.members}),
        **({STORED: HALF} if half else {}),
        "classes": list(model.classes),
        "experiment": model.experiment.model_dump(mode="json"),
        "fitted": model.fitted,
        "provenance": model.provenance,
        **({"quantisation": model.quantisation} if model.quantisation else {}),
        **({"review": model.review} if model.review else {}),
    }
    try:
        told["sha256"] = checksum(told, weights)
        header = to_json(told)
    except (TypeError, ValueError, RecursionError) as error:
        raise ModelFileError(
            Code.MODEL_CONTENT,
            f"{path}: fitted values or provenance are not plain JSON ({error}); convert them",
        ) from None
    if len(header.encode()) > MAX_HEADER_BYTES // 2:
        raise ModelFileError(
            Code.MODEL_CONTENT,
            f"{path}: {len(header)} characters of configuration, fitted values and provenance; "
            f"a model file holds at most {MAX_HEADER_BYTES // 2}",
        )
    write_bytes_atomically(path, safetensors.torch.save(weights, {KEY: header}))


def load_model(path: Path) -> ModelFile:
    """Read a model file and verify its checksum. Weights are on the CPU, float32 where stored as float16.

    Raises:
        ModelFileError: missing, damaged, foreign, or written by a newer medseg.
        EnvironmentProblem: the file cannot be read.
    """
    data, told = read_model_bytes(path)
    try:
        weights = safetensors.torch.load(data)
    except (SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise ModelFileError(
            Code.MODEL_DAMAGED, f"{path}: damaged ({error}): copy or download it again"
        ) from None
    stated = told.pop("sha256", None)
    if stated != checksum(told, weights):
        raise ModelFileError(
            Code.MODEL_DAMAGED, f"{path}: damaged (its checksum does not match): copy or download it again"
        )
    fitted, provenance, raw = told.get("fitted"), told.get("provenance"), told.get("experiment")
    quantisation, review = told.get("quantisation", {}), told.get("review", {})
    if not (isinstance(fitted, dict) and isinstance(provenance, dict) and isinstance(raw, dict)):
        raise ModelFileError(Code.MODEL_FOREIGN, f"{path}: {NOT_OURS}")
    if not (isinstance(quantisation, dict) and isinstance(review, dict)):
        raise ModelFileError(Code.MODEL_FOREIGN, f"{path}: {NOT_OURS}")
    members = _members(path, told, weights)
    weights = restored(path, weights, told.get(STORED))
    try:
        experiment = parse_experiment(raw, "its configuration")
    except ConfigError as error:
        raise ModelFileError(
            Code.MODEL_MISFIT,
            *(f"{path}: {line}; it does not suit this version of medseg" for line in error.problems),
        ) from None
    return ModelFile(experiment, fitted, provenance, weights, members, quantisation, review)


def _members(path: Path, told: Mapping[str, Any], weights: Mapping[str, Tensor]) -> int:
    """How many networks the file holds; every weight belongs to one of them."""
    if told["format"] == 1 and "members" not in told:
        return 1
    members = told.get("members")
    if type(members) is not int or not 2 <= members <= MAX_MEMBERS:
        raise ModelFileError(
            Code.MODEL_FOREIGN,
            f"{path}: its number of networks is not one of 2 to {MAX_MEMBERS}; {GIVE_OURS}",
        )
    prefixes = tuple(member_prefix(member) for member in range(members))
    stray = [name for name in weights if not name.startswith(prefixes)]
    if stray:
        raise ModelFileError(
            Code.MODEL_MISFIT,
            f"{path}: {stray[0]!r:.80} belongs to none of its {members} networks: copy or download it again",
        )
    return members


def load_networks(model: ModelFile) -> tuple[nn.Module, ...]:
    """All networks of ``model``, as :func:`load_network` gives each."""
    return tuple(load_network(model, member) for member in range(model.members))


def member_weights(model: ModelFile, member: int = 0) -> Mapping[str, Tensor]:
    """The weights of one network, by the names it has alone."""
    if model.members == 1:
        return model.weights
    prefix = member_prefix(member)
    return {
        name.removeprefix(prefix): value for name, value in model.weights.items() if name.startswith(prefix)
    }


def load_network(model: ModelFile, member: int = 0) -> nn.Module:
    """A network of ``model`` with its weights, in evaluation mode, on the CPU.

    Raises:
        ModelFileError: weights and configuration are not of the same network; names are told.
    """
    experiment, found = model.experiment, member_weights(model, member)
    network = _build(experiment, sum(tensor.numel() for tensor in found.values()))
    expected = network.state_dict()
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
        (
            f"model {experiment.name}: its weights are not of its network: {line}; copy or download it again"
            for line in problems
        ),
    )
    network.load_state_dict(found)
    return network.eval()


def _build(experiment: Experiment, most: int) -> nn.Module:
    """The network of ``experiment``, unless it has far more than ``most`` weights."""
    left = 2 * most  # some networks replace parameters while they are built

    def count(_module: nn.Module, _name: str, parameter: nn.Parameter | None) -> None:
        nonlocal left
        left -= parameter.numel() if parameter is not None else 0
        if left < 0:
            raise MemoryError

    counting = register_module_parameter_registration_hook(count)
    try:
        return build_network(
            experiment.model,
            in_channels=experiment.channel_count,
            classes=experiment.class_count,
            patch_size=experiment.sampling.patch_size,
        )
    except ConfigError as error:
        raise ModelFileError(
            Code.MODEL_MISFIT, *(f"model {experiment.name}: {line}" for line in error.problems)
        ) from None
    except (MemoryError, RuntimeError):  # torch tells of too little memory by a RuntimeError
        raise ModelFileError(
            Code.MODEL_MISFIT,
            f"model {experiment.name}: its weights are not of its network: {most} numbers, and the network "
            "has far more: copy or download it again",
        ) from None
    finally:
        counting.remove()


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
        "members": model.members,
        "weights": sum(tensor.numel() for tensor in model.weights.values()),
        "bytes": sum(tensor.numel() * tensor.element_size() for tensor in model.weights.values()),
        "fitted": model.fitted,
        "provenance": model.provenance,
        "int8": model.quantisation.get("measured"),
    }


def _shape(tensor: Tensor) -> str:
    return "x".join(str(n) for n in tensor.shape) or "a number"


def _some(what: str, names: list[str]) -> list[str]:
    """One line that names the first few."""
    if not names:
        return []
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return [f"{len(names)} {what} ({', '.join(names[:3])}{more})"]

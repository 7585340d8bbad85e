"""A MONAI bundle as a model file: preprocessing, network, windows and weights."""

import hashlib
import re
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from torch import Tensor

from medseg.config import parse_experiment
from medseg.config.monai_networks import ARGUMENTS
from medseg.convert.monai_bundle import Bundle, is_torchscript, read_bundle
from medseg.convert.monai_experiment import Network, experiment_settings, fitted_values
from medseg.convert.monai_expressions import Component
from medseg.convert.monai_inference import Decision, read_inferer, read_postprocessing
from medseg.convert.monai_preprocessing import Preprocessing, component, read_preprocessing, refused
from medseg.convert.nnunet import Converted
from medseg.convert.nnunet_checkpoint import unpickled
from medseg.errors import Code, ConfigError, ModelFileError, UsageError
from medseg.modelfile import ModelFile, load_network

_WITHOUT_EFFECT = {
    "SwinUNETR": ("img_size", "use_checkpoint"),
    "DynUNet": ("deep_supervision", "deep_supr_num"),
}
"""Arguments that change no mask: checks, and what there is only while training."""

_AXES = re.compile("[RL][AP][SI]")


def convert_monai(path: Path, *, checkpoint: str | None = None, orientation: str | None = None) -> Converted:
    """Read a bundle: its folder, or a zip archive of it, which is not unpacked.

    Args:
        checkpoint: the file in ``models``; unset: the one that the bundle's CheckpointLoader names.
        orientation: where the stored axes of the training scans ran to, as in ``"LPS"``, for bundles whose
            preprocessing does not turn scans.

    Raises:
        UsageError: an orientation that is none, is not needed, or is missing.
        ModelFileError: damaged, foreign, or something that medseg has not, by its place and name.
    """
    bundle = read_bundle(path)
    try:
        network = _network(bundle)
        prepared = read_preprocessing(bundle.config.at("preprocessing"), network["in_channels"])
        _orient(prepared, orientation)
        windows = read_inferer(bundle.config.at("inferer"))
        decision = read_postprocessing(bundle.config.at("postprocessing"))
        raw = experiment_settings(bundle.metadata, network, prepared, windows, decision)
        raw["name"] = re.sub(r"[^A-Za-z0-9._-]", "_", bundle.name).lstrip("._-")[:100] or "monai"
        experiment = parse_experiment(raw, "its configuration")
        name = checkpoint or _checkpoint_name(bundle)
        weights, digest = _weights(bundle, name)
        weights = _under_our_names(weights, network, raw["model"]["outputs"])
        provenance = _provenance(bundle, name, digest, orientation)
        model = ModelFile(experiment, fitted_values(prepared).to_json(), provenance, weights)
        load_network(model)
    except ConfigError as error:
        raise ModelFileError(Code.MODEL_UNSUPPORTED, *error.problems).about(str(path)) from None
    except ModelFileError as error:
        told = all(problem.startswith(str(path)) for problem in error.problems)
        raise (error if told else error.about(str(path))) from None
    return Converted(model, tuple(_notes(bundle, prepared, decision, orientation)))


def _network(bundle: Bundle) -> Network:
    key = "network_def" if "network_def" in bundle.config else "network"
    told = component(bundle.config.at(key), key)
    known = next((name for name in ARGUMENTS if name == told.name), None)
    if known is None:
        raise refused(
            told,
            f"network {told.target:.80}: MONAI's {', '.join(ARGUMENTS)} are known: run it in MONAI",
        )
    if told.get("spatial_dims", told.get("dimensions", 3)) != 3:
        raise refused(told, "a network for slices: only those for volumes are converted (spatial_dims: 3)")
    apart = ("spatial_dims", "dimensions", "in_channels", "out_channels", *_WITHOUT_EFFECT.get(known, ()))
    arguments = {name: _literal(told, name) for name in told.arguments if name not in apart}
    unknown = sorted(set(arguments) - set(ARGUMENTS[known]))
    if unknown:
        raise refused(
            told, f"{known} with {', '.join(unknown):.100}, which is not known: run the bundle in MONAI"
        )
    counts = {name: told.get(name) for name in ("in_channels", "out_channels")}
    for name, count in counts.items():
        if type(count) is not int or not 1 <= count <= 4096:
            raise refused(told, f"{name}: {count!r:.40}, and a number of channels is expected: write it")
    return {"network": known, "arguments": arguments, **counts}


def _literal(told: Component, name: str) -> Any:
    """An argument of plain values only."""
    value = told.get(name)
    waiting = [value]
    while waiting:
        entry = waiting.pop()
        if isinstance(entry, Component):
            raise refused(
                told, f"{name} is the object {entry.target:.60}: give its name as text, as in act: PRELU"
            )
        waiting += entry if isinstance(entry, list) else entry.values() if isinstance(entry, dict) else ()
    return value


def _orient(prepared: Preprocessing, given: str | None) -> None:
    if given is not None and not _AXES.fullmatch(given):
        raise UsageError(
            Code.OPTION, f"orientation {given}: give three letters, R or L, A or P, S or I, as in LPS or RAS"
        )
    if prepared.orientation is None and given is None:
        raise UsageError(
            Code.OPTION,
            "its preprocessing has no Orientationd, so its network sees scans as they are stored; nothing "
            "says how those it was trained on were: give --orientation, as in --orientation RAS",
        )
    if given is not None and prepared.orientation not in (None, given):
        raise UsageError(
            Code.OPTION,
            f"orientation {given}: the bundle turns all scans to {prepared.orientation}: leave it out",
        )
    prepared.orientation = prepared.orientation or given


def _checkpoint_name(bundle: Bundle) -> str:
    """The file in ``models`` that the bundle loads."""
    with suppress(ModelFileError):  # a path by an expression; where there is one file only, it is that
        loader = _loader(bundle)
        if loader is not None:
            return PurePosixPath(str(loader.get("load_path"))).name
    files = sorted(name.removeprefix("models/") for name in bundle.names if name.startswith("models/"))
    weights = [name for name in files if name.endswith((".pt", ".pth"))]
    if len(weights) != 1 and "model.pt" not in weights:
        found = ", ".join(files)[:120] or "nothing"
        raise UsageError(
            Code.OPTION, f"{bundle.path}: models holds {found}: choose the weights with --checkpoint"
        )
    return weights[0] if len(weights) == 1 else "model.pt"


def _loader(bundle: Bundle) -> Component | None:
    told = [bundle.config.at(name) for name in ("checkpointloader", "handlers") if name in bundle.config]
    each = [entry for value in told for entry in (value if isinstance(value, list) else [value])]
    loaders = [one for one in each if isinstance(one, Component) and one.name == "CheckpointLoader"]
    return loaders[0] if loaders else None


def _weights(bundle: Bundle, name: str) -> tuple[dict[str, Tensor], str]:
    """Tensors by name, and the SHA-256 of their file."""
    shown = bundle.path / "models" / name
    inside = f"models/{name}"
    if inside not in bundle.names:
        compiled = any(one.endswith(".ts") for one in bundle.names)
        raise ModelFileError(
            Code.NO_MODEL_FILE,
            f"{shown}: no such file; "
            + ("model.ts is TorchScript, which is code and is not opened: " if compiled else "")
            + "download the bundle with its model.pt, or choose the file with --checkpoint",
        )
    with bundle.open(inside) as file:
        if is_torchscript(file):
            raise ModelFileError(
                Code.MODEL_CONTENT,
                f"{shown}: TorchScript, which is code and is not opened: give the weights as a "
                "state_dict (torch.save(network.state_dict(), 'model.pt'))",
            )
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        weights, _ = unpickled(shown, cast(BinaryIO, file), "monai")
    return weights, digest


def _under_our_names(weights: dict[str, Tensor], network: Network, outputs: str) -> dict[str, Tensor]:
    """Without what there is only while training; behind a name where ours stands around the network."""
    kept = weights
    if network["network"] == "DynUNet":
        kept = {
            name: value for name, value in weights.items() if not re.search(r"(deep_super|super_head)", name)
        }
    return {("network." if outputs == "structures" else "") + name: value for name, value in kept.items()}


def _provenance(bundle: Bundle, checkpoint: str, digest: str, orientation: str | None) -> dict[str, Any]:
    told = ("version", "monai_version", "authors", "copyright", "data_source", "intended_use")
    return {
        "converted_from": "MONAI bundle",
        "medseg": version("medseg"),
        "bundle": bundle.name[:100],
        **{name: str(bundle.metadata[name])[:500] for name in told if name in bundle.metadata},
        "checkpoint": checkpoint,
        "checkpoint_sha256": digest,
        **({"stored_orientation": orientation} if orientation else {}),
    }


def _notes(bundle: Bundle, prepared: Preprocessing, decision: Decision, orientation: str | None) -> list[str]:
    notes = []
    if orientation is not None:
        notes.append(
            f"scans that are stored otherwise than {orientation} are turned to it, which the bundle would not"
        )
    if decision.labels_return:
        notes.append(
            "the bundle brings labels back to the scan's grid, medseg scores: surfaces differ by parts of "
            "a voxel"
        )
    if prepared.channels > 1:
        notes.append(f"it takes {prepared.channels} files, one a channel, in the order of its metadata")
    for name, what in (
        ("intended_use", "intended use"),
        ("data_source", "trained on"),
        ("copyright", "rights"),
    ):
        if name in bundle.metadata:
            notes.append(f"{what}: {' '.join(str(bundle.metadata[name]).split())[:200]}")
    notes.append("its licence is that of the bundle (LICENSE, docs): it holds for the model file, too")
    return notes

"""Fine-tuning: a training that starts from the weights of a model file (``training.init_from``).

Layers are taken by name and shape. Where the structures or channels differ, the layers that depend on their
number are found by building the networks once more with one more of each, and are filled by name: heads class
by class, first convolutions channel by channel; a new channel starts as the mean of the old ones, a new class
as drawn.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from medseg.config import Experiment
from medseg.errors import Code, ConfigError
from medseg.modelfile import ModelFile, load_model
from medseg.models import build_network
from medseg.models.build import encoder_names, size_multiples
from medseg.shipped import find_model

log = logging.getLogger(__name__)

_SAME_SPACING = 0.1
"""Spacings within a tenth of each other are the same to a network; augmentation zooms by more."""


@dataclass(frozen=True)
class FirstModel:
    """The model a training starts from."""

    named: str
    path: Path
    model: ModelFile

    def mark(self) -> str:
        """Hash of the file's content."""
        return sha256(self.path.read_bytes()).hexdigest()


@dataclass
class Taken:
    """What of a model was taken into a new network."""

    source: str
    taken: int = 0
    total: int = 0
    """Numbers of weights."""
    classes: tuple[str, ...] = ()
    new_classes: tuple[str, ...] = ()
    new_channels: tuple[str, ...] = ()
    fresh: list[str] = field(default_factory=list)
    """Layers that start as drawn."""

    def line(self) -> str:
        told = [
            f"starts from {self.source}: {100 * self.taken / max(1, self.total):.1f}% of the weights taken"
        ]
        if self.new_classes:
            known = ", ".join(self.classes) or "no structure"
            told.append(f"the heads know {known}; new are {', '.join(self.new_classes)}")
        if self.new_channels:
            told.append(f"new channels: {', '.join(self.new_channels)}")
        if self.fresh:
            more = f" and {len(self.fresh) - 3} more" if len(self.fresh) > 3 else ""
            told.append(f"as drawn: {', '.join(self.fresh[:3])}{more}")
        return "; ".join(told)

    def to_json(self) -> dict[str, Any]:
        return {
            "model": self.source,
            "weights_taken": self.taken,
            "weights": self.total,
            "classes_taken": list(self.classes),
            "classes_new": list(self.new_classes),
            "channels_new": list(self.new_channels),
            "layers_as_drawn": self.fresh,
        }


def open_first_model(experiment: Experiment) -> FirstModel | None:
    """The model that ``training.init_from`` names; None where it is unset.

    Raises:
        UsageError: there is no such model.
        ModelFileError: it is damaged.
        ConfigError: it has several networks, or an encoder that does not fit; what differs is told.
    """
    named = experiment.training.init_from
    if named is None:
        return None
    path = find_model(named)
    first = FirstModel(path.name, path, load_model(path))
    if first.model.members > 1:
        raise ConfigError(
            Code.CONFIG_NETWORK,
            f"training.init_from: {named} holds {first.model.members} networks: give the model of one run",
        )
    _require_same_encoder(experiment, first)
    return first


def take_weights(network: nn.Module, experiment: Experiment, first: FirstModel) -> Taken:
    """Fill ``network``, freshly built for ``experiment``, with what fits of ``first``."""
    old = first.model.experiment
    source = _from_finest(first.model.weights)
    state = network.state_dict()
    new = _from_finest(state)
    shapes = _Dependence.of(experiment)
    classes = _by_name(("background", *old.labels), ("background", *experiment.labels))
    channels = _by_name(_channels(old), _channels(experiment))
    taken = Taken(
        first.named,
        total=sum(value.numel() for value in state.values()),
        classes=tuple(name for name in experiment.labels if name in old.labels),
        new_classes=tuple(name for name in experiment.labels if name not in old.labels),
        new_channels=tuple(n for n, i in zip(_channels(experiment), channels, strict=True) if i is None),
    )
    if old.channel_count == experiment.channel_count == 1:
        channels, taken.new_channels = [0], ()  # whatever it is called, it is the image
    with torch.no_grad():
        for name, value in new.items():
            found = source.get(name)
            if found is not None and name in shapes.classes:
                found = _picked(found, 0, classes, old.class_count, value)
            elif found is not None and name in shapes.channels:
                found = _picked(found, 1, channels, old.channel_count, None)
            if found is None or found.shape != value.shape:
                taken.fresh.append(name)
                continue
            value.copy_(found)
            taken.taken += value.numel()
    return taken


def tell_misfits(experiment: Experiment, first: FirstModel, spacing_mm: Sequence[float]) -> None:
    """Warn where the network would see something else than it learned from."""
    old = first.model.experiment.preprocessing
    seen = first.model.fitted.get("spacing_mm") or spacing_mm
    if any(abs(a / b - 1) > _SAME_SPACING for a, b in zip(seen, spacing_mm, strict=True)):
        log.warning(
            "%s learned at a spacing of %s mm, this training is at %s mm: set preprocessing.spacing_mm: [%s]",
            first.named, *("x".join(f"{s:.3g}" for s in mm) for mm in (seen, spacing_mm)),
            ", ".join(f"{s:.4g}" for s in seen),
        )  # fmt: skip
    for name in ("intensity", "orientation", "normalise"):
        theirs, ours = getattr(old, name), getattr(experiment.preprocessing, name)
        if theirs != ours:
            told = [entry.kind for entry in theirs] if name == "intensity" else theirs
            log.warning(
                "%s learned with another preprocessing.%s (%s): set it to the same, unless the scans are of "
                "another kind", first.named, name, told,
            )  # fmt: skip


def _require_same_encoder(experiment: Experiment, first: FirstModel) -> None:
    old, new = first.model.experiment, experiment
    told = [
        f"model.{name} is {_short(getattr(old.model, name, None))} there and {_short(value)} here"
        for name, value in new.model
        if name != "deep_supervision" and getattr(old.model, name, None) != value
    ]
    strides = [size_multiples(e.model, e.sampling.patch_size) for e in (old, new)]
    if strides[0] != strides[1] and old.model.kind == new.model.kind:
        told.append(f"sampling.patch_size makes strides of {strides[1]} in all, {strides[0]} there")
    ours = _meta_state(new, new.class_count, new.channel_count)
    encoder = encoder_names(new.model, ours) - _Dependence.of(new).channels
    theirs = first.model.weights
    misfit = [n for n in encoder if n not in theirs or theirs[n].shape != ours[n].shape]
    if misfit or strides[0] != strides[1]:
        raise ConfigError(
            Code.CONFIG_NETWORK,
            f"training.init_from: the encoder of {first.named} does not fit: {'; '.join(told)}: "
            "write model: as it is there, or remove init_from",
        )


def _short(value: object) -> str:
    return str(list(value) if isinstance(value, tuple) else value)


@dataclass(frozen=True)
class _Dependence:
    """Names of the weights whose shape depends on the number of classes, and of input channels."""

    classes: frozenset[str]
    channels: frozenset[str]

    @classmethod
    def of(cls, experiment: Experiment) -> "_Dependence":
        classes, channels = experiment.class_count, experiment.channel_count
        usual = _meta_state(experiment, classes, channels)
        heads = _meta_state(experiment, classes + 1, channels)
        more = _meta_state(experiment, classes, channels + 1)
        return cls(
            frozenset(_from_finest({n: v for n, v in usual.items() if heads[n].shape != v.shape}, usual)),
            frozenset(n for n, v in usual.items() if n in more and more[n].shape != v.shape),
        )


def _meta_state(experiment: Experiment, classes: int, channels: int) -> dict[str, Tensor]:
    """Names and shapes alone; nothing is allocated and no random number drawn."""
    with torch.device("meta"):
        network: nn.Module = build_network(
            experiment.model,
            in_channels=channels,
            classes=classes,
            patch_size=experiment.sampling.patch_size,
        )
    return network.state_dict()


def _from_finest(state: dict[str, Tensor], within: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
    """Heads numbered from the finest: without deep supervision there is only that one."""
    heads = {_head(name) for name in (within or state)} - {None}
    last = max((number for number in heads if number is not None), default=0)
    renamed = {}
    for name, value in state.items():
        number = _head(name)
        renamed[name if number is None else name.replace(f"heads.{number}.", f"heads.{number - last}.")] = (
            value
        )
    return renamed


def _head(name: str) -> int | None:
    before, found, after = name.rpartition("heads.")
    number = after.partition(".")[0]
    return int(number) if found and number.isdigit() and before in ("", "network.") else None


def _channels(experiment: Experiment) -> tuple[str, ...]:
    return tuple(experiment.data.channels or ("image",))


def _by_name(old: Sequence[str], new: Sequence[str]) -> list[int | None]:
    """For each of ``new`` where it stands in ``old``."""
    return [old.index(name) if name in old else None for name in new]


def _picked(found: Tensor, axis: int, places: Sequence[int | None], count: int, new: Tensor | None) -> Tensor:
    """Entries along ``axis`` put where ``places`` says; absent ones are those of ``new``, else the mean.

    A slice network with neighbours has the channels of each slice after one another, ``count`` at a time.
    """
    if axis >= found.dim() or found.shape[axis] % count:
        return found
    groups = [
        torch.stack(
            [
                old.select(axis, place)
                if place is not None
                else new.select(axis, index) if new is not None else old.mean(axis)
                for index, place in enumerate(places)
            ],
            axis,
        )
        for old in torch.split(found, count, axis)
    ]  # fmt: skip
    return torch.cat(groups, axis)

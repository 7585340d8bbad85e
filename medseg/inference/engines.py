"""From a model file to the engines that run its networks."""

import hashlib
import json
import logging
import math
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from medseg.errors import Code, ModelFileError, UsageError
from medseg.inference.choice import EngineChoice
from medseg.inference.engine import Engine, TorchEngine
from medseg.inference.head import Head, LateHead
from medseg.inference.openvino_engine import OpenVINOEngine
from medseg.inference.quantise import Ranges
from medseg.inference.windows import Size
from medseg.modelfile import ModelFile, load_network, member_weights
from medseg.models import last_head, without_head
from medseg.modelweights import checksum

logger = logging.getLogger(__name__)


def build_engines(
    model: ModelFile, choice: EngineChoice, window: Size, again: Callable[[], ModelFile] | None = None
) -> list[Engine]:
    """One for each network of ``model``, ready for windows of that size.

    Where a network tells more classes than it has feature maps before its last layer, that layer waits
    (:class:`medseg.inference.head.LateHead`). An engine that compiles keeps ``again``, which gives the model
    anew, instead of the model. Where ``choice`` leaves it open, PyTorch runs what OpenVINO cannot, and a
    warning says so.

    Raises:
        ModelFileError: the engine that was asked for cannot run the network.
        UsageError: int8 of a model that was not exported to it.
    """
    if choice.engine == "openvino":
        try:
            return [
                _openvino(model, member, choice, window, again or (lambda: model))
                for member in range(model.members)
            ]
        except ModelFileError as error:
            if choice.asked or error.code != Code.MODEL_UNSUPPORTED:
                raise
            logger.warning(
                "%s; PyTorch runs it instead", error.problems[0].removesuffix("; use --engine torch")
            )
    return [_torch(model, member, choice) for member in range(model.members)]


def _torch(model: ModelFile, member: int, choice: EngineChoice) -> Engine:
    network, late = load_network(model, member), _late_head(model, choice)
    if late is not None:
        network = without_head(network, late[0])
    compiled = choice.engine == "torch-compile"
    engine = TorchEngine(network, str(choice.device), choice.precision, compiled=compiled)
    return engine if late is None else LateHead(engine, late[1])


def _late_head(model: ModelFile, choice: EngineChoice) -> tuple[str, Head] | None:
    """The last layer and its name, where it should wait.

    In int8 it has its own range, and the scores of several networks cannot be averaged before it.
    """
    name = last_head(model.experiment.model, model.weights)
    if name is None or model.members > 1 or choice.precision == "int8":
        return None
    weight, bias = model.weights.get(f"{name}.weight"), model.weights.get(f"{name}.bias")
    if weight is None or bias is None or weight.shape[0] <= weight.shape[1]:
        return None
    return name, Head(weight.flatten(1).float().clone(), bias.float().clone())


def ranges_of(model: ModelFile) -> list[Ranges]:
    """What ``medseg export --precision int8`` stored, for each network.

    Raises:
        UsageError: nothing was stored.
        ModelFileError: what is stored is not what medseg stores.
    """
    if not model.quantisation:
        raise UsageError(
            Code.OPTION,
            f"--precision int8: model {model.experiment.name} is not calibrated for it; write one that is "
            "with medseg export MODEL --precision int8 --calibrate CONFIG",
        )
    stored = model.quantisation.get("ranges")
    if not isinstance(stored, list) or len(stored) != model.members:
        raise _not_ranges(model)
    return [_parsed(model, each) for each in stored]


def _parsed(model: ModelFile, stored: Any) -> Ranges:
    if not isinstance(stored, Mapping):
        raise _not_ranges(model)
    ranges: Ranges = {}
    for name, pair in stored.items():
        if not (isinstance(pair, list) and len(pair) == 2 and all(_finite(x) for x in pair)):
            raise _not_ranges(model)
        ranges[str(name)] = (float(pair[0]), float(pair[1]))
    return ranges


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _not_ranges(model: ModelFile) -> ModelFileError:
    return ModelFileError(
        Code.MODEL_MISFIT,
        f"model {model.experiment.name}: its int8 ranges are not of its networks: export it to int8 again",
    )


def _openvino(
    model: ModelFile, member: int, choice: EngineChoice, window: Size, again: Callable[[], ModelFile]
) -> Engine:
    experiment, late = model.experiment, _late_head(model, choice)
    ranges = ranges_of(model)[member] if choice.precision == "int8" else None
    built_from = {
        "model": experiment.model.model_dump(mode="json"),
        "patch": experiment.sampling.patch_size,
        "in": experiment.channel_count,
        "out": experiment.class_count if late is None else late[0],
    }
    key = hashlib.sha256(
        f"{json.dumps(built_from, sort_keys=True)} {checksum({}, member_weights(model, member))}".encode()
    ).hexdigest()

    def build() -> nn.Module:
        network = load_network(again(), member)
        return network if late is None else without_head(network, late[0])

    engine = OpenVINOEngine(
        build,
        choice.precision,
        ranges=ranges,
        key=key,
        frugal=model.members > 1,
    )
    engine.prepare((experiment.channel_count, *window))
    return engine if late is None else LateHead(engine, late[1])

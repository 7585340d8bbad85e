"""From a network to an OpenVINO graph.

Source: https://docs.openvino.ai (PyTorch front end).
"""

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import torch
from torch import nn

from medseg.errors import Code, EnvironmentProblem, ModelFileError
from medseg.inference.windows import Size
from medseg.models.unet import UNet
from medseg.models.vnet import VNet

CHANNELS_LAST = (0, 2, 3, 4, 1)
"""The order of axes in which logits leave a graph: as the last convolution makes them, so nothing moves."""


def openvino_installed() -> bool:
    return "openvino" in sys.modules or find_spec("openvino") is not None


def load_openvino() -> ModuleType:
    """The library, without its telemetry package: that would write files and look for a network.

    Raises:
        EnvironmentProblem: it is not installed.
    """
    if "openvino" not in sys.modules:
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # its own stub is used
    try:
        import openvino  # noqa: PLC0415 - takes a second, and not every engine needs it
    except ImportError:
        raise EnvironmentProblem(
            Code.DEVICE, "engine openvino: the package is missing; install openvino, or use --engine torch"
        ) from None
    module: ModuleType = openvino
    return module


@cache
def openvino_core() -> Any:
    """The one ``openvino.Core`` of this process.

    Each core's CPU plugin gives the thread a signal stack, and when it goes puts the one before back: cores
    that do not go in the reverse order leave one that is unmapped, and the next signal kills the process.

    Raises:
        EnvironmentProblem: OpenVINO is not installed.
    """
    return load_openvino().Core()


def convert_network(network: nn.Module, channels: int, window: Size, *, channels_last: bool = True) -> Any:
    """An ``openvino.Model`` that takes (1, ``channels``, *``window``) and gives (1, *``window``, classes).

    Args:
        network: in evaluation mode, on the CPU; (B, channels, I, J, K) to logits (B, classes, I, J, K).
        channels_last: False gives (1, classes, *``window``).

    Raises:
        ModelFileError: OpenVINO has no equal of what the network does.
    """
    openvino = load_openvino()
    problem = "no size of window suits it"
    for size in _trace_sizes(network, window):
        shape = [1, channels, *size]
        try:
            with _logging_kept():
                model = openvino.convert_model(_traced(network, shape), input=[shape])
            model.reshape([1, channels, *window])
            given = list(model.outputs[0].get_shape())
        except failures() as error:  # a window too small to pool comes here, too
            problem = _short(error)
            continue
        if given[2:] == list(window):
            return _channels_last(model) if channels_last else model
    raise ModelFileError(
        Code.MODEL_UNSUPPORTED,
        f"network {type(network).__name__}: OpenVINO cannot run it ({problem}); use --engine torch",
    )


def _trace_sizes(network: nn.Module, window: Size) -> Iterator[Size]:
    """What the network is run on once, to see what it does: smaller is quicker, and takes less memory."""
    if isinstance(network, UNet | VNet):  # nothing in their graphs depends on the size
        for part in (64, 32, 16, 8, 4, 2):
            if all(n % part == 0 for n in window):
                yield window[0] // part, window[1] // part, window[2] // part
    yield window


def failures() -> tuple[type[Exception], ...]:
    """What tracing and converting raise; OpenVINO's own have no common base."""
    frontend = load_openvino().frontend
    own = (
        frontend.GeneralFailure,
        frontend.InitializationFailure,
        frontend.NotImplementedFailure,
        frontend.OpConversionFailure,
        frontend.OpValidationFailure,
    )
    return (RuntimeError, ValueError, TypeError, *own)


@contextmanager
def _logging_kept() -> Iterator[None]:
    """OpenVINO's converter takes the program's logging for its own, and silences warnings."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    try:
        yield
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers


def _traced(network: nn.Module, shape: list[int]) -> torch.jit.ScriptModule:
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # the tracer's, about shapes that are fixed here on purpose
        traced: torch.jit.ScriptModule = torch.jit.trace(network, torch.zeros(shape), check_trace=False)  # type: ignore[no-untyped-call]
    return traced


def _channels_last(model: Any) -> Any:
    openvino = load_openvino()
    logits = model.get_results()[0].input(0).get_source_output()
    turned = openvino.opset13.transpose(logits, list(CHANNELS_LAST))
    return openvino.Model([openvino.opset13.result(turned)], model.get_parameters(), "network")


def _short(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:160]

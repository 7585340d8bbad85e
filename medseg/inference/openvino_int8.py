"""Eight-bit integers in an OpenVINO graph: where convolutions read, and in their weights.

A ``FakeQuantize`` rounds what flows to 256 levels; where it stands before a convolution whose weights have
one too, the CPU plugin computes the convolution in integers. Sources: Jacob 2018 (arXiv:1712.05877), and
OpenVINO's low-precision transformations.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from medseg.errors import Code, ModelFileError
from medseg.inference.openvino_graph import load_openvino
from medseg.inference.quantise import CONVOLUTIONS, Ranges

_CONVOLUTIONS = ("Convolution", "ConvolutionBackpropData")
_WEIGHT_LEVELS = 255
_HEADROOM = 2
"""Weights take half of the levels: without VNNI a processor adds two products in sixteen bits, which the
full range would overflow. The same on every processor, so that the mask is the one that was measured."""


@contextmanager
def rounded_inputs(network: nn.Module, ranges: Ranges) -> Iterator[None]:
    """Inside, ``network`` rounds what the convolutions in ``ranges`` read; so does what is traced from it.

    Raises:
        ModelFileError: it lacks a convolution of ``ranges``.
    """
    modules = dict(network.named_modules())
    missing = [name for name in ranges if not isinstance(modules.get(name), CONVOLUTIONS)]
    if missing:
        raise ModelFileError(
            Code.MODEL_MISFIT,
            f"int8 ranges: {missing[0]!r:.80} is no convolution of the network: export the model again",
        )
    hooks = [modules[name].register_forward_pre_hook(_rounding(*pair)) for name, pair in ranges.items()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _rounding(low: float, high: float) -> Callable[[nn.Module, tuple[Tensor, ...]], tuple[Tensor, ...]]:
    low, high, levels = levels_of(low, high)
    step = (high - low) / (levels - 1)

    def rounded(_module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        zero = round(-low / step)
        return (torch.fake_quantize_per_tensor_affine(inputs[0], step, zero, 0, levels - 1), *inputs[1:])

    return rounded


def complete_quantisation(model: Any) -> None:
    """Round the weights, too, of the convolutions whose inputs are rounded; in place."""
    convolutions = [
        node
        for node in model.get_ordered_ops()
        if _is_convolution(node) and node.input_value(0).get_node().get_type_name() == "FakeQuantize"
    ]
    for (low, high), outputs in _shared_ranges(convolutions):
        for output in outputs:
            _round_activations(output, low, high)
    for node in convolutions:
        _round_weights(node)
    model.validate_nodes_and_infer_types()


def _shared_ranges(convolutions: list[Any]) -> list[tuple[tuple[float, float], list[Any]]]:
    """Arrays and the range in which each is rounded; the convolutions then read them as they were.

    What is concatenated must have one scale, or the convolution behind it could not compute in integers. So
    all that meets in a concatenation, and all who read it, share a range that holds theirs.
    """
    groups: list[tuple[tuple[float, float], dict[tuple[str, int], Any]]] = []
    for node in convolutions:
        rounded = node.input_value(0).get_node()
        low, high = (float(rounded.input_value(index).get_node().data.min()) for index in (1, 2))
        node.input(0).replace_source_output(rounded.input_value(0))
        members = {_key(leaf): leaf for leaf in _leaves(rounded.input_value(0))}
        apart = []
        for group in groups:
            (a, b), others = group
            if members.keys() & others.keys():
                low, high, members = min(low, a), max(high, b), others | members
            else:
                apart.append(group)
        groups = [*apart, ((low, high), members)]
    return [(shared, list(members.values())) for shared, members in groups]


def _leaves(output: Any) -> list[Any]:
    """The arrays that ``output`` is concatenated from; itself, if from none."""
    node = output.get_node()
    if node.get_type_name() != "Concat":
        return [output]
    return [leaf for value in node.input_values() for leaf in _leaves(value)]


def _round_activations(output: Any, low: float, high: float) -> None:
    openvino = load_openvino()
    low, high, levels = levels_of(low, high)
    readers = [
        reader
        for reader in output.get_target_inputs()
        if reader.get_node().get_type_name() == "Concat"
        or (_is_convolution(reader.get_node()) and reader.get_index() == 0)
    ]
    bounds = [np.float32(low), np.float32(high)] * 2
    rounded = openvino.opset13.fake_quantize(output, *bounds, levels)
    for reader in readers:
        reader.replace_source_output(rounded.output(0))


def levels_of(low: float, high: float) -> tuple[float, float, int]:
    """The range, widened so that 0 is one of its 256 levels: convolutions pad with it."""
    low, high = min(low, 0.0), max(high, 0.0)
    if high == low:
        return 0.0, 1.0, 256
    zero = min(max(round(-low / (high - low) * 255), 0), 255)
    if low < 0:
        zero = max(zero, 1)
    if high > 0:
        zero = min(zero, 254)
    step = max(high / (255 - zero) if zero < 255 else 0.0, -low / zero if zero else 0.0)
    return -zero * step, (255 - zero) * step, 256


def _round_weights(node: Any) -> None:
    """A scale for each output channel."""
    openvino = load_openvino()
    source = node.input_value(1)
    weights = source.get_node().data
    channel = 1 if node.get_type_name() == "ConvolutionBackpropData" else 0
    others = tuple(axis for axis in range(weights.ndim) if axis != channel)
    largest = np.abs(weights).max(axis=others, keepdims=True).astype(np.float32)
    bound = _HEADROOM * np.where(largest > 0, largest, np.float32(1))
    rounded = openvino.opset13.fake_quantize(source, -bound, bound, -bound, bound, _WEIGHT_LEVELS)
    node.input(1).replace_source_output(rounded.output(0))


def _is_convolution(node: Any) -> bool:
    """With weights that are known: others cannot be rounded beforehand."""
    return (
        node.get_type_name() in _CONVOLUTIONS and node.input_value(1).get_node().get_type_name() == "Constant"
    )


def _key(output: Any) -> tuple[str, int]:
    return output.get_node().get_friendly_name(), output.get_index()

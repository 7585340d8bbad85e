"""Skip connections of a U-Net without the array that holds both sides.

A convolution of two arrays side by side is the sum of one convolution of each, and OpenVINO adds the second
onto the first in place: the array of both sides, the largest of a U-Net, is never there.
"""

from typing import Any

import numpy as np

from medseg.inference.openvino_graph import load_openvino


def sum_skips(model: Any) -> int:
    """Change the ``openvino.Model`` in place; returns how many concatenations went."""
    joins = [
        (node, _only_reader(node)) for node in model.get_ordered_ops() if node.get_type_name() == "Concat"
    ]
    found = [(join, reader) for join, reader in joins if reader is not None and _splits(join, reader)]
    for join, convolution in found:
        total = _summed(join, convolution)
        for reader in list(convolution.output(0).get_target_inputs()):
            reader.replace_source_output(total)
    if found:
        model.validate_nodes_and_infer_types()
    return len(found)


def _only_reader(node: Any) -> Any:
    readers = [reader.get_node() for reader in node.output(0).get_target_inputs()]
    return readers[0] if len(readers) == 1 else None


def _splits(join: Any, reader: Any) -> bool:
    return bool(
        reader.get_type_name() == "Convolution"
        and join.get_attributes()["axis"] == 1
        and reader.input(1).get_source_output().get_node().get_type_name() == "Constant"
    )


def _summed(join: Any, convolution: Any) -> Any:
    """The sum of a convolution of each array that ``join`` puts side by side."""
    operations = load_openvino().opset13
    weights = convolution.input(1).get_source_output().get_node().data
    told = convolution.get_attributes()
    total: Any = None
    first = 0
    for source in (side.get_source_output() for side in join.inputs()):
        channels = source.get_shape()[1]
        part = operations.convolution(
            source,
            operations.constant(np.ascontiguousarray(weights[:, first : first + channels])),
            told["strides"],
            told["pads_begin"],
            told["pads_end"],
            told["dilations"],
            told["auto_pad"],
        )
        total = part if total is None else operations.add(total, part)
        first += channels
    return total.output(0)

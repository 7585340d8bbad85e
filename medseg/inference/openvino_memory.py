"""How much memory a network that OpenVINO compiled takes while it runs.

The CPU plugin lays all intermediate arrays into one block, reusing what is no longer needed. Its size is the
most that is alive at once, which the compiled graph tells: every array's shape, type, and who reads it when.
"""

import math
from typing import Any

_WEIGHTS = ("Const", "Input")


def block_bytes(compiled: Any) -> int:
    """Of all intermediate arrays of an ``openvino.CompiledModel``, beyond weights, input and output."""
    nodes = compiled.get_runtime_model().get_ordered_ops()
    order = {node.get_friendly_name(): int(_told(node, "execOrder") or 0) for node in nodes}
    spans = []
    for node in nodes:
        if _told(node, "layerType") in _WEIGHTS or _gives_result(node):
            continue
        begin = order[node.get_friendly_name()]
        for output in node.outputs():
            readers = [order[reader.get_node().get_friendly_name()] for reader in output.get_target_inputs()]
            size = math.prod(output.get_shape()) * output.get_element_type().size
            spans.append((begin, max(readers, default=begin), size))
    steps = {begin for begin, _, _ in spans}
    return max((sum(size for a, b, size in spans if a <= step <= b) for step in steps), default=0)


def _gives_result(node: Any) -> bool:
    """Whether ``node`` writes into the array that the caller gave.

    A last step that reorders nothing (channels lie last already) hands on what the step before it wrote.
    """
    readers = [reader.get_node() for output in node.outputs() for reader in output.get_target_inputs()]
    if len(readers) != 1:
        return False
    if readers[0].get_type_name() == "Result":
        return True
    channels_last = _told(node, "outputLayouts") in ("acdeb", "acdb")
    return channels_last and _told(readers[0], "layerType") == "Reorder" and _gives_result(readers[0])


def _told(node: Any, key: str) -> str | None:
    info = node.get_rt_info()
    return str(info[key].astype(str)) if key in info else None

"""OpenVINO on the CPU: the network compiled for the processor at hand."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from medseg.allocator import return_freed_memory
from medseg.errors import Code, ModelFileError
from medseg.inference.openvino_cache import read_compiled, write_compiled
from medseg.inference.openvino_graph import convert_network, load_openvino, openvino_core
from medseg.inference.openvino_int8 import complete_quantisation, rounded_inputs
from medseg.inference.openvino_memory import block_bytes
from medseg.inference.openvino_skip import sum_skips
from medseg.inference.quantise import Ranges

_FORMAT = 3
"""Raised when the same network is compiled in another way."""

_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16", "int8": "f32"}
_OUT_OF_MEMORY = ("bad_alloc", "bad alloc", "out of memory", "could not allocate", "out_of_memory")


class OpenVINOEngine:
    """Logits of windows, computed by OpenVINO's CPU plugin.

    The network is compiled for one window, when a window of that shape first comes; several are computed one
    after the other, so that a window's logits do not depend on what comes with it. They are the same bits
    with the same number of threads.

    Args:
        build: gives the network, in evaluation mode, on the CPU; called to compile it, and not kept.
        precision: ``bf16`` and ``fp16`` where the processor computes in them; ``int8`` needs ``ranges``.
        ranges: of the inputs of convolutions that compute in int8.
        key: names network and weights; unset, the compiled network is not kept on disk.
        frugal: give the memory of intermediate arrays back after each call, where several engines take turns.

    Calling it raises:
        ModelFileError: OpenVINO cannot run the network.
        MemoryError: too little of it.
    """

    device = torch.device("cpu")

    def __init__(
        self,
        build: Callable[[], nn.Module],
        precision: str = "fp32",
        *,
        ranges: Ranges | None = None,
        key: str | None = None,
        frugal: bool = False,
    ) -> None:
        self._build = build
        self._ranges = ranges if precision == "int8" else None
        self._key = key
        self._frugal = frugal
        self._core = openvino_core()
        self._settings = {
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "ENABLE_CPU_PINNING": False,  # other processes may be on the same cores
        }
        self._shape: tuple[int, ...] = ()
        self._compiled: Any = None
        self._request: Any = None
        self._turn = threading.Lock()

    def prepare(self, shape: tuple[int, int, int, int]) -> None:
        """Compile for windows of ``shape`` (C, I, J, K), unless that is done."""
        if shape == self._shape:
            return
        self._request = self._compiled = None
        self._shape = ()
        with _memory_named():
            self._compiled = self._kept(shape) or self._compile(shape)
            return_freed_memory()  # of reading or compiling, some hundred megabytes
            self._request = self._compiled.create_infer_request()
        self._shape = shape

    def __call__(self, windows: Float[Tensor, "B C I J K"]) -> Float[Tensor, "B L I J K"]:
        channels, *size = windows.shape[1:]
        with self._turn, _memory_named():
            self.prepare((channels, size[0], size[1], size[2]))
            classes = int(self._compiled.outputs[0].get_shape()[-1])
            logits = torch.empty((len(windows), *size, classes))
            for index in range(len(windows)):
                self._infer(
                    windows[index : index + 1].detach().float().contiguous(), logits[index : index + 1]
                )
            if self._frugal:
                self._compiled.release_memory()
        return logits.permute(0, 4, 1, 2, 3)

    def working_bytes(self, shape: tuple[int, int, int, int, int]) -> int:
        """Intermediate arrays of one window, which stay, and all windows and logits."""
        batch, channels, *size = shape
        with self._turn:
            self.prepare((channels, size[0], size[1], size[2]))
            classes = int(self._compiled.outputs[0].get_shape()[-1])
            voxels = batch * size[0] * size[1] * size[2]
            return block_bytes(self._compiled) + 4 * voxels * (channels + classes)

    def _infer(self, window: Tensor, result: Tensor) -> None:
        """Read from and written to PyTorch's own memory."""
        tensor = load_openvino().Tensor
        self._request.set_input_tensor(tensor(window.numpy(), shared_memory=True))
        self._request.set_output_tensor(tensor(result.numpy(), shared_memory=True))
        self._request.infer(share_inputs=True, share_outputs=True)

    def _compile(self, shape: tuple[int, int, int, int]) -> Any:
        network = self._build()
        with rounded_inputs(network, self._ranges or {}):
            model = convert_network(network, shape[0], (shape[1], shape[2], shape[3]))
        if self._ranges is None:
            sum_skips(model)
        else:
            complete_quantisation(model)
        try:
            compiled = self._core.compile_model(model, "CPU", self._settings)
        except RuntimeError as error:
            _raise_if_memory(error)
            raise ModelFileError(
                Code.MODEL_UNSUPPORTED,
                f"network {type(network).__name__}: OpenVINO cannot compile it; use --engine torch",
            ) from error
        if self._key is not None:
            write_compiled(self._name(shape), compiled.export_model().read())
        return compiled

    def _kept(self, shape: tuple[int, int, int, int]) -> Any:
        """The compiled network of an earlier run; None where there is none that OpenVINO takes."""
        blob = None if self._key is None else read_compiled(self._name(shape))
        if blob is None:
            return None
        try:
            return self._core.import_model(blob, "CPU", self._settings)
        except RuntimeError as error:
            _raise_if_memory(error)
            return None

    def _name(self, shape: tuple[int, int, int, int]) -> str:
        """A hash of all that the compiled network depends on."""
        told = {
            "format": _FORMAT,
            "network": self._key,
            "ranges": self._ranges,
            "shape": shape,
            "settings": self._settings,
            "versions": [version(name) for name in ("medseg", "openvino", "torch")],
            "processor": [
                str(self._core.get_property("CPU", name))
                for name in ("FULL_DEVICE_NAME", "OPTIMIZATION_CAPABILITIES")
            ],
        }
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


@contextmanager
def _memory_named() -> Iterator[None]:
    """An allocation that fails in OpenVINO is told as any other."""
    try:
        yield
    except RuntimeError as error:
        _raise_if_memory(error)
        raise


def _raise_if_memory(error: RuntimeError) -> None:
    if any(words in str(error) for words in _OUT_OF_MEMORY):
        raise MemoryError("OpenVINO ran out of memory") from error

"""What runs a network on a batch of windows."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from medseg.inference.device import choose_device, choose_precision
from medseg.inference.footprint import forward_bytes

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@runtime_checkable
class Engine(Protocol):
    """Logits of a batch of windows, float32, on ``device``, in an array that the caller may change.

    ``working_bytes`` tells how much memory of the device a batch of that shape (B, C, I, J, K) takes.
    """

    device: torch.device

    def __call__(self, windows: Float[Tensor, "B C I J K"]) -> Float[Tensor, "B L I J K"]: ...

    def working_bytes(self, shape: tuple[int, int, int, int, int]) -> int: ...


def softmax_(logits: Float[Tensor, "B L I J K"]) -> Float[Tensor, "B L I J K"]:
    """In place over the classes: with a hundred of them, each copy of a window is a gigabyte."""
    logits.sub_(logits.amax(1, keepdim=True)).exp_()
    return logits.div_(logits.sum(1, keepdim=True))


class TorchEngine:
    """PyTorch on CPU, CUDA or MPS: channels-last, autocast, no gradients.

    ``compiled``: by ``torch.compile``, which takes minutes at first and needs a compiler on the machine.
    """

    def __init__(
        self, network: nn.Module, device: str = "auto", precision: str = "auto", *, compiled: bool = False
    ) -> None:
        self.device = choose_device(device)
        self._dtype = _DTYPES.get(choose_precision(precision, self.device))
        self._network = network.to(self.device).eval()
        self._run: Callable[[Tensor], Tensor] = torch.compile(self._network) if compiled else self._network

    @torch.inference_mode()
    def __call__(self, windows: Float[Tensor, "B C I J K"]) -> Float[Tensor, "B L I J K"]:
        batch = windows.to(self.device).contiguous(memory_format=torch.channels_last_3d)
        with torch.autocast(
            self.device.type, dtype=self._dtype or torch.bfloat16, enabled=self._dtype is not None
        ):
            logits = self._run(batch)
        return logits.float()

    def working_bytes(self, shape: tuple[int, int, int, int, int]) -> int:
        return forward_bytes(self._network, shape, self._dtype or torch.float32)

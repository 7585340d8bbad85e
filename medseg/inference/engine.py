"""What runs a network on a batch of windows."""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from medseg.inference.device import choose_device, choose_precision

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@runtime_checkable
class Engine(Protocol):
    """Logits of a batch of windows, float32, on ``device``."""

    device: torch.device

    def __call__(self, windows: Float[Tensor, "B C I J K"]) -> Float[Tensor, "B L I J K"]: ...


class TorchEngine:
    """PyTorch on CPU, CUDA or MPS: channels-last, autocast, no gradients."""

    def __init__(self, network: nn.Module, device: str = "auto", precision: str = "auto") -> None:
        self.device = choose_device(device)
        self._dtype = _DTYPES.get(choose_precision(precision, self.device))
        self._network = network.to(self.device).eval()

    @torch.inference_mode()
    def __call__(self, windows: Float[Tensor, "B C I J K"]) -> Float[Tensor, "B L I J K"]:
        batch = windows.to(self.device).contiguous(memory_format=torch.channels_last_3d)
        with torch.autocast(
            self.device.type, dtype=self._dtype or torch.bfloat16, enabled=self._dtype is not None
        ):
            logits = self._network(batch)
        return logits.float()  # type: ignore[no-any-return]

"""How much memory a network takes for a batch, found without computing: shapes alone go through it."""

import weakref
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

_COPIED = ("convolution",)
"""Operations whose library (oneDNN) lays its result out anew: for a moment there are two of it."""


def forward_bytes(network: nn.Module, shape: tuple[int, ...], dtype: torch.dtype) -> int:
    """The most that is alive at once while ``network`` takes a batch of ``shape``, beyond its weights.

    Counts the batch in float32 and the logits in float32, as engines take and give them.
    """
    state = network.state_dict()
    shapes = {name: torch.empty_like(value, device="meta", dtype=dtype) for name, value in state.items()}
    cast: int = sum(value.numel() * dtype.itemsize for value in state.values() if value.dtype != dtype)
    with torch.no_grad(), _Live() as live:
        batch = torch.empty(shape, device="meta").contiguous(memory_format=torch.channels_last_3d)
        logits = torch.func.functional_call(network, shapes, (batch.to(dtype),))
        logits.float()
        peak: int = live.peak
    return peak + cast


class _Live(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch types it partly
    """Adds up the tensors that are alive, and remembers the most."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak: int = 0
        self._alive: dict[int, int] = {}

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = operation(*args, **(kwargs or {}))
        made = 0
        for tensor in tree_iter(result):
            if isinstance(tensor, torch.Tensor):
                made += self._count(tensor.untyped_storage())
        copies = made if any(name in str(operation) for name in _COPIED) else 0
        self.peak = max(self.peak, sum(self._alive.values()) + copies)
        return result

    def _count(self, storage: torch.UntypedStorage) -> int:
        key = storage._cdata
        if key in self._alive:
            return 0
        self._alive[key] = storage.nbytes()
        weakref.finalize(storage, self._alive.pop, key, None)
        return storage.nbytes()

"""The ranges of what convolutions read, from which eight-bit integers are made after training."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

Ranges = dict[str, tuple[float, float]]
"""Path of a convolution's module to the smallest and largest input that eight bits tell apart."""

CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_SAMPLE = 1 << 15
"""Values of a window that are looked at, evenly spaced."""

_SHARES = tuple(share / 20 for share in range(20, 3, -1))


def calibrate(network: nn.Module, windows: Iterable[Float[Tensor, "B C I J K"]]) -> Ranges:
    """Ranges that round what each convolution reads with the least squared error.

    Rare outliers are clipped where that makes the levels of all others finer. The first and the last
    convolution stay as they are: they take little time, and rounding costs most there. The network is left as
    it was.

    Args:
        network: in evaluation mode, on the CPU.
        windows: as the network sees them when it is used; a few tens, of several cases.
    """
    seen: dict[str, list[Tensor]] = {}
    hooks = [
        module.register_forward_pre_hook(_watching(name, seen))
        for name, module in network.named_modules()
        if isinstance(module, CONVOLUTIONS)
    ]
    try:
        with torch.inference_mode():
            for window in windows:
                network(window)
    finally:
        for hook in hooks:
            hook.remove()
    inner = list(seen)[1:-1]
    return {name: _range_of(torch.cat(seen[name])) for name in inner}


def _watching(name: str, seen: dict[str, list[Tensor]]) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    def watch(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        flat = inputs[0].detach().flatten()
        ends = torch.stack((flat.min(), flat.max()))
        values = torch.cat((flat[:: max(1, flat.numel() // _SAMPLE)], ends))
        seen.setdefault(name, []).append(values)  # in the order in which they are called

    return watch


def _range_of(values: Tensor) -> tuple[float, float]:
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    errors = {share: _squared_error(values, share * low, share * high) for share in _SHARES}
    best = min(errors, key=lambda share: errors[share])
    return best * low, best * high


def _squared_error(values: Tensor, low: float, high: float) -> float:
    step = (high - low) / 255 or 1.0
    rounded = (values.clamp(low, high) / step).round() * step
    return float((rounded - values).square().mean())


def cost_line(quantisation: dict[str, Any]) -> str | None:
    """What int8 costs, on a line; None where it was not measured."""
    measured = quantisation.get("measured")
    try:
        dice, cases = measured["dice"], int(measured["cases"])  # type: ignore[index]
        fp32, int8 = float(dice["fp32"]["mean"]), float(dice["int8"]["mean"])
    except (KeyError, TypeError, ValueError):
        return None
    return f"int8: mean Dice {int8:.4f}, fp32 {fp32:.4f} ({int8 - fp32:+.4f}), on {cases} validation case(s)"

"""A limit to the memory that is taken on a graphics card."""

import torch

from medseg.errors import Code, EnvironmentProblem, UsageError
from medseg.inference.engine import Engine
from medseg.inference.windows import WindowPlan
from medseg.inference.workspace import gib


def limit_vram(device: torch.device, max_vram: int | None) -> None:
    """Let PyTorch take at most ``max_vram`` bytes of ``device`` (None: all there is).

    What goes beyond fails as it does on a smaller card: fewer windows go through at once, then the sums move
    to the computer's memory.

    Raises:
        UsageError: the device is no CUDA card.
    """
    if max_vram is None:
        return
    if device.type != "cuda":
        raise UsageError(
            Code.OPTION,
            f"--max-vram: the network runs on {device.type} here; use --max-ram, or --device cuda",
        )
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, max_vram / total), device)


def require_vram(engine: Engine, plan: WindowPlan, channels: int, held: int, max_vram: int | None) -> None:
    """See to it before the work that a single window fits beside ``held`` bytes (the weights).

    Raises:
        EnvironmentProblem: it does not.
    """
    if max_vram is None:
        return
    need = held + engine.working_bytes((1, channels, *plan.size))
    if need > max_vram:
        size = "x".join(str(n) for n in plan.size)
        raise EnvironmentProblem(
            Code.MEMORY,
            f"device {engine.device}: one window of {size} voxels needs {gib(need)}, {gib(max_vram)} are "
            f"allowed: raise --max-vram to {gib(need, up=True)} or more, or use a model with smaller windows",
        )

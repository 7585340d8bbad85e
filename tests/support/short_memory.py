"""Scans of known classes, and an engine whose device is short of memory."""

import numpy as np
import torch
from torch import Tensor

from medseg.inference import Engine
from medseg.volume import Geometry, Volume
from support.oracle import CODE_STEP


class OutOfMemoryEngine:
    """``engine`` on a device that holds at most ``most`` windows, and whose first ``failures`` calls fail."""

    def __init__(self, engine: Engine, most: int, failures: int) -> None:
        self.device = engine.device
        self.refused = 0
        self._engine, self._most, self._failures = engine, most, failures

    def __call__(self, windows: Tensor) -> Tensor:
        if len(windows) > self._most or self.refused < self._failures:
            self.refused += 1
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return self._engine(windows)

    def working_bytes(self, shape: tuple[int, int, int, int, int]) -> int:
        return self._engine.working_bytes(shape)


def coded_scan(shape: tuple[int, int, int], structures: int) -> Volume:
    """Blocks of intensity codes, as the oracle reads them, with some noise; 2 mm voxels, stored as LPS."""
    random = np.random.default_rng(5)
    blocks = random.integers(0, structures + 1, size=[-(-n // 7) for n in shape])
    codes = np.kron(blocks, np.ones((7, 7, 7), dtype=int))[tuple(slice(n) for n in shape)] * CODE_STEP
    noisy = (codes + random.normal(0, CODE_STEP / 4, size=shape)).round().astype(np.int16)
    return Volume(noisy, Geometry(shape, np.diag([-2.0, -2.0, 2.0, 1.0])))

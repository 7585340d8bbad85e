"""Where the large arrays of a scan lie: in memory, or in temporary files when memory is short.

Every way gives the same labels, bit for bit: only the place differs.
"""

import mmap
import os
import tempfile
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from medseg.errors import Code, EnvironmentProblem
from medseg.inference.sums import in_memory

GIB = 2**30


@dataclass(frozen=True)
class Way:
    """Which large arrays lie in temporary files instead of memory."""

    image_on_disk: bool = False
    sums_on_disk: bool = False


WAYS = (Way(), Way(image_on_disk=True), Way(image_on_disk=True, sums_on_disk=True))
"""From the quickest to the one that takes the least memory."""


def gib(size: int, *, up: bool = False) -> str:
    """Bytes as people read them; ``up`` never rounds below ``size``."""
    hundredths = -(-size * 100 // GIB) if up else round(size * 100 / GIB)
    return f"{hundredths / 100:.2f} GiB"


class Workspace:
    """Gives the large arrays of one scan, in memory or in temporary files, as ``way`` says.

    A file has no name: it is gone with the process, however that ends. Its folder is ``$TMPDIR``, else /tmp;
    one in memory (tmpfs) saves nothing.
    """

    def __init__(self, way: Way = WAYS[0]) -> None:
        self._way = way
        self._maps: list[mmap.mmap] = []

    def zeros(self, shape: tuple[int, ...], device: torch.device) -> Tensor:
        """An array of zeros for sums on ``device``."""
        if self._way.sums_on_disk and device.type == "cpu":
            return self._mapped(shape)
        return in_memory(shape, device)

    def image(self, image: Float32[Tensor, "C I J K"], axis: int) -> Float32[Tensor, "C I J K"]:
        """The scan, or a copy in a file in which the planes across ``axis`` each lie in one piece."""
        if not self._way.image_on_disk:
            return image
        planes = image.movedim(axis + 1, 0)
        copy = self._mapped(tuple(planes.shape))
        for to, plane in zip(copy, planes, strict=True):
            to.copy_(plane)
            self.release()
        return copy.movedim(0, axis + 1)

    def release(self) -> None:
        """Let go of the memory behind the files; what they hold is read again when it is needed."""
        for each in self._maps:
            each.madvise(mmap.MADV_DONTNEED)

    def _mapped(self, shape: tuple[int, ...]) -> Tensor:
        size = 4 * int(np.prod(shape))
        try:
            with tempfile.TemporaryFile(prefix="medseg-") as file:
                os.posix_fallocate(file.fileno(), 0, size)  # a full disk is told now, not by a signal later
                self._maps.append(mmap.mmap(file.fileno(), size))
        except OSError as error:
            raise EnvironmentProblem(
                Code.DISK_FULL,
                f"{tempfile.gettempdir()}: {gib(size)} of temporary files do not fit ({error.strerror}): "
                "free space there, set TMPDIR to another folder, or raise --max-ram",
            ) from None
        return torch.frombuffer(self._maps[-1], dtype=torch.float32).view(shape)

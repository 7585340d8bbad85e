"""Where the axes of nnU-Net's network lie in the patient.

nnU-Net hands its network the array as it is stored, last axis first (z, y, x), permuted by the plans'
``transpose_forward``; it never turns a scan. Our network sees axes i, j, k that run along left/right,
anterior/posterior and superior/inferior, in directions that ``preprocessing.orientation`` names. So of the
stored order the permutation goes into the weights (a convolution does not mind), and the directions into the
orientation: strided convolutions do mind a mirrored grid (docs/nnunet.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from medseg.config.model import Plane

_WORLD = {"R": 0, "L": 0, "A": 1, "P": 1, "S": 2, "I": 2}
_PLANES: tuple[Plane, ...] = ("sagittal", "coronal", "axial")
_AXES: tuple[Literal["i", "j", "k"], ...] = ("i", "j", "k")

Entry = TypeVar("Entry")


@dataclass(frozen=True)
class NetworkAxes:
    """``ours``: the axis (0 to 2: i, j, k) that each axis of the (transposed) array of nnU-Net is.

    ``dims``: how many of them, the last ones, its network has; a 2D network sees slices across the first.
    """

    ours: tuple[int, int, int]
    dims: int
    orientation: str

    @property
    def space(self) -> tuple[int, ...]:
        """The axes of the network, in its own order."""
        return self.ours[3 - self.dims :]

    @property
    def order(self) -> tuple[int, ...]:
        """The network's axes (0 to dims - 1) in the order of ours."""
        return tuple(sorted(range(self.dims), key=lambda axis: self.space[axis]))

    @property
    def plane(self) -> Plane:
        return _PLANES[self.ours[0]]

    @property
    def across(self) -> tuple[Literal["i", "j", "k"], ...]:
        """The axis across slices, of a 2D network."""
        return (_AXES[self.ours[0]],) if self.dims == 2 else ()

    def arranged(self, values: Sequence[Entry]) -> list[Entry]:
        """One value for each axis of the network, in the order of our axes."""
        return [values[axis] for axis in self.order]

    def triple(self, values: Sequence[Entry], across: Entry) -> tuple[Entry, Entry, Entry]:
        """The same along i, j, k, with ``across`` for the slices of a 2D network."""
        told = dict(zip(self.space, values, strict=True))
        return told.get(0, across), told.get(1, across), told.get(2, across)

    def names(self, axes: Sequence[int]) -> tuple[Literal["i", "j", "k"], ...]:
        """Axes of the network (0 to dims - 1) under our names."""
        return tuple(_AXES[axis] for axis in sorted(self.space[axis] for axis in axes))


def network_axes(stored: str, transpose_forward: Sequence[int], dims: int) -> NetworkAxes:
    """``stored``: where the stored axes i, j, k of the training scans ran to, as in ``"LPS"``."""
    first, second, third = (_WORLD[stored[2 - axis]] for axis in transpose_forward)
    return NetworkAxes((first, second, third), dims, "".join(sorted(stored, key=_WORLD.__getitem__)))


def is_orientation(text: str) -> bool:
    """Three letters, one of R L, one of A P, one of S I, in any order."""
    return len(text) == 3 and sorted(_WORLD.get(letter, 3) for letter in text) == [0, 1, 2]

"""The canvas: a voxel grid with the patient's coordinates on it, painted shape by shape.

Voxels are kept in small blocks. A shape is first measured at the block centres; only blocks that its surface
may cross are evaluated voxel by voxel, so that painting costs what the surface costs, not the volume.
"""

import numpy as np
from jaxtyping import Float64, Int64, Shaped

from medseg.data.phantom.fields import smooth_noise
from medseg.data.phantom.shapes import Field, Shape
from medseg.data.phantom.tissue import TISSUES
from medseg.volume import Affine, Geometry

BLOCK = (6, 6, 3)
BEND_CELL_MM, BEND_SD_MM, TEXTURE_CELL_MM = 48.0, 2.8, 3.0

Rows = Int64[np.ndarray, "_"]


class Blocks:
    """How a grid (I, J, K) is cut into blocks: arrays of shape (n blocks, 1, voxels of a block)."""

    def __init__(self, geometry: Geometry) -> None:
        self._shape = geometry.shape
        i, j, k = (max(2, -(-n // b)) for n, b in zip(geometry.shape, BLOCK, strict=True))
        self.counts = (i, j, k)
        i, j, k = (c * b for c, b in zip(self.counts, BLOCK, strict=True))
        self.padded = (i, j, k)
        inside = np.meshgrid(*(np.arange(b) - (b - 1) / 2 for b in BLOCK), indexing="ij")
        self.offsets = [offset.reshape(1, 1, -1).astype(np.float32) for offset in inside]

    def split(self, array: Shaped[np.ndarray, "I J K"]) -> Shaped[np.ndarray, "n 1 b"]:
        """Blocks of an array of the ``padded`` shape."""
        (i, j, k), (a, b, c) = self.counts, BLOCK
        return array.reshape(i, a, j, b, k, c).transpose(0, 2, 4, 1, 3, 5).reshape(i * j * k, 1, a * b * c)

    def join(self, blocks: Shaped[np.ndarray, "n 1 b"]) -> Shaped[np.ndarray, "I J K"]:
        """The array (I, J, K), without the padding."""
        (i, j, k), (a, b, c) = self.counts, BLOCK
        whole = blocks.reshape(i, j, k, a, b, c).transpose(0, 3, 1, 4, 2, 5).reshape(i * a, j * b, k * c)
        return whole[tuple(slice(n) for n in self._shape)]


class Canvas:
    """CT numbers and labels under construction.

    Every voxel knows its patient-space coordinates (mm), bent by a smooth random field so that no shape stays
    a textbook solid. The picture starts as air without labels; ``image`` and ``labels`` give it as (I, J, K).
    ``to_patient`` (4x4) maps voxel indices to the coordinates before bending.
    """

    def __init__(self, geometry: Geometry, to_patient: Affine, rng: np.random.Generator) -> None:
        self.geometry = geometry
        self.to_patient = to_patient @ geometry.affine
        step_mm: Float64[np.ndarray, 3] = np.linalg.norm(self.to_patient[:3, :3], axis=0)
        self._voxel_mm = np.float32((step_mm[0] + step_mm[1]) / 2)
        self._reach_mm = 1.35 * float(np.linalg.norm(step_mm * (np.array(BLOCK) - 1) / 2)) + 2
        self.blocks = Blocks(geometry)
        self._middle: list[Field] = []
        self._slopes: list[tuple[Field, Field, Field]] = []
        for axis in range(3):
            self._bend(axis, rng, step_mm)
        self._texture = self.blocks.split(smooth_noise(rng, self.blocks.padded, TEXTURE_CELL_MM / step_mm))
        self.mean_hu = {name: t.hu + t.varies * float(rng.standard_normal()) for name, t in TISSUES.items()}
        self._hu = np.full(self._texture.shape, TISSUES["air"].hu, dtype=np.float32)
        self._label = np.zeros(self._texture.shape, dtype=np.uint8)

    @property
    def image(self) -> Field:
        """CT numbers (HU), (I, J, K)."""
        return self.blocks.join(self._hu)

    @property
    def labels(self) -> Shaped[np.ndarray, "I J K"]:
        """Label values, (I, J, K) uint8."""
        return self.blocks.join(self._label)

    def _bend(self, axis: int, rng: np.random.Generator, step_mm: Float64[np.ndarray, "3"]) -> None:
        """Bent coordinates at the block centres, and how they grow along i, j and k (mm a voxel).

        Over the few millimetres of a block the bend is linear to within hundredths of a millimetre.
        """
        row, size = self.to_patient[axis], np.array(BLOCK)
        a, b, c, d = (float(v) for v in (*(row[:3] * size), row[3] + row[:3] @ (size - 1) / 2))
        cells = BEND_CELL_MM / (step_mm * size)
        middle = smooth_noise(rng, self.blocks.counts, cells, BEND_SD_MM, (a, b, c, d))
        slopes = np.gradient(middle.astype(np.float64), *BLOCK)
        i, j, k = (slope.astype(np.float32).reshape(-1, 1, 1) for slope in slopes)
        self._middle.append(middle.reshape(-1, 1, 1))
        self._slopes.append((i, j, k))

    def _coordinate(self, axis: int, rows: Rows) -> Field:
        """The bent coordinate of every voxel of some blocks."""
        at = np.repeat(self._middle[axis][rows], self.blocks.offsets[0].size, axis=2)
        for slope, offset in zip(self._slopes[axis], self.blocks.offsets, strict=True):
            at += slope[rows] * offset
        return at

    def _crossed(self, shape: Shape, deepest_mm: float) -> tuple[Rows, Rows]:
        """Blocks the surface may cross, and blocks that lie inside deeper than ``deepest_mm``."""
        reach = np.float32(self._reach_mm)
        near = np.ones(len(self._label), dtype=bool)
        for middle, low, high in zip(self._middle, shape.lower, shape.upper, strict=True):
            flat = middle[:, 0, 0]
            near &= (flat > low - reach) & (flat < high + reach)
        rows = np.flatnonzero(near)
        x, y, z = (middle[rows] for middle in self._middle)
        distance = shape.distance(x, y, z)[:, 0, 0]
        inside = distance < -(reach + np.float32(deepest_mm))
        return rows[(distance < reach) & ~inside], rows[inside]

    def paint(self, shape: Shape, *layers: tuple[float, str], label: int = 0) -> None:
        """Fill ``shape`` with tissues from outside in.

        Args:
            layers: (depth in mm where the tissue starts, its name), outermost first. A voxel takes
                of each the share of it that lies inside (partial volume).
            label: value for the voxels whose centre lies inside; 0 leaves the labels as they are.
        """
        rows, inside = self._crossed(shape, layers[-1][0])
        distance = shape.distance(*(self._coordinate(axis, rows) for axis in range(3)))
        hu, texture = self._hu[rows], self._texture[rows]
        for depth, name in layers:
            share = np.clip(np.float32(0.5) - (distance + np.float32(depth)) / self._voxel_mm, 0, 1)
            hu += share * (self._tissue(name, texture) - hu)
        self._hu[rows] = hu
        self._hu[inside] = self._tissue(layers[-1][1], self._texture[inside])
        if label:
            self._label[rows] = np.where(distance < 0, np.uint8(label), self._label[rows])
            self._label[inside] = label

    def _tissue(self, name: str, texture: Field) -> Field:
        return np.asarray(texture * np.float32(TISSUES[name].texture) + np.float32(self.mean_hu[name]))

"""What the MR scanner does: bias field, motion, ghosts, spikes.

Motion and ghosts mix planes of k-space along the phase-encoding axis only. The transform along the other axes
cancels, and the one along that axis, there and back, is a small matrix: same result as TorchIO's, many times
faster.
"""

import itertools

import numpy as np
import torch
import torchio as tio
from jaxtyping import Float32, Float64
from scipy.spatial.transform import Rotation
from torch import Tensor

from medseg.config.augmentation import (
    BiasFieldAugmentation,
    GhostingAugmentation,
    MotionAugmentation,
    SpikeAugmentation,
)
from medseg.transforms.along import planes_matrix, product_along
from medseg.transforms.base import IntensityChange
from medseg.transforms.randomness import uniform
from medseg.transforms.warp import Warp, sample_image, warp_coordinates


class BiasField(IntensityChange):
    """A smooth multiplicative field: exp of a polynomial with random coefficients (Van Leemput 1999).

    The field has mean one and multiplies what is above the channel's minimum, so that the background stays.
    """

    def __init__(self, config: BiasFieldAugmentation) -> None:
        super().__init__(config.p)
        self.config = config

    def change(self, image: tio.ScalarImage) -> Float32[Tensor, "C I J K"]:
        field = polynomial(self.draw(), tuple(image.spatial_shape)).exp_()
        field /= float(field.mean())
        data: Tensor = image.data
        low = data.amin(dim=(1, 2, 3), keepdim=True)
        return (data - low).mul_(field).add_(low)

    def draw(self) -> Float64[np.ndarray, "a a a"]:
        """Coefficients of the field's logarithm."""
        powers = self.config.order + 1
        coefficients = np.zeros((powers, powers, powers))
        for i, j, k in itertools.product(range(powers), repeat=3):
            if 0 < i + j + k < powers:
                coefficients[i, j, k] = uniform(-self.config.coefficients, self.config.coefficients)
        return coefficients


def polynomial(
    coefficients: Float64[np.ndarray, "a b c"], shape: tuple[int, ...]
) -> Float32[Tensor, "I J K"]:
    """Sum of ``coefficients[a, b, c] x^a y^b z^c`` over a grid on which x, y and z go from -1 to 1."""
    axes = [torch.linspace(-1, 1, n) if n > 1 else torch.zeros(1) for n in shape]
    i, j, k = (
        torch.stack([axis**power for power in range(m)], dim=1)
        for axis, m in zip(axes, coefficients.shape, strict=True)
    )
    weights = torch.from_numpy(coefficients.astype(np.float32))
    plane = torch.einsum("abc,Jb,Kc->aJK", weights, j, k)
    return (i @ plane.flatten(1)).reshape(*shape)


class Ghosting(IntensityChange):
    """Periodic movement: every n-th plane of k-space along one axis loses a share of its signal."""

    def __init__(self, config: GhostingAugmentation) -> None:
        super().__init__(config.p)
        self.config = config

    def change(self, image: tio.ScalarImage) -> Float32[Tensor, "C I J K"]:
        low, high = self.config.ghosts
        ghosts = int(torch.randint(low, high + 1, ()))
        lost = uniform(*self.config.intensity)
        axis = _phase_axis(image)
        data: Tensor = image.data
        return data.clone() if axis is None else ghosted(data, ghosts, axis, lost)


def ghosted(
    image: Float32[Tensor, "C I J K"], ghosts: int, axis: int, lost: float
) -> Float32[Tensor, "C I J K"]:
    """Every ``ghosts``-th plane of k-space but the central one, along ``axis``, times ``1 - lost``."""
    size = image.shape[axis + 1]
    planes = np.ones(size)
    planes[::ghosts] = 1 - lost
    planes[size // 2] = 1
    return product_along(image, planes_matrix(planes), axis)


class Motion(IntensityChange):
    """The patient moved between parts of the acquisition (Shaw 2019); the centre of k-space is unmoved."""

    def __init__(self, config: MotionAugmentation) -> None:
        super().__init__(config.p)
        self.config = config

    def change(self, image: tio.ScalarImage) -> Float32[Tensor, "C I J K"]:
        data: Tensor = image.data
        count = self.config.movements
        step = 1 / (count + 1)
        times = [step * (m + 1) + uniform(-0.3, 0.3) * step for m in range(count)]
        poses = [self._draw_pose(image) for _ in range(count)]
        axis = _phase_axis(image)
        if axis is None:
            return data.clone()
        shape = tuple(image.spatial_shape)
        moved = [sample_image(data, warp_coordinates(pose, shape, shape)) for pose in poses]
        still = sum(time <= 0.5 for time in times)
        moved.insert(still, data)
        size = shape[axis]
        ends = [0, *(int(size * time) for time in times), size]
        result: Tensor | None = None
        for part, first, last in zip(moved, ends[:-1], ends[1:], strict=True):
            planes = np.zeros(size)
            planes[first:last] = 1  # time runs from the lowest frequency up
            share = product_along(part, planes_matrix(planes), axis)
            result = share if result is None else result.add_(share)
        return data.clone() if result is None else result

    def _draw_pose(self, image: tio.ScalarImage) -> Warp:
        free = np.array([n > 1 for n in image.spatial_shape])
        turns = [uniform(-self.config.degrees, self.config.degrees) for _ in range(3)]
        shift = [uniform(-self.config.translation_mm, self.config.translation_mm) for _ in range(3)]
        if not free.all():
            turns = [turn * bool(not free[axis]) * bool(free.sum() == 2) for axis, turn in enumerate(turns)]
        spacing = np.array(image.spacing)
        rotation = Rotation.from_euler("xyz", turns, degrees=True).as_matrix()
        return Warp(rotation * spacing / spacing[:, None], np.array(shift) * free / spacing)


class Spike(IntensityChange):
    """Single points of k-space are too strong: stripes over the image."""

    def __init__(self, config: SpikeAugmentation) -> None:
        super().__init__(config.p)
        self.config = config

    def change(self, image: tio.ScalarImage) -> Float32[Tensor, "C I J K"]:
        data: Tensor = image.data
        deviation = data.flatten(1).std(dim=1, correction=0).reshape(-1, 1, 1, 1)
        changed = data.clone()
        for _ in range(self.config.spikes):
            amplitude, phase = uniform(*self.config.intensity), uniform(-np.pi, np.pi)
            i, j, k = (
                torch.arange(n, dtype=torch.float32) * (2 * np.pi * uniform(-0.5, 0.5))
                for n in image.spatial_shape
            )
            plane = (j[:, None] + k + phase).flatten()
            waves = torch.stack([i.cos(), -i.sin()], dim=1) @ torch.stack([plane.cos(), plane.sin()])
            changed += waves.reshape(tuple(image.spatial_shape)) * (amplitude * deviation)
        return changed


def _phase_axis(image: tio.ScalarImage) -> int | None:
    """A random axis of more than one voxel."""
    axes = [axis for axis, n in enumerate(image.spatial_shape) if n > 1]
    return axes[int(torch.randint(len(axes), ()))] if axes else None

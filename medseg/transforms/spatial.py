"""The spatial augmentation: drawn in millimetres, applied in one interpolation."""

import itertools
from collections.abc import Sequence

import numpy as np
import torch
import torchio as tio
from jaxtyping import Float64
from scipy.spatial.transform import Rotation

from medseg.config.augmentation import Elastic, SpatialAugmentation
from medseg.data.subject import IMAGE
from medseg.transforms.base import SubjectTransform
from medseg.transforms.patch import centre_crop, centred_affine
from medseg.transforms.randomness import chance, uniform
from medseg.transforms.warp import Size, Warp, sample_image, sample_label, warp_coordinates

Spacing = tuple[float, float, float]
Matrix = Float64[np.ndarray, "3 3"]

UNFOLDED = 0.4
"""A cubic B-spline does not fold when control points move less than 0.403 of their distance (Choi 2000)."""

LARGEST_MARGIN = 0.25
"""Share of the patch that may be cut as context on each side; what lies further out repeats the edge."""


class FusedSpatial(SubjectTransform):
    """Shift, rotation, shear, zoom and elastic deformation of patch and label, cut to ``patch_size``.

    The subject is a patch with context around it; when nothing is drawn its centre is cut out.
    """

    def __init__(self, config: SpatialAugmentation, patch_size: Size) -> None:
        super().__init__()
        self.config = config
        self.patch_size = patch_size

    def apply_transform(self, subject: tio.Subject) -> tio.Subject:
        first = subject[IMAGE]
        spacing = first.spacing
        warp = self.draw(spacing)
        if warp is None:
            return centre_crop(subject, self.patch_size)
        coordinates = warp_coordinates(warp, first.spatial_shape, self.patch_size)
        affine = centred_affine(self.patch_size, spacing)
        for image in self.get_images(subject):
            if isinstance(image, tio.LabelMap):
                image.set_data(sample_label(image.data[0], coordinates)[None])
            else:
                image.set_data(sample_image(image.data, coordinates))
            image.affine = affine
        return subject

    def draw(self, spacing_mm: Sequence[float]) -> Warp | None:
        """From torch's generator: what happens to a patch, or None when nothing does."""
        return draw_warp(self.config, self.patch_size, spacing_mm) if chance(self.config.p) else None


def draw_warp(config: SpatialAugmentation, patch_size: Size, spacing_mm: Sequence[float]) -> Warp:
    """One draw from torch's generator. The content turns, then shears and zooms inside, then shifts."""
    spacing = np.asarray(spacing_mm, dtype=np.float64)
    free = np.array([n > 1 for n in patch_size])
    angles = [uniform(-limit, limit) for limit in _angle_limits(config, free)]
    shears = [uniform(-config.shear, config.shear) for _ in range(3)]
    zooms = [uniform(1 - config.scale, 1 + config.scale) for _ in range(3)]
    if not config.anisotropic_scale:
        zooms = zooms[:1] * 3
    shift = np.array([uniform(-config.shift_mm, config.shift_mm) for _ in range(3)]) * free
    back = np.linalg.inv(_content_matrix(angles, shears, zooms, free))
    matrix = back * spacing / spacing[:, None]
    control = None if config.elastic is None else _draw_control(config.elastic, patch_size, spacing)
    return Warp(matrix, -(back @ shift) / spacing, control)


def spatial_margin(config: SpatialAugmentation, patch_size: Size, spacing_mm: Sequence[float]) -> Size:
    """Voxels of context on each side that the largest draws reach, up to ``LARGEST_MARGIN`` of the patch."""
    spacing = np.asarray(spacing_mm, dtype=np.float64)
    size = np.array(patch_size)
    free = size > 1
    half = (size - 1) / 2 * spacing
    reach = half.copy()
    smallest = [1 - config.scale] * 3
    turns = [np.linspace(-limit, limit, 5) for limit in _angle_limits(config, free)]
    for sign, angles in itertools.product((-1, 1), itertools.product(*turns)):
        back = np.linalg.inv(_content_matrix(angles, [sign * config.shear] * 3, smallest, free))
        reach = np.maximum(reach, np.abs(back) @ half + np.abs(back) @ (config.shift_mm * free))
    if config.elastic is not None:
        reach = reach + _largest_bend_mm(config.elastic, patch_size, spacing)
    margin = np.minimum(np.ceil((reach - half) / spacing), np.ceil(LARGEST_MARGIN * size)) * free
    i, j, k = (int(m) for m in margin)
    return i, j, k


def warp_margin(warp: Warp | None, patch_size: Size) -> Size:
    """Voxels of context on each side that ``warp`` reaches, up to ``LARGEST_MARGIN`` of the patch."""
    if warp is None:
        return 0, 0, 0
    size = np.array(patch_size)
    half = (size - 1) / 2
    reach = np.abs(warp.matrix) @ half + np.abs(warp.offset)
    if warp.control is not None:  # between control points a B-spline stays within them
        reach = reach + np.abs(warp.control).max(axis=(1, 2, 3))
    margin = np.clip(np.ceil(reach - half + 0.01), 0, np.ceil(LARGEST_MARGIN * size)) * (size > 1)
    i, j, k = (int(m) for m in margin)
    return i, j, k


def _angle_limits(config: SpatialAugmentation, free: Sequence[bool] | np.ndarray) -> list[float]:
    """Largest rotation about i, j, k (degrees); a patch of one slice turns in its plane only."""
    told = config.rotation_deg
    limits = (told,) * 3 if isinstance(told, int | float) else told
    return [
        limit if all(free[other] for other in range(3) if other != axis) else 0.0
        for axis, limit in enumerate(limits)
    ]


def _content_matrix(
    angles_deg: Sequence[float], shears: Sequence[float], zooms: Sequence[float], free: np.ndarray
) -> Matrix:
    """What happens to the content, in millimetres about the centre: rotation x shear x zoom."""
    shear = np.eye(3)
    for amount, (to, along) in zip(shears, ((0, 1), (0, 2), (1, 2)), strict=True):
        shear[to, along] = amount if free[to] and free[along] else 0.0
    zoom = np.where(free, zooms, 1.0)
    turn = Rotation.from_euler("xyz", angles_deg, degrees=True).as_matrix()
    return np.asarray(turn @ shear * zoom, dtype=np.float64)


def _largest_bend_mm(elastic: Elastic, patch_size: Size, spacing: np.ndarray) -> Float64[np.ndarray, "3"]:
    """Largest displacement of a control point along each axis, short of folding; 0 across a single slice."""
    size = np.array(patch_size)
    distance = (size - 1) * spacing / max(elastic.points - 1, 1)
    return np.asarray(np.minimum(elastic.max_mm, UNFOLDED * distance) * (size > 1), dtype=np.float64)


def _draw_control(elastic: Elastic, patch_size: Size, spacing: np.ndarray) -> Float64[np.ndarray, "3 _ _ _"]:
    points = [elastic.points if n > 1 else 1 for n in patch_size]
    drawn = torch.rand((3, *points), dtype=torch.float64).numpy() * 2 - 1
    largest = _largest_bend_mm(elastic, patch_size, spacing) / spacing
    return np.asarray(drawn * largest[:, None, None, None], dtype=np.float64)

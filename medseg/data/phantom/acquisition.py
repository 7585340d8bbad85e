"""The scanner: the grid, its orientation, the table, slice profile, beam hardening, streaks and noise.

Noise is coloured in the plane as by a soft-tissue kernel. Photon starvation between the hips is a left-right
streak noise at the height of the femoral heads, and beam hardening a dark band there (Barrett and Keat,
"Artifacts in CT: recognition and avoidance", Radiographics 24 (2004) 1679).
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int16

from medseg.data.phantom.canvas import Canvas
from medseg.data.phantom.fields import smooth_noise
from medseg.data.phantom.muscles import back_y
from medseg.data.phantom.patient import Traits, generator
from medseg.volume import Affine, Geometry, Volume

Plane = Float32[np.ndarray, "J K"]
ORIENTATIONS = ("LPS", "LAS", "RAS", "RPS", "LPI")


@dataclass(frozen=True)
class Scan:
    """One acquisition. ``geometry`` is the grid before its axes are flipped to ``orientation``."""

    geometry: Geometry
    to_patient: Affine
    orientation: str
    table_y: float
    table_curved: bool
    noise_hu: float
    streak_hu: float
    hardening_hu: float
    sharpness: float  # width of the kernel, in voxels


def plan_scan(seed: int, index: int, traits: Traits, coarsen: float = 1.0) -> Scan:
    """Grid and quality of the scan of one patient; ``coarsen`` multiplies the spacing."""
    rng = generator(seed, index, "scan")
    in_plane = round(rng.uniform(0.9, 1.2), 3) * coarsen
    slices = float(rng.choice([2.0, 2.5, 3.0])) * coarsen
    oblique = rng.normal(0, 1.6, 3) if rng.random() < 0.25 else np.zeros(3)
    body, scale = traits.body, traits.body.scale
    table_y = back_y(body) + rng.uniform(5, 10)
    half_x = float(
        np.clip((164 + body.fat_side + (body.muscle - 1) * 25) * scale + rng.uniform(15, 24), 180, 220)
    )
    front, rear = (98 + body.fat_front) * scale + rng.uniform(6, 14), table_y * scale - rng.uniform(28, 36)
    depth = float(np.clip(front - rear, 260, 340))
    bottom = -76 * scale - rng.uniform(3, 10)
    top = float(
        np.clip(max(traits.bladder.top_z, 74) * scale + rng.uniform(10, 30), bottom + 150, bottom + 198)
    )
    sizes = np.array([2 * half_x / in_plane, depth / in_plane, (top - bottom) / slices])
    shape = tuple(int(n) for n in np.round(sizes))
    turn = _rotation(*oblique)
    centre = np.array([rng.uniform(-2, 2), rear + depth / 2, (bottom + top) / 2])
    shift = np.array([rng.uniform(-12, 12), rng.uniform(-150, -90), rng.uniform(-900, 100)])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([in_plane, in_plane, slices])
    affine[:3, 3] = centre + shift - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    to_patient = np.eye(4)
    to_patient[:3, :3] = _rotation(*body.rotation_deg).T / scale
    to_patient[:3, 3] = -to_patient[:3, :3] @ shift
    return Scan(
        geometry=Geometry((shape[0], shape[1], shape[2]), affine),
        to_patient=to_patient,
        orientation=ORIENTATIONS[int(rng.choice(5, p=(0.45, 0.2, 0.2, 0.08, 0.07)))],
        table_y=table_y,
        table_curved=traits.table_curved,
        noise_hu=rng.uniform(13, 22),
        streak_hu=rng.uniform(4, 12),
        hardening_hu=rng.uniform(3, 12),
        sharpness=rng.uniform(0.7, 1.0),
    )


def _rotation(x_deg: float, y_deg: float, z_deg: float) -> np.ndarray:
    a, b, c = np.radians([x_deg, y_deg, z_deg])
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x)


def _plane_mm(canvas: Canvas, axis: int, i: int) -> Plane:
    """The patient-space coordinate along ``axis`` (mm, not bent) of the voxels of plane ``i``."""
    _, j, k = (np.arange(n, dtype=np.float32) for n in canvas.geometry.shape)
    a, b, c, d = canvas.to_patient[axis].astype(np.float32)
    return np.asarray(b * j[:, None] + (c * k + (a * np.float32(i) + d)), dtype=np.float32)


def _with_couch(canvas: Canvas, scan: Scan, plane: Plane, i: int) -> Plane:
    """Plane ``i`` with the couch in the air under the back: a thin shell around a light core."""
    x, y = _plane_mm(canvas, 0, i), _plane_mm(canvas, 1, i)
    top = y - np.float32(scan.table_y) - (x * x * np.float32(1 / 900) if scan.table_curved else np.float32(0))
    distance = np.maximum(np.maximum(top, np.float32(-22) - top), np.abs(x) - np.float32(205))
    distance[plane > -900] = 99
    hu = plane.copy()
    for depth, name in ((0.0, "table_shell"), (2.2, "table_core")):
        share = np.clip(np.float32(0.5) - (distance + np.float32(depth)), 0, 1)
        hu += share * (np.float32(canvas.mean_hu[name]) - hu)
    return hu


def acquire(canvas: Canvas, scan: Scan, rng: np.random.Generator) -> Int16[np.ndarray, "I J K"]:
    """What the scanner makes of the canvas: CT numbers (HU) with slice profile, hardening, streaks and noise.

    Plane by plane along the first axis, so that each step stays in the processor's cache.
    """
    sharp = canvas.image
    streak_hu = smooth_noise(rng, sharp.shape, np.array([28.0, 1.0, 1.0]), scan.streak_hu)
    noise = _noise(rng, sharp.shape, scan)
    image = np.empty(sharp.shape, dtype=np.int16)
    for i, (bare, noise_hu) in enumerate(zip(sharp, noise, strict=True)):
        plane = _with_couch(canvas, scan, bare, i)
        hu = plane * np.float32(0.72)
        neighbours = np.float32(0.14) * plane
        hu[:, 1:] += neighbours[:, :-1]
        hu[:, :-1] += neighbours[:, 1:]
        hu[:, 0] += neighbours[:, 0]
        hu[:, -1] += neighbours[:, -1]
        inside = plane > -300
        hu += _starvation(canvas, i) * inside * (streak_hu[i] - np.float32(scan.hardening_hu))
        hu += noise_hu * np.where(inside, np.float32(1), np.float32(0.5))
        image[i] = np.clip(np.rint(hu), -1024, 3071)
    return image


def _starvation(canvas: Canvas, i: int) -> Plane:
    """How strongly the voxels of plane ``i`` lie on the rays through both femoral heads, 0 to 1."""
    y = (_plane_mm(canvas, 1, i) + 4) / np.float32(20)
    z = _plane_mm(canvas, 2, i) / np.float32(17)
    return np.asarray(np.exp((y * y + z * z) * np.float32(-0.5)), dtype=np.float32)


def _noise(rng: np.random.Generator, shape: tuple[int, int, int], scan: Scan) -> Iterator[Plane]:
    """Planes of Gaussian noise of ``scan.noise_hu``, correlated in i and j, independent between slices."""
    at = np.arange(-2, 3)
    kernel = np.exp(-(at**2) / (2 * scan.sharpness**2))
    kernel /= np.sqrt((kernel**2).sum())
    taps = kernel.astype(np.float32)
    planes, j, k = shape
    recent: deque[Plane] = deque(maxlen=5)
    for n in range(planes + 4):
        white = rng.standard_normal((j + 4, k), dtype=np.float32)
        recent.append(_weighted([white[t : t + j] for t in range(5)], taps))
        if n >= 4:
            yield _weighted(list(recent), taps * np.float32(scan.noise_hu))


def _weighted(planes: list[Plane], weights: Float32[np.ndarray, "n"]) -> Plane:
    total = planes[0] * weights[0]
    for plane, weight in zip(planes[1:], weights[1:], strict=True):
        total += plane * weight
    return np.asarray(total, dtype=np.float32)


def stored(array: np.ndarray, scan: Scan) -> Volume:
    """The volume with its axes running as ``scan.orientation`` says; the same points of the patient."""
    affine = scan.geometry.affine.copy()
    for axis, (wanted, forward) in enumerate(zip(scan.orientation, "RAS", strict=True)):
        if wanted != forward:
            affine[:3, 3] += affine[:3, axis] * (array.shape[axis] - 1)
            affine[:3, axis] *= -1
            array = np.flip(array, axis)
    array = np.ascontiguousarray(array)
    return Volume(array, Geometry(scan.geometry.shape, affine))

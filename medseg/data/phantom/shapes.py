"""Solid shapes as signed distances: negative inside, positive outside, in millimetres of patient space.

A shape knows the box it lies in, so that it is evaluated only there. Distances are exact for balls and
capsules and first-order accurate near the surface for the others, which is where partial volume needs them.
Source of the forms: Quilez, "Distance functions" (iquilezles.org); Hart 1996, "Sphere tracing".
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64
from scipy.interpolate import PchipInterpolator

Field = Float32[np.ndarray, "I J K"]
Point = tuple[float, float, float]
Corner = Sequence[float] | Float64[np.ndarray, "3"]
Distance = Callable[[Field, Field, Field], Field]

EVERYWHERE = 1e4
_TINY = np.float32(1e-6)


@dataclass(frozen=True)
class Shape:
    """``distance(x, y, z)`` in mm, and the box (``lower``, ``upper``) outside of which it is positive."""

    lower: Point
    upper: Point
    distance: Distance


def _shape(lower: Corner, upper: Corner, distance: Distance) -> Shape:
    a, b, c = (float(v) for v in lower)
    d, e, f = (float(v) for v in upper)
    return Shape((a, b, c), (d, e, f), distance)


def _f32(*values: float | np.floating) -> tuple[np.float32, ...]:
    """Python floats as float32, so that arithmetic stays in float32."""
    return tuple(np.float32(v) for v in values)


def ball(centre: Point, radius: float) -> Shape:
    return capsule(centre, centre, radius, radius)


def capsule(start: Point, end: Point, start_radius: float, end_radius: float) -> Shape:
    """A rounded rod whose radius runs linearly from one end to the other."""
    a, b = np.array(start, dtype=np.float64), np.array(end, dtype=np.float64)
    along = b - a
    length_squared = max(float(along @ along), 1e-9)
    (ax, ay, az), (dx, dy, dz) = _f32(*a), _f32(*along)
    radius, grow, per = _f32(start_radius, end_radius - start_radius, 1 / length_squared)

    def distance(x: Field, y: Field, z: Field) -> Field:
        px, py, pz = x - ax, y - ay, z - az
        t = np.clip((px * dx + py * dy + pz * dz) * per, 0, 1)
        px, py, pz = px - t * dx, py - t * dy, pz - t * dz
        return np.asarray(np.sqrt(px * px + py * py + pz * pz) - (radius + grow * t), dtype=np.float32)

    reach = max(start_radius, end_radius)
    return _shape(np.minimum(a, b) - reach, np.maximum(a, b) + reach, distance)


def chain(points: Sequence[Point], radii: Sequence[float]) -> Shape:
    """Capsules end to end: a bent rod, a bowel loop, a vessel."""
    ends = zip(points[:-1], points[1:], radii[:-1], radii[1:], strict=True)
    return union(*(capsule(*end) for end in ends))


def ellipsoid(
    centre: Point, half_axes: Point, rotation: Float64[np.ndarray, "3 3"] | None = None, taper: float = 0.0
) -> Shape:
    """An ellipsoid; ``rotation`` has its own axes as rows; ``taper`` narrows x and y downwards (1/mm)."""
    turn = np.eye(3) if rotation is None else rotation
    cx, cy, cz = _f32(*centre)
    rows = [_f32(*row) for row in turn]
    ra, rb, rc, slope = _f32(*half_axes, taper)

    def distance(x: Field, y: Field, z: Field) -> Field:
        px, py, pz = x - cx, y - cy, z - cz
        u, v, w = (r[0] * px + r[1] * py + r[2] * pz for r in rows)
        wide = 1 + slope * np.clip(w, -rc, rc)
        u, v, w = u / (ra * wide), v / (rb * wide), w / rc
        gauge = np.sqrt(u * u + v * v + w * w)
        steep = np.sqrt((u / ra) ** 2 + (v / rb) ** 2 + (w / rc) ** 2)
        return np.asarray(gauge * (gauge - 1) / (steep + _TINY), dtype=np.float32)

    swell = np.array([1 + taper * half_axes[2], 1 + taper * half_axes[2], 1.0])
    reach = np.abs(turn).T @ (np.array(half_axes) * swell)
    return _shape(np.array(centre) - reach, np.array(centre) + reach, distance)


class Profile:
    """A smooth curve through knots (monotone cubic, no overshoot), read from a fine table."""

    def __init__(self, knots: Sequence[float], values: Sequence[float]) -> None:
        self._start, self._step = float(knots[0]), 0.25
        fine = np.arange(knots[0], knots[-1] + self._step, self._step)
        table = PchipInterpolator(knots, values)(np.clip(fine, knots[0], knots[-1]))
        self._table = np.asarray(table, dtype=np.float32)

    def __call__(self, at: Field) -> Field:
        row = (at - np.float32(self._start)) * np.float32(1 / self._step)
        return np.asarray(self._table[np.clip(row, 0, len(self._table) - 1).astype(np.int32)])

    def at(self, z: float) -> float:
        return float(self(np.full((1, 1, 1), z, dtype=np.float32))[0, 0, 0])

    @property
    def span(self) -> tuple[float, float]:
        return float(self._table.min()), float(self._table.max())


@dataclass(frozen=True)
class Column:
    """A column along z: centre and half axes by height; ``square`` 0 is an ellipse, 1 a rounded box."""

    centre_x: Profile
    centre_y: Profile
    half_x: Profile
    half_y: Profile
    square: float = 0.0

    def distance(self, x: Field, y: Field, z: Field, thinner: float = 0.0) -> Field:
        """Distance to the wall, moved inwards by ``thinner`` mm (ends in z are left to the caller)."""
        px, py = x - self.centre_x(z), y - self.centre_y(z)
        a, b = self.half_x(z) - np.float32(thinner), self.half_y(z) - np.float32(thinner)
        u, v = (px / a) ** 2, (py / b) ** 2
        gauge = np.sqrt(u + v)
        if self.square:
            mixed = np.float32(1 - self.square) * gauge + np.float32(self.square) * _fourth(u, v)
            return np.asarray(np.sqrt(px * px + py * py) * (1 - 1 / (mixed + _TINY)), dtype=np.float32)
        steep = np.sqrt(u / (a * a) + v / (b * b))
        return np.asarray(gauge * (gauge - 1) / (steep + _TINY), dtype=np.float32)


def _fourth(u: Field, v: Field) -> Field:
    return np.asarray(np.sqrt(np.sqrt(u * u + v * v)), dtype=np.float32)


def column(form: Column, bottom: float, top: float) -> Shape:
    """The part of a column between two heights, with rounded ends."""
    low, high = _f32(bottom, top)

    def distance(x: Field, y: Field, z: Field) -> Field:
        return np.asarray(np.maximum(form.distance(x, y, z), np.maximum(low - z, z - high)), dtype=np.float32)

    (cx0, cx1), (cy0, cy1) = form.centre_x.span, form.centre_y.span
    a, b = form.half_x.span[1], form.half_y.span[1]
    return _shape((cx0 - a, cy0 - b, bottom), (cx1 + a, cy1 + b, top), distance)


def halfspace(point: Point, normal: Point) -> Shape:
    """All that lies behind the plane through ``point``, away from ``normal``."""
    direction = np.array(normal) / np.linalg.norm(normal)
    nx, ny, nz = _f32(*direction)
    (offset,) = _f32(float(direction @ np.array(point)))
    lower, upper = [-EVERYWHERE] * 3, [EVERYWHERE] * 3
    return _shape(lower, upper, lambda x, y, z: x * nx + y * ny + z * nz - offset)


def union(*shapes: Shape, smooth: float = 0.0) -> Shape:
    """All of them together; ``smooth`` (mm) fills the creases between them."""

    def distance(x: Field, y: Field, z: Field) -> Field:
        total = shapes[0].distance(x, y, z)
        for shape in shapes[1:]:
            total = _smooth_minimum(total, shape.distance(x, y, z), smooth)
        return total

    lower = np.min([s.lower for s in shapes], axis=0) - smooth / 4
    return _shape(lower, np.max([s.upper for s in shapes], axis=0) + smooth / 4, distance)


def _smooth_minimum(a: Field, b: Field, smooth: float) -> Field:
    if smooth <= 0:
        return np.asarray(np.minimum(a, b), dtype=np.float32)
    k = np.float32(smooth)
    overlap = np.maximum(k - np.abs(a - b), 0) / k
    return np.asarray(np.minimum(a, b) - overlap * overlap * (k * np.float32(0.25)), dtype=np.float32)


def intersection(*shapes: Shape) -> Shape:
    def distance(x: Field, y: Field, z: Field) -> Field:
        total = shapes[0].distance(x, y, z)
        for shape in shapes[1:]:
            total = np.maximum(total, shape.distance(x, y, z))
        return total

    lower = np.max([s.lower for s in shapes], axis=0)
    return _shape(lower, np.min([s.upper for s in shapes], axis=0), distance)


def without(shape: Shape, other: Shape, gap: float = 0.0) -> Shape:
    """``shape`` with ``other`` cut out of it, and ``gap`` mm around it."""
    room = np.float32(gap)

    def distance(x: Field, y: Field, z: Field) -> Field:
        return np.maximum(shape.distance(x, y, z), room - other.distance(x, y, z))

    return _shape(shape.lower, shape.upper, distance)


def grown(shape: Shape, by: float) -> Shape:
    """The shape made thicker by ``by`` mm (thinner when negative)."""
    more = np.float32(by)
    lower, upper = np.array(shape.lower) - by, np.array(shape.upper) + by
    return _shape(lower, upper, lambda x, y, z: shape.distance(x, y, z) - more)


def mirrored(shape: Shape) -> Shape:
    """The same shape on the other side of the patient (x to -x)."""
    lower = (-shape.upper[0], shape.lower[1], shape.lower[2])
    upper = (-shape.lower[0], shape.upper[1], shape.upper[2])
    return _shape(lower, upper, lambda x, y, z: shape.distance(-x, y, z))

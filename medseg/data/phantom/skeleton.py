"""The bones: femora, hip bones, sacrum and coccyx, with cortex, spongy bone and cartilage.

Positions are those of an adult male pelvis in millimetres (femoral heads about 180 mm apart, symphysis in
front of and a little below them, tip of the coccyx at their height).
"""

from dataclasses import dataclass

import numpy as np

from medseg.data.phantom.canvas import Canvas
from medseg.data.phantom.patient import Hips
from medseg.data.phantom.shapes import (
    Column,
    Field,
    Point,
    Profile,
    Shape,
    ball,
    capsule,
    chain,
    column,
    ellipsoid,
    halfspace,
    intersection,
    mirrored,
    union,
    without,
)

PUBIC_TILT = np.array([[1, 0, 0], [0, 0.951, -0.309], [0, 0.309, 0.951]], dtype=np.float64)

NECK_CUT = 0.65
"""The femoral head label ends at the plane across the neck this many head radii from the head's centre."""


@dataclass(frozen=True)
class Femur:
    """The right femur; ``head`` is exactly what the label holds."""

    head: Shape
    bone: Shape
    shaft: Shape
    centre: Point
    radius: float


def right_femur(hips: Hips) -> Femur:
    """Head, neck, trochanters and shaft of the right femur."""
    centre, radius = (hips.half_distance, 0.0, 0.0), hips.head_radius
    down, back = np.radians(hips.inclination_deg), np.radians(hips.anteversion_deg - hips.rotation_deg)
    axis = np.array([np.cos(down) * np.cos(back), -np.cos(down) * np.sin(back), -np.sin(down)])

    def at(along: float, dx: float = 0.0, dy: float = 0.0, dz: float = 0.0) -> Point:
        x, y, z = np.array(centre) + axis * along + (dx, dy, dz)
        return float(x), float(y), float(z)

    sphere = ball(centre, radius)
    neck = capsule(at(0), at(48), 0.70 * radius, 0.68 * radius)
    greater = ellipsoid(at(50, 12, -9, 10), (13, 17, 22))
    between = capsule(at(46, 4, -4, 2), at(52, 4, -2, -28), 16, 16)
    lesser = ball(at(50, -10, -12, -38), 8)
    shaft = capsule(at(52, 4, 0, -28), at(52, -4, 4, -160), 15.5, 14)
    bone = union(sphere, union(neck, greater, between, lesser, shaft, smooth=10), smooth=3)
    cut = halfspace(at(NECK_CUT * radius), (float(axis[0]), float(axis[1]), float(axis[2])))
    return Femur(intersection(sphere, cut), bone, shaft, centre, radius)


def ilium() -> Shape:
    """The wing of the right ilium: a bowed plate from the sacroiliac joint to the anterior spine."""
    back_x, back_y = (
        Profile([10, 40, 100, 150], [72, 60, 46, 46]),
        Profile([10, 40, 100, 150], [-30, -52, -84, -88]),
    )
    front_x, front_y = (
        Profile([10, 40, 100, 150], [92, 108, 128, 132]),
        Profile([10, 40, 100, 150], [14, 30, 42, 20]),
    )
    thick = Profile([10, 35, 100, 150], [9, 7.0, 5.2, 6])

    def distance(x: Field, y: Field, z: Field) -> Field:
        ax, ay = back_x(z), back_y(z)
        dx, dy = front_x(z) - ax, front_y(z) - ay
        length = np.sqrt(dx * dx + dy * dy)
        t = np.clip(((x - ax) * dx + (y - ay) * dy) / (length * length), 0, 1)
        bow = 11 * np.sin(np.float32(2.8) * t) * t
        px = x - ax - t * dx - bow * dy / length
        py = y - ay - t * dy + bow * dx / length
        plate = thick(z) * (np.float32(1.25) - np.float32(1.5) * t * (1 - t))
        return np.asarray(np.maximum(np.sqrt(px * px + py * py) - plate, 12 - z), dtype=np.float32)

    return Shape((36.0, -100.0, 10.0), (146.0, 56.0, 150.0), distance)


def right_hip(hips: Hips) -> Shape:
    """Ilium, acetabulum, ischium and pubis of the right side, without the joint space."""
    cx, radius = hips.half_distance, hips.head_radius
    cup = ellipsoid((cx + 4, -2, 9), (radius + 11, radius + 13, radius + 11))
    opening = halfspace((cx + 3, 2, -3), (0.78, 0.28, -0.56))
    socket = intersection(cup, opening)
    column_back = chain([(74, -24, 16), (68, -38, -22), (60, -46, -66)], [12, 11.5, 15])
    spine = capsule((62, -46, -6), (48, -54, -4), 6, 3)
    ramus = chain([(76, 24, 2), (46, 44, -6), (15, 53, -20)], [10, 6.5, 8])
    pubis = ellipsoid((14, 48, -33), (11.5, 8.5, 19), PUBIC_TILT)
    lower_ramus = chain([(11, 44, -46), (36, 0, -66), (58, -38, -76)], [6, 6, 9])
    bone = union(ilium(), socket, column_back, spine, ramus, pubis, lower_ramus, smooth=9)
    return without(bone, ball((cx, 0.0, 0.0), radius), gap=hips.joint_gap)


def sacrum() -> Shape:
    """Sacrum and coccyx as one curved wedge with its canal and foramina."""
    knots = [-2, 8, 22, 36, 60, 90, 120, 150]
    form = Column(
        centre_x=Profile([-2, 150], [0, 0]),
        centre_y=Profile(knots, [-66, -74, -84, -92, -97, -92, -80, -66]),
        half_x=Profile(knots, [3, 6, 13, 25, 37, 48, 56, 58]),
        half_y=Profile(knots, [3, 4.5, 6.5, 8.5, 12, 17, 24, 28]),
        square=0.35,
    )
    bone = column(form, -3, 150)
    canal = chain([(0, -97, 52), (0, -100, 75), (0, -100, 110)], [2.5, 5, 8])
    holes = [
        chain([(s * x, y, z), (s * (x + 3), y + 24, z - 4)], [3, 4]) for s in (-1, 1) for x, y, z in _FORAMINA
    ]
    return without(bone, union(canal, *holes))


_FORAMINA = ((15, -104, 52), (19, -103, 76), (23, -95, 102))


def paint_skeleton(canvas: Canvas, hips: Hips) -> None:
    """All bones, and the labels of the femoral heads (4 left, 5 right)."""
    wedge = sacrum()
    canvas.paint(wedge, (0, "cortical"), (1.3, "cancellous_sparse"))
    hip, femur = right_hip(hips), right_femur(hips)
    lining = ball(femur.centre, femur.radius + hips.joint_gap)
    for side, value in ((lambda shape: shape, 5), (mirrored, 4)):
        canvas.paint(without(side(hip), wedge, gap=2.5), (0, "cortical"), (1.9, "cancellous_sparse"))
        canvas.paint(
            intersection(side(lining), side(halfspace((femur.centre[0] + 8, 2, -4), (0.78, 0.28, -0.56)))),
            (0, "cartilage"),
        )
        canvas.paint(side(femur.bone), (0, "cortical"), (2.2, "cancellous_sparse"))
        canvas.paint(side(femur.shaft), (6.5, "marrow_fat"))
        canvas.paint(side(femur.head), (0, "subchondral"), (1.4, "cancellous"), label=value)
    canvas.paint(ellipsoid((0, 49, -33), (2.8, 8, 17)), (0, "cartilage"))

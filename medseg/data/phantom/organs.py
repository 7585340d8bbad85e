"""Prostate, seminal vesicles, bladder, rectum and bowel, and their labels."""

from dataclasses import dataclass

import numpy as np

from medseg.data.phantom.canvas import Canvas
from medseg.data.phantom.patient import Rectum, Traits
from medseg.data.phantom.shapes import (
    Column,
    Point,
    Profile,
    Shape,
    capsule,
    chain,
    column,
    ellipsoid,
    grown,
    halfspace,
    intersection,
    union,
    without,
)

RECTUM_BOTTOM, RECTUM_TOP = -66.0, 68.0


@dataclass(frozen=True)
class Organs:
    """The shapes of the pelvic organs; no two of them overlap."""

    prostate: Shape
    bladder: Shape
    rectum: Shape
    vesicles: Shape
    sigmoid_start: Point


def cavity() -> Shape:
    """The room inside the bony pelvis and behind the abdominal wall that organs may fill."""
    knots = [-80, -50, -22, 0, 16, 34, 60, 100, 150]
    front, back = [10, 26, 38, 46, 60, 68, 72, 78, 82], [-52, -56, -60, -62, -66, -76, -80, -70, -45]
    middle = [(f + b) / 2 for f, b in zip(front, back, strict=True)]
    half = [(f - b) / 2 for f, b in zip(front, back, strict=True)]
    wide = Profile(knots, [24, 34, 43, 46, 50, 56, 62, 72, 84])
    return column(
        Column(Profile([-80, 150], [0, 0]), Profile(knots, middle), wide, Profile(knots, half), 0.4), -80, 150
    )


def paint_pelvic_fat(canvas: Canvas) -> None:
    canvas.paint(grown(cavity(), 3.0), (0, "pelvic_fat"))


def design_organs(traits: Traits) -> Organs:
    """The prostate keeps its form; rectum, bladder and vesicles give way to it."""
    gland = traits.prostate
    prostate = ellipsoid(gland.centre, gland.half_axes, taper=0.30 / gland.half_axes[2])
    tube, start = _rectal_tube(traits)
    rectum = without(tube, prostate, gap=1.6)
    sac = traits.bladder
    body = ellipsoid(sac.centre, sac.half_axes, taper=0.05 / sac.half_axes[2])
    neck = capsule((gland.centre[0], gland.centre[1] + 2, gland.base_z + 2), sac.centre, 9, 14)
    room = intersection(union(body, neck, smooth=12), cavity())
    bladder = without(without(room, prostate, gap=0.3), rectum, gap=6.0)
    x, back, z = gland.centre[0], gland.back_y, gland.base_z
    pair = [
        chain(
            [(x + s * 4, back + 7, z - 3), (x + s * 16, back + 2, z + 7), (x + s * 32, back - 3, z + 15)],
            [5.5, 7.5, 4.5],
        )
        for s in (-1, 1)
    ]
    vesicles = without(without(without(union(*pair, smooth=4), prostate), bladder, gap=0.5), rectum, gap=0.8)
    return Organs(prostate, bladder, rectum, vesicles, start)


def _rectal_tube(traits: Traits) -> tuple[Shape, Point]:
    """The rectum along the sacral curve, from anal canal to rectosigmoid junction, and where that is."""
    shape, gland = traits.rectum, traits.prostate
    behind = gland.back_y - 1.6 - shape.depth
    knots = [RECTUM_BOTTOM, -52, -42, gland.centre[2], 8, 36, RECTUM_TOP]
    centre_y = Profile(knots, [-46, -39, -36, behind, min(behind - 2, -42), -58, -60])
    centre_x = Profile(knots, [0, 0, 0, 0, 0.4 * shape.sway, shape.sway, 0.5 * shape.sway])
    wide = [8.5, 9.5, 11, shape.width, shape.width, shape.upper * 1.15, shape.upper]
    deep = [10, 10.5, 10.5, shape.depth, shape.depth, shape.upper, shape.upper * 0.95]
    form = Column(centre_x, centre_y, Profile(knots, wide), Profile(knots, deep), 0.15)
    return column(form, RECTUM_BOTTOM, RECTUM_TOP), (0.5 * shape.sway, -60.0, RECTUM_TOP - 2)


def paint_organs(canvas: Canvas, traits: Traits, rng: np.random.Generator) -> None:
    """Fill the pelvis: fat, bowel, then the organs, each with its plane of fat; mark labels 1, 2 and 3."""
    organs = design_organs(traits)
    room = cavity()
    for loop in _bowel_loops(traits, rng):
        _paint_loop(canvas, intersection(loop, grown(room, 6)))
    _paint_loop(canvas, _sigmoid(organs.sigmoid_start, rng))
    for shape, halo in ((organs.bladder, 3.0), (organs.rectum, 3.0), (organs.prostate, 1.5)):
        canvas.paint(intersection(grown(shape, halo), room), (0, "pelvic_fat"))
    canvas.paint(
        ellipsoid((0, 6, -64), (13, 20, 9)), (0, "thin_muscle")
    )  # penile bulb and urogenital diaphragm
    canvas.paint(organs.vesicles, (0, "seminal_vesicle"))
    canvas.paint(organs.bladder, (0, "bladder_wall"), (traits.bladder.wall, "urine"), label=2)
    canvas.paint(organs.prostate, (0, "prostate"), label=1)
    _paint_rectum(canvas, organs.rectum, traits.rectum)


def _paint_rectum(canvas: Canvas, rectum: Shape, traits: Rectum) -> None:
    canvas.paint(rectum, (0, "rectal_wall"), label=3)
    lumen = grown(intersection(rectum, halfspace((0, 0, -40), (0, 0, -1))), -traits.wall)
    if traits.filling != "collapsed":
        canvas.paint(lumen, (0, "stool"))
    if traits.filling in ("gas", "mixed"):
        tall = traits.gas_length / (2 if traits.filling == "mixed" else 1)
        pocket = ellipsoid((0, -24.0 if traits.filling == "mixed" else -32.0, traits.gas_z), (40, 17, tall))
        canvas.paint(intersection(lumen, pocket), (0, "gas"))


def _sigmoid(start: Point, rng: np.random.Generator) -> Shape:
    """From the rectum forwards and to the patient's left."""
    x, y, z = start
    way = [
        (x, y, z),
        (x + 10, y + 14, z + 12),
        (x + 4, y + 36, z + 20),
        (x - 24, y + 50, z + 24),
        (-62, 4, z + 40),
    ]
    shaken = [way[0]] + [
        (a + u, b + v, c + w) for (a, b, c), (u, v, w) in zip(way[1:], rng.normal(0, 4, (4, 3)), strict=True)
    ]
    points = [(float(a), float(b), float(c)) for a, b, c in shaken]
    return chain(points, [11.0, *(float(r) for r in rng.uniform(11, 15, 4))])


def _bowel_loops(traits: Traits, rng: np.random.Generator) -> list[Shape]:
    """Loops of small bowel that wander above the bladder."""
    floor = max(10.0, traits.bladder.top_z - 42)
    loops = []
    for _ in range(int(rng.integers(11, 17))):
        at = np.array([rng.uniform(-58, 58), rng.uniform(-30, 58), rng.uniform(floor + 8, 135)])
        points: list[Point] = []
        heading = rng.normal(0, 1, 3)
        for _ in range(6):
            points.append((float(at[0]), float(at[1]), float(at[2])))
            heading = 0.55 * heading + rng.normal(0, 1, 3) * (1, 1, 0.5)
            at = np.clip(at + 19 * heading / np.linalg.norm(heading), (-64, -34, floor + 10), (64, 62, 145))
        loops.append(chain(points, [float(r) for r in rng.uniform(9, 13.5, 6)]))
    return loops


def _paint_loop(canvas: Canvas, loop: Shape) -> None:
    canvas.paint(grown(loop, 2.0), (0, "pelvic_fat"))
    canvas.paint(loop, (0, "bowel_wall"), (2.6, "bowel_fluid"))
    centre = [(a + b) / 2 for a, b in zip(loop.lower, loop.upper, strict=True)]
    if int(abs(centre[0]) * 10) % 5 < 2:  # gas rises to the front of some loops
        bubble = intersection(grown(loop, -2.8), halfspace((0, centre[1] + 4, 0), (0, -1, 0)))
        canvas.paint(bubble, (0, "gas"))

"""The soft shell: skin, subcutaneous fat, muscles, vessels, in the order they are painted."""

import numpy as np

from medseg.data.phantom.canvas import Canvas
from medseg.data.phantom.patient import Body
from medseg.data.phantom.shapes import (
    Column,
    Field,
    Profile,
    Shape,
    capsule,
    chain,
    column,
    ellipsoid,
    grown,
    halfspace,
    intersection,
    mirrored,
    union,
    without,
)
from medseg.data.phantom.skeleton import ilium

_Z = [-130, -90, -40, 0, 50, 90, 140]
_SIDE = np.array([148, 154, 163, 164, 152, 142, 138.0])
_FRONT = np.array([66, 70, 74, 76, 82, 88, 92.0])
_BACK = np.array([-88, -96, -108, -114, -112, -108, -102.0])


def envelope(body: Body, side: float = 0.0, front: float = 0.0, back: float = 0.0) -> Column:
    """The fascia around the muscles, moved outwards by millimetres of fat at the side, front and back."""
    bulk = (body.muscle - 1) * 25
    top, bottom = _FRONT + front, _BACK - back - bulk
    return Column(
        centre_x=Profile([-130, 140], [0, 0]),
        centre_y=Profile(_Z, list((top + bottom) / 2)),
        half_x=Profile(_Z, list(_SIDE + side + bulk)),
        half_y=Profile(_Z, list((top - bottom) / 2)),
        square=0.45,
    )


def outline(body: Body) -> Column:
    """The skin."""
    return envelope(body, body.fat_side, body.fat_front, body.fat_back)


def back_y(body: Body) -> float:
    """Where the back would end if it did not lie on the table."""
    return float(_BACK.min()) - body.fat_back - (body.muscle - 1) * 25


def body_shape(body: Body, table_y: float) -> Shape:
    """Everything inside the skin; the back is flattened on the table at ``table_y``."""
    whole = without(column(outline(body), -250, 250), _gluteal_cleft(body))
    return intersection(whole, halfspace((0, table_y, 0), (0, -1, 0)))


def _gluteal_cleft(body: Body) -> Shape:
    deep = back_y(body)
    return capsule((0, deep - 5, -120), (0, deep + 6, 10), 11, 3)


def paint_muscles(canvas: Canvas, body: Body) -> None:
    """Muscles of wall, hip and thigh on both sides, then the pelvic floor and the vessels."""
    fascia = column(envelope(body), -200, 200)
    for side in (lambda shape: shape, mirrored):
        for muscle, tissue in _right_muscles(body):
            canvas.paint(intersection(side(muscle), fascia), (0, tissue))
        for vessel in _right_vessels():
            canvas.paint(side(vessel), (0, "blood"))
        canvas.paint(side(_right_cord(body)), (0, "thin_muscle"))


def _right_muscles(body: Body) -> list[tuple[Shape, str]]:
    fleshy = [_gluteus_maximus(body), _gluteus_medius(body), *_hip_muscles(), *_thigh_muscles()]
    thin = [_rectus_abdominis(body), _oblique(body), *_pelvic_side_wall()]
    return [(shape, "muscle") for shape in fleshy] + [(shape, "thin_muscle") for shape in thin]


def _shell(body: Body, thick: float, bottom: float, top: float) -> Shape:
    """The outermost ``thick`` mm inside the fascia."""
    form = envelope(body)

    def distance(x: Field, y: Field, z: Field) -> Field:
        outer = form.distance(x, y, z)
        ends = np.maximum(np.float32(bottom) - z, z - np.float32(top))
        return np.asarray(np.maximum(np.maximum(outer, -outer - np.float32(thick)), ends), dtype=np.float32)

    whole = column(form, bottom, top)
    return Shape((0.0, *whole.lower[1:]), whole.upper, distance)


def _gluteus_maximus(body: Body) -> Shape:
    shell = _shell(body, 39 * body.muscle, -140, 95)
    behind = halfspace((120, -42, 0), (-0.35, 1, 0.12))
    beside = halfspace((9, -90, 0), (-1, -0.22, 0.16))
    return intersection(shell, behind, beside)


def _gluteus_medius(body: Body) -> Shape:
    """Medius and minimus: all that lies between the outer face of the ilium and the gluteus maximus."""
    upper = intersection(grown(ilium(), 30 * body.muscle), halfspace((85, -15, 60), (-0.87, 0.5, 0.05)))
    lower = ellipsoid((122, 8, 16), (24, 34, 34))
    return intersection(
        union(upper, lower, smooth=8),
        without(halfspace((0, 0, 8), (0, 0, -1)), _gluteus_maximus(body), gap=2.0),
    )


def _hip_muscles() -> list[Shape]:
    inner = intersection(
        grown(ilium(), 15), halfspace((85, -15, 60), (0.87, -0.5, -0.05)), halfspace((0, -14, 20), (0, -1, 0))
    )
    return [
        chain([(54, -8, 150), (62, 8, 80), (88, 38, 12), (98, 32, -30), (102, 5, -75)], [24, 21, 19, 17, 11]),
        inner,  # iliacus
        capsule((30, -78, 52), (126, -26, 18), 14, 7),  # piriformis
        capsule((62, -56, -6), (136, -26, 0), 9, 8),  # gemelli and obturator internus tendon
        capsule((74, -34, -46), (132, -20, -42), 16, 14),  # quadratus femoris
        chain([(30, 34, -38), (70, 16, -40), (112, -10, -40)], [12, 17, 9]),  # obturator externus
    ]


def _thigh_muscles() -> list[Shape]:
    return [
        chain([(138, 40, 50), (146, 34, 0), (150, 20, -90)], [11, 17, 13]),  # tensor fasciae latae
        chain([(120, 58, 50), (113, 66, 0), (96, 64, -90)], [8, 10, 12]),  # sartorius
        chain([(110, 36, 26), (119, 44, -20), (122, 42, -110)], [9, 18, 22]),  # rectus femoris
        chain([(142, 10, -20), (140, 8, -60), (136, 6, -130)], [16, 29, 33]),  # vastus lateralis
        chain([(116, 16, -40), (112, 14, -130)], [10, 26]),  # vastus intermedius and medialis
        chain([(30, 56, -14), (66, 40, -40), (98, 14, -90)], [10, 18, 16]),  # pectineus
        chain([(18, 44, -46), (42, 34, -76), (66, 22, -130)], [11, 23, 30]),  # adductors
        chain([(36, 12, -64), (74, -6, -84), (90, -10, -130)], [9, 20, 26]),  # adductor magnus
        chain([(62, -50, -72), (84, -44, -120)], [15, 23]),  # hamstrings
    ]


def _rectus_abdominis(body: Body) -> Shape:
    return intersection(
        _shell(body, 9, -12, 200),
        halfspace((58, 0, 0), (1, 0, 0)),
        halfspace((0, 40, 0), (0, -1, 0)),
        halfspace((3, 0, 0), (-1, 0, 0)),
    )


def _oblique(body: Body) -> Shape:
    shell = _shell(body, 13, 22, 200)
    return intersection(shell, halfspace((60, 0, 0), (-1, 0, 0)), halfspace((120, 40, 60), (0.2, -1, 0.35)))


def _pelvic_side_wall() -> list[Shape]:
    """Obturator internus, and the levator ani that hangs from it like a funnel."""
    internus = ellipsoid((57, -9, -10), (11, 40, 40))
    half_x = Profile([-64, -50, -36, -18, -6], [12, 15, 22, 38, 48])
    half_y = Profile([-64, -50, -36, -18, -6], [13, 20, 29, 36, 42])
    centre_y = Profile([-64, -50, -36, -18, -6], [-38, -30, -22, -20, -20])
    funnel = Column(Profile([-64, -6], [0, 0]), centre_y, half_x, half_y)
    sheet = column(funnel, -64, -8)
    floor = without(sheet, Shape(sheet.lower, sheet.upper, lambda x, y, z: funnel.distance(x, y, z, 4.0)))
    right = intersection(floor, halfspace((-2, 0, 0), (-1, 0, 0)), halfspace((0, 14, 0), (0, 1, 0)))
    return [internus, right]


def _right_cord(body: Body) -> Shape:
    """The spermatic cord, in the fat before the pubis."""
    deep = 0.35 * body.fat_front
    return chain([(32, 78 + deep, 10), (24, 76 + deep, -30), (17, 72 + deep, -80)], [3.5, 4.5, 5.5])


def _right_vessels() -> list[Shape]:
    return [
        chain(
            [(50, -6, 150), (56, 24, 70), (72, 58, 20), (80, 58, -30), (88, 48, -120)], [6, 5.5, 5.2, 5, 4.5]
        ),
        chain(
            [(44, -16, 150), (48, 10, 70), (60, 54, 18), (69, 56, -30), (80, 44, -120)], [7, 6.5, 6.2, 5.8, 5]
        ),
        chain([(46, -24, 110), (52, -38, 60), (50, -44, 20)], [4.5, 4, 3]),
    ]

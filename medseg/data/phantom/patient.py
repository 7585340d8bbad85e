"""What makes one simulated patient differ from another: every random trait, drawn in one place by seed.

Lengths are millimetres at skeleton scale 1. The patient frame has its origin midway between the femoral head
centres, x to the Right, y Anterior, z Superior.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from medseg.data.phantom.shapes import Point

Filling = Literal["collapsed", "stool", "gas", "mixed"]
_FILLINGS: tuple[Filling, ...] = ("collapsed", "stool", "gas", "mixed")
STREAMS = {"traits": 0, "canvas": 1, "bowel": 2, "noise": 3, "scan": 4}


def generator(seed: int, index: int, stream: str) -> np.random.Generator:
    """An independent stream of random numbers for one purpose of one patient."""
    return np.random.default_rng([seed, index, STREAMS[stream]])


@dataclass(frozen=True)
class Body:
    scale: float  # of the whole skeleton
    fat_front: float
    fat_side: float
    fat_back: float
    muscle: float  # 1 is average bulk
    rotation_deg: Point  # pose about x, y, z


@dataclass(frozen=True)
class Hips:
    half_distance: float  # of the two femoral head centres
    head_radius: float
    joint_gap: float
    anteversion_deg: float
    inclination_deg: float  # of the femoral neck below the horizontal
    rotation_deg: float  # of the legs, toes outwards


@dataclass(frozen=True)
class Prostate:
    centre: Point
    half_axes: Point

    @property
    def base_z(self) -> float:
        return self.centre[2] + self.half_axes[2]

    @property
    def back_y(self) -> float:
        return self.centre[1] - self.half_axes[1]


@dataclass(frozen=True)
class Bladder:
    centre: Point
    half_axes: Point
    wall: float

    @property
    def top_z(self) -> float:
        return self.centre[2] + self.half_axes[2]


@dataclass(frozen=True)
class Rectum:
    width: float  # half widths of the ampulla
    depth: float
    upper: float  # radius of the upper rectum
    sway: float  # sideways
    wall: float
    filling: Filling
    gas_z: float
    gas_length: float


@dataclass(frozen=True)
class Traits:
    """All of one patient."""

    body: Body
    hips: Hips
    prostate: Prostate
    bladder: Bladder
    rectum: Rectum
    table_curved: bool


def draw_traits(seed: int, index: int) -> Traits:
    """The traits of patient ``index`` of cohort ``seed``; the same arguments give the same patient."""
    rng = generator(seed, index, "traits")
    body = _body(rng)
    hips = Hips(
        half_distance=rng.uniform(86, 93),
        head_radius=float(np.clip(rng.normal(24.3, 1.0), 22.5, 26.5)),
        joint_gap=rng.uniform(2.5, 4.0),
        anteversion_deg=rng.uniform(5, 20),
        inclination_deg=rng.uniform(32, 45),
        rotation_deg=rng.uniform(-5, 12),
    )
    rectum = _rectum(rng)
    prostate = _prostate(rng, rectum)
    return Traits(body, hips, prostate, _bladder(rng, prostate), rectum, bool(rng.random() < 0.5))


def _body(rng: np.random.Generator) -> Body:
    fatness = rng.uniform(0, 1)
    rx, ry, rz = (float(np.clip(v, -4, 4)) for v in rng.normal(0, 1, 3) * (2.0, 1.2, 1.5))
    return Body(
        scale=float(np.clip(rng.normal(1.0, 0.03), 0.94, 1.06)),
        fat_front=9 + 24 * fatness + rng.uniform(-2, 4),
        fat_side=7 + 15 * fatness + rng.uniform(-2, 3),
        fat_back=9 + 17 * fatness + rng.uniform(-2, 3),
        muscle=rng.uniform(0.88, 1.1),
        rotation_deg=(rx, ry, rz),
    )


def _rectum(rng: np.random.Generator) -> Rectum:
    filling = _FILLINGS[int(rng.choice(4, p=(0.22, 0.33, 0.15, 0.30)))]
    depth = rng.uniform(10.5, 12.5) if filling == "collapsed" else rng.uniform(12, 19)
    return Rectum(
        width=depth * rng.uniform(1.1, 1.35),
        depth=depth,
        upper=rng.uniform(10, 14),
        sway=rng.uniform(-9, 9),
        wall=rng.uniform(2.8, 4.2),
        filling=filling,
        gas_z=rng.uniform(-25, 35),
        gas_length=rng.uniform(14, 45),
    )


def _prostate(rng: np.random.Generator, rectum: Rectum) -> Prostate:
    volume_mm3 = 1000 * float(np.clip(rng.lognormal(np.log(41), 0.36), 23, 82))
    wide, deep, high = rng.uniform(1.12, 1.28), rng.uniform(0.80, 0.92), rng.uniform(0.95, 1.08)
    radius = (volume_mm3 / (4 / 3 * np.pi) / (wide * deep * high)) ** (1 / 3)
    a, b, c = radius * wide, radius * deep, radius * high
    apex_z = rng.uniform(-47, -40)
    back_y = -15.0 - 0.15 * (rectum.depth - 12) + rng.uniform(-3, 3)
    return Prostate((rng.uniform(-2.5, 2.5), back_y + b, apex_z + c), (a, b, c))


def _bladder(rng: np.random.Generator, prostate: Prostate) -> Bladder:
    volume_mm3 = 1000 * float(np.clip(rng.lognormal(np.log(185), 0.50), 75, 430))
    fullness = (volume_mm3 / 1000 - 75) / 355
    wide = 1.24 - 0.10 * fullness + rng.uniform(-0.05, 0.05)
    deep = 1.02 - 0.08 * fullness + rng.uniform(-0.05, 0.05)
    radius = (volume_mm3 / (4 / 3 * np.pi)) ** (1 / 3)
    a, b, c = radius * wide, min(radius * deep, 45.0), radius / (wide * deep)
    sunk = min(0.18 * c, 7.0)  # the bladder sits on the prostate and is pressed in by it
    back_y = prostate.back_y + 6 + rng.uniform(0, 5)
    centre = (rng.uniform(-5, 5), back_y + b, prostate.base_z + c - sunk)
    return Bladder(
        centre, (a, b, c), wall=float(np.clip(5.0 - 2.4 * fullness + rng.uniform(-0.6, 0.6), 2.2, 5.2))
    )

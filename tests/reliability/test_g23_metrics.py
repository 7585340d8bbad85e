"""G23: metrics against geometry worked out by hand, and against the tools whose variants medseg names."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from medseg.config.inference import EvaluationConfig
from medseg.evaluation import score_case, surfaces
from medseg.evaluation.confusion import Confusion
from medseg.evaluation.overlap import dice, iou, precision, recall
from medseg.volume import Geometry, Volume
from support.metric_references import SPACINGS, deepmind, mask_pair, medpy, monai, simpleitk

SHAPE = (16, 14, 18)
ROOT2, ROOT3 = np.sqrt(2), np.sqrt(3)
PERFECT = {
    "dice": 1,
    "iou": 1,
    "precision": 1,
    "recall": 1,
    "nsd": 1,
    "hd95": 0,
    "assd": 0,
    "volume_error_ml": 0,
}


def box(start, size, shape=SHAPE) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))] = True
    return mask


def cube(start, side, shape=SHAPE) -> np.ndarray:
    return box(start, (side,) * 3, shape)


def voxel(at, shape=SHAPE) -> np.ndarray:
    return cube(at, 1, shape)


def ball(centre, radius_mm, spacing=(1.0, 1.0, 1.0), shape=(40, 34, 34)) -> np.ndarray:
    axes = np.meshgrid(*(np.arange(n) * s for n, s in zip(shape, spacing, strict=True)), indexing="ij")
    return sum((axis - c) ** 2 for axis, c in zip(axes, centre, strict=True)) <= radius_mm**2


def plate(axis, at, shape=SHAPE) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    np.moveaxis(mask, axis, 0)[at] = True
    return mask


NOTHING = np.zeros(SHAPE, dtype=bool)


@dataclass(frozen=True)
class Known:
    """Masks and what is known of them; ``within`` is the relative error that voxels of round bodies allow."""

    name: str
    prediction: np.ndarray
    reference: np.ndarray
    expected: dict[str, float | None]
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    tolerance_mm: float = 2.0
    within: float = 1e-9
    turned_degrees: float = 0.0
    status: str = "scored"


def same(name, mask, spacing=(1.0, 1.0, 1.0)) -> Known:
    return Known(f"itself: {name}", mask, mask, PERFECT, spacing)


def shifted(by, axis, spacing=(1.0, 1.0, 1.0)) -> Known:
    """A cube of 6 moved by less than its side: every face voxel lies within ``by`` of the other surface."""
    moved = [3, 3, 3]
    moved[axis] += by
    expected = {"dice": (6 - by) / 6, "iou": (6 - by) / (6 + by), "nsd": 1, "volume_error_ml": 0}
    return Known(
        f"cube moved by {by} along {axis}, {spacing} mm", cube(moved, 6), cube((3, 3, 3), 6), expected,
        spacing, tolerance_mm=by * spacing[axis],
    )  # fmt: skip


def apart(by, within_2_mm) -> Known:
    """Cubes of 6 that do not overlap: voxel x of one is (by - x) from the near face of the other."""
    expected = {"dice": 0, "iou": 0, "hd95": by, "assd": by - 2.5, "nsd": within_2_mm / 152}
    return Known(f"cubes {by} apart", cube((2 + by, 3, 3), 6), cube((2, 3, 3), 6), expected)


def plates(axis) -> Known:
    spacing = (0.8, 1.2, 2.5)
    gap = 4 * spacing[axis]
    return Known(
        f"plates across {axis}", plate(axis, 6), plate(axis, 2),
        {"dice": 0, "hd95": gap, "assd": gap, "nsd": 1}, spacing, tolerance_mm=gap,
    )  # fmt: skip


def rods(spacing) -> Known:
    """A rod of 100 and one that is 10 longer: distances 0 (100 times), 1, 2, ... 10."""
    shape = (3, 3, 120)
    return Known(
        f"rods of {spacing} mm", box((1, 1, 5), (1, 1, 110), shape), box((1, 1, 5), (1, 1, 100), shape),
        {
            "dice": 200 / 210, "iou": 100 / 110, "hd95": 4.55 * spacing, "pooled": 0.0,
            "assd": 55 / 210 * spacing, "nsd": 202 / 210, "volume_error_relative": 0.1,
        },
        (1.0, 1.0, spacing), tolerance_mm=2 * spacing,
    )  # fmt: skip


def points(offset, distance, spacing=(1.0, 1.0, 1.0)) -> Known:
    at = tuple(3 + step for step in offset)
    expected = {"dice": 0, "hd95": distance, "assd": distance, "nsd": 0, "volume_error_ml": 0}
    return Known(f"voxels {offset} apart", voxel(at), voxel((3, 3, 3)), expected, spacing)


def nested(scale=1.0, swapped=False) -> Known:
    """A cube of 5 in one of 7: 98 voxels at 1; 150 at 1, 60 at the root of 2, 8 at the root of 3."""
    inner, outer = cube((4, 4, 4), 5), cube((3, 3, 3), 7)
    shares = {"precision": 125 / 343, "recall": 1} if swapped else {"precision": 1, "recall": 125 / 343}
    return Known(
        f"nested cubes of {scale} mm, swapped {swapped}", *((outer, inner) if swapped else (inner, outer)),
        {
            "dice": 250 / 468, "iou": 125 / 343, "hd95": ROOT2 * scale, **shares,
            "assd": (98 + 150 + 60 * ROOT2 + 8 * ROOT3) / 316 * scale, "nsd": 248 / 316,
        },
        (scale,) * 3, tolerance_mm=scale,
    )  # fmt: skip


def balls(shift) -> Known:
    """Two balls of 12 mm: their lens has the volume pi (4 r + d) (2 r - d)^2 / 12."""
    share = (48 + shift) * (24 - shift) ** 2 / 16 / 12**3
    return Known(
        f"balls {shift} mm apart", ball((14 + shift, 16, 16), 12), ball((14, 16, 16), 12),
        {"dice": share, "iou": share / (2 - share), "volume_error_ml": 0}, within=0.01,
    )  # fmt: skip


def diagonal(spacing) -> float:
    return float(np.linalg.norm(np.array(SHAPE) * spacing))


WORST = {"dice": 0, "iou": 0, "nsd": 0, "precision": 0}
CENTRE_AND_SHELL = {
    "dice": 2 / 28, "iou": 1 / 27, "precision": 1, "recall": 1 / 27, "nsd": 7 / 27,
    "hd95": ROOT3, "assd": (1 + 6 + 12 * ROOT2 + 8 * ROOT3) / 27, "volume_error_ml": -0.026,
}  # fmt: skip
SLICE = (16, 14, 1)

ANALYTIC = [
    same("cube", cube((3, 3, 3), 6)),
    same("one voxel", voxel((5, 5, 5))),
    same("plate", plate(1, 4)),
    same("ball", ball((14, 16, 16), 9)),
    same("anisotropic cube", cube((2, 2, 2), 5), (0.5, 1.0, 3.0)),
    same("the whole volume", np.ones(SHAPE, dtype=bool)),
    *(shifted(by, 0) for by in (1, 2, 3)),
    *(shifted(2, axis, (0.5, 1.0, 3.0)) for axis in range(3)),
    apart(6, within_2_mm=56),
    apart(8, within_2_mm=0),
    *(plates(axis) for axis in range(3)),
    Known("between two plates", plate(2, 5), plate(2, 3) | plate(2, 7), {"hd95": 2, "assd": 2, "dice": 0}),
    Known(
        "a plate and another far off", plate(2, 2) | plate(2, 10), plate(2, 2),
        {
            "dice": 2 / 3, "iou": 1 / 2, "precision": 1 / 2, "recall": 1, "hd95": 8, "pooled": 8,
            "assd": 8 / 3, "nsd": 2 / 3, "volume_error_relative": 1,
        },
    ),
    rods(1.0),
    rods(0.5),
    points((3, 4, 0), 5),
    points((1, 2, 2), 3),
    points((2, 3, 6), 7),
    points((0, 0, 4), 10, (1.0, 1.0, 2.5)),
    points((1, 1, 1), 7, (2.0, 3.0, 6.0)),
    Known(
        "the centre of a cube", voxel((5, 5, 5)), cube((4, 4, 4), 3), CENTRE_AND_SHELL, tolerance_mm=1.0
    ),
    nested(),
    nested(swapped=True),
    nested(scale=2.0),
    Known(
        "half of it", box((3, 3, 3), (3, 6, 6)), cube((3, 3, 3), 6),
        {"dice": 2 / 3, "iou": 1 / 2, "precision": 1, "recall": 1 / 2, "volume_error_relative": -0.5},
    ),
    Known(
        "twice of it", box((3, 3, 3), (12, 6, 6)), cube((3, 3, 3), 6),
        {"dice": 2 / 3, "iou": 1 / 2, "precision": 1 / 2, "recall": 1, "volume_error_relative": 1},
    ),
    balls(6),
    balls(12),
    Known(
        "balls in each other", ball((16, 16, 16), 10), ball((16, 16, 16), 14),
        {"dice": 2 / (1 + 1.4**3), "iou": 1 / 1.4**3, "volume_error_ml": (1 - 1.4**3) * 4 / 3 * np.pi,
         "assd": pytest.approx(4, abs=0.5)},
        within=0.02,
    ),
    Known("missed", NOTHING, cube((3, 3, 3), 6),
          {**WORST, "recall": 0, "hd95": diagonal((0.5, 1, 3)), "assd": diagonal((0.5, 1, 3)),
           "volume_error_relative": -1}, (0.5, 1.0, 3.0), status="missed"),
    Known("invented", cube((3, 3, 3), 6), NOTHING,
          {**WORST, "recall": None, "hd95": diagonal((1, 1, 1)), "assd": diagonal((1, 1, 1)),
           "volume_error_ml": 0.216, "volume_error_relative": None}, status="false_positive"),
    Known("correctly absent", NOTHING, NOTHING, dict.fromkeys(PERFECT), status="both_empty"),
    Known(
        "outlines on one slice", box((4, 3, 0), (8, 8, 1), SLICE), box((3, 2, 0), (10, 10, 1), SLICE),
        {"dice": 128 / 164, "hd95": ROOT2, "assd": (28 + 32 + 4 * ROOT2) / 64, "nsd": 60 / 64},
        (1.0, 1.0, 5.0), tolerance_mm=1.0,
    ),
    Known(
        "turned plates", plate(0, 7), plate(0, 3), {"hd95": 3.2, "assd": 3.2, "nsd": 1}, (0.8, 0.8, 2.0),
        tolerance_mm=3.2, turned_degrees=30.0,
    ),
]  # fmt: skip


def placed(shape, spacing, degrees=0.0) -> Geometry:
    turn = np.deg2rad(degrees)
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    affine[:3, :3] = affine[:3, :3] * np.array(spacing)
    affine[:3, 3] = (-120.5, 33.0, -900.25)
    return Geometry(shape, affine)


@pytest.mark.row("G23")
@pytest.mark.parametrize("case", ANALYTIC, ids=lambda case: case.name)
def test_metrics_of_known_geometry(case: Known) -> None:
    geometry = placed(case.reference.shape, case.spacing, case.turned_degrees)
    config = EvaluationConfig(nsd_tolerance_mm=case.tolerance_mm)
    maps = [Volume(mask.astype(np.uint8), geometry) for mask in (case.prediction, case.reference)]
    (found,) = score_case("c", *maps, labels={"a": 1}, config=config).structures
    assert found.status == case.status
    values = dict(found.values)
    if "pooled" in case.expected:
        measured = surfaces.measure_surfaces(case.prediction, case.reference, geometry)
        values["pooled"] = surfaces.hd95_pooled(measured)
    for metric, value in case.expected.items():
        plain = isinstance(value, int | float)
        expected = pytest.approx(value, rel=case.within, abs=1e-9) if plain else value
        assert values[metric] == expected, metric


def test_there_are_forty_analytic_cases() -> None:
    assert len({case.name for case in ANALYTIC}) == 40


def compare_pairs(seeds: range) -> None:
    for seed in seeds:
        prediction, reference, spacing = mask_pair(seed)
        geometry = Geometry(prediction.shape, np.diag([*spacing, 1.0]))
        counts = Confusion(
            tp=int((prediction & reference).sum()),
            fp=int((prediction & ~reference).sum()),
            fn=int((~prediction & reference).sum()),
            tn=int((~prediction & ~reference).sum()),
        )
        measured = surfaces.measure_surfaces(prediction, reference, geometry)
        ours = {
            "dice": dice(counts),
            "iou": iou(counts),
            "precision": precision(counts),
            "recall": recall(counts),
            "hd95": surfaces.hd95(measured),
            "hd95_pooled": surfaces.hd95_pooled(measured),
            "assd": surfaces.assd(measured),
            "nsd": surfaces.nsd(measured, 1.7),
        }
        for reference_tool in (medpy, monai, simpleitk, deepmind):
            for metric, value in reference_tool(prediction, reference, spacing, 1.7).items():
                told = f"pair {seed} of {spacing} mm: {metric} of {reference_tool.__name__}"
                # MONAI and SimpleITK compute in float32, MONAI the rank of its quantile too
                rounding = 1e-4 if metric == "hd95" else 1e-6
                assert ours[metric] == pytest.approx(value, rel=2e-5, abs=rounding), told


MonaiWarns = pytest.mark.filterwarnings("ignore:monai.metrics.utils get_mask_edges:FutureWarning")


@pytest.mark.row("G23")
@MonaiWarns
@pytest.mark.parametrize("part", range(5))
def test_pairs_equal_other_tools(part: int, counts: Callable[[int], None]) -> None:
    counts(20)
    compare_pairs(range(20 * part, 20 * part + 20))


@pytest.mark.row("G23")
@pytest.mark.nightly
@MonaiWarns
@pytest.mark.parametrize("part", range(10))
def test_many_pairs_equal_other_tools(part: int, counts: Callable[[int], None]) -> None:
    counts(50)
    compare_pairs(range(50 * part, 50 * part + 50))


def test_pairs_are_of_all_kinds() -> None:
    """The hundred pairs hold every spacing, touching and disjoint masks, specks, and near equals."""
    pairs = [mask_pair(seed) for seed in range(100)]
    assert {spacing for _, _, spacing in pairs} == set(SPACINGS)
    shares = [2 * (p & r).sum() / (p.sum() + r.sum()) for p, r, _ in pairs]
    assert min(shares) == 0
    assert max(shares) > 0.9
    assert min(min(p.sum(), r.sum()) for p, r, _ in pairs) < 10

"""What must hold of the metrics for any masks, any spacing, any orientation."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from medseg.evaluation import CaseScore, FailedCase, score_case, score_failure, summarise
from medseg.evaluation.case import LOWER_IS_BETTER
from medseg.volume import Geometry, Volume

LABELS = {"a": 3, "b": 1, "c": 200}
SHARES = ("dice", "iou", "precision", "recall", "f1", "nsd", "pixel_accuracy", "mean_pixel_accuracy")
HEADLINE = (*SHARES, "hd95", "assd")
FEW = settings(max_examples=30)

spacings = st.tuples(*(st.floats(0.3, 5.0) for _ in range(3)))
shapes = st.tuples(*(st.integers(1, 7) for _ in range(3)))


@st.composite
def label_maps(draw: st.DrawFn, count: int = 2) -> tuple[Volume, ...]:
    """Random label maps on one grid: noise of any density, any structures, any spacing, flipped axes."""
    shape, spacing = draw(shapes), draw(spacings)
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    signs = draw(st.tuples(*(st.sampled_from((-1.0, 1.0)) for _ in range(3))))
    geometry = Geometry(shape, np.diag([*(s * mm for s, mm in zip(signs, spacing, strict=True)), 1.0]))
    volumes = []
    for _ in range(count):
        values = [0, *draw(st.lists(st.sampled_from(sorted(LABELS.values())), max_size=3))]
        volumes.append(Volume(random.choice(values, size=shape).astype(np.uint8), geometry))
    return tuple(volumes)


def score(prediction: Volume, reference: Volume, case: str = "c") -> CaseScore:
    return score_case(case, prediction, reference, labels=LABELS)


def flat(one: CaseScore) -> dict[tuple[str, str], float | None]:
    return {(s.structure, metric): value for s in one.structures for metric, value in s.values.items()}


def require_close(x: dict, y: dict) -> None:
    assert x.keys() == y.keys()
    for key, value in x.items():
        assert (value is None) == (y[key] is None), key
        if value is not None:
            assert value == pytest.approx(y[key], rel=1e-6, abs=1e-9), key


def no_better(worse: float | None, better: float | None, metric: str) -> bool:
    if worse is None or better is None:
        return worse is better
    return worse >= better - 1e-9 if metric in LOWER_IS_BETTER else worse <= better + 1e-9


@FEW
@given(label_maps())
def test_bounds_and_identities(volumes: tuple[Volume, ...]) -> None:
    for one in score(*volumes).structures:
        values = one.values
        for metric in HEADLINE:
            if values[metric] is not None:
                assert values[metric] >= 0
                assert metric in LOWER_IS_BETTER or values[metric] <= 1
        assert values["f1"] == values["dice"]
        if values["dice"] is not None:
            assert values["dice"] == pytest.approx(2 * values["iou"] / (1 + values["iou"]))
        if one.status == "scored" and values["dice"]:
            p, r = values["precision"], values["recall"]
            assert values["f1"] == pytest.approx(2 * p * r / (p + r))


@FEW
@given(label_maps(1))
def test_a_map_agrees_with_itself(volumes: tuple[Volume, ...]) -> None:
    for one in score(volumes[0], volumes[0]).structures:
        assert one.status in ("scored", "both_empty")
        if one.status == "scored":
            assert one.values["dice"] == one.values["nsd"] == 1.0
            assert one.values["hd95"] == one.values["assd"] == 0.0


@FEW
@given(label_maps())
def test_prediction_and_reference_may_change_places(volumes: tuple[Volume, ...]) -> None:
    forth, back = flat(score(*volumes)), flat(score(*volumes[::-1]))
    for structure in LABELS:
        for metric in ("dice", "iou", "f1", "hd95", "assd", "nsd", "pixel_accuracy"):
            require_close({0: forth[structure, metric]}, {0: back[structure, metric]})
        if None not in (forth[structure, "recall"], back[structure, "recall"]):
            assert forth[structure, "precision"] == back[structure, "recall"]


@FEW
@given(label_maps(), st.sampled_from(list(permutations(range(3)))), st.sets(st.sampled_from(range(3))))
def test_how_the_arrays_are_stored_does_not_matter(
    volumes: tuple[Volume, ...], order: tuple[int, ...], flips: set[int]
) -> None:
    def stored(volume: Volume) -> Volume:
        affine = volume.geometry.affine[:, [*order, 3]]
        array = np.flip(volume.array.transpose(order), tuple(flips))
        return Volume(np.asfortranarray(array), Geometry(array.shape, affine))

    first, second = volumes
    assume(first.geometry.shape == second.geometry.shape)
    require_close(flat(score(first, second)), flat(score(stored(first), stored(second))))


@FEW
@given(label_maps(), st.floats(0.5, 4.0))
def test_millimetres_scale_with_the_spacing_and_shares_do_not(
    volumes: tuple[Volume, ...], scale: float
) -> None:
    affine = volumes[0].geometry.affine.copy()
    affine[:3] *= scale
    larger = [Volume(volume.array, Geometry(volume.geometry.shape, affine)) for volume in volumes]
    before, after = flat(score(*volumes)), flat(score(*larger))
    for (structure, metric), value in before.items():
        if value is None or metric == "nsd":  # the tolerance does not grow with the scan
            continue
        factor = {"hd95": scale, "assd": scale, "volume_error_ml": scale**3}.get(metric, 1.0)
        assert after[structure, metric] == pytest.approx(value * factor, rel=1e-6, abs=1e-9), metric


@FEW
@given(label_maps(), st.floats(-3.1, 3.1))
def test_turning_the_patient_changes_nothing(volumes: tuple[Volume, ...], angle: float) -> None:
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    turn[:3, 3] = (-310.7, 94.1, -1200.3)
    turned = [Volume(v.array, Geometry(v.geometry.shape, turn @ v.geometry.affine)) for v in volumes]
    require_close(flat(score(*volumes)), flat(score(*turned)))


@FEW
@given(label_maps(4), st.sampled_from(sorted(LABELS)))
def test_removing_a_structure_never_improves_anything(volumes: tuple[Volume, ...], removed: str) -> None:
    references, predictions = volumes[:2], volumes[2:]
    assume((references[0].array == LABELS[removed]).any())
    emptied = predictions[0].array.copy()
    emptied[emptied == LABELS[removed]] = 0
    before = [score(p, r, str(i)) for i, (p, r) in enumerate(zip(predictions, references, strict=True))]
    after = [score(predictions[0].with_array(emptied), references[0], "0"), before[1]]
    full, less = summarise(before, resamples=10), summarise(after, resamples=10)
    for metric in HEADLINE:
        assert no_better(flat(after[0])[removed, metric], flat(before[0])[removed, metric], metric), metric
        assert no_better(less.mean[metric].mean, full.mean[metric].mean, metric), metric
        assert less.mean[metric].n == full.mean[metric].n


@FEW
@given(label_maps(4))
def test_a_failed_case_never_beats_a_prediction_of_what_is_there(volumes: tuple[Volume, ...]) -> None:
    references, predictions = volumes[:2], list(volumes[2:])
    absent = ~np.isin(predictions[0].array, np.unique(references[0].array))
    predictions[0] = predictions[0].with_array(np.where(absent, 0, predictions[0].array).astype(np.uint8))
    scores = [score(p, r, str(i)) for i, (p, r) in enumerate(zip(predictions, references, strict=True))]
    lost = score_failure(FailedCase("0", "0", "killed"), references[0], labels=LABELS)
    full, less = summarise(scores, resamples=10), summarise(scores[1:], [lost], resamples=10)
    for metric in HEADLINE:
        assert no_better(less.mean[metric].mean, full.mean[metric].mean, metric), metric
    assert no_better(
        less.overall["pixel_accuracy"].mean, full.overall["pixel_accuracy"].mean, "pixel_accuracy"
    )


@FEW
@given(label_maps(), st.sampled_from(sorted(LABELS)))
def test_inventing_a_structure_never_improves_its_mean(volumes: tuple[Volume, ...], name: str) -> None:
    prediction, reference = volumes
    cleared = np.where(reference.array == LABELS[name], 0, reference.array).astype(np.uint8)
    invented = np.where(prediction.array == 0, LABELS[name], prediction.array).astype(np.uint8)
    assume((invented == LABELS[name]).any())
    perfect = score(reference, reference, "other")
    absent = prediction.with_array(
        np.where(prediction.array == LABELS[name], 0, prediction.array).astype(np.uint8)
    )
    one = score(absent, reference.with_array(cleared), "c")
    two = score(prediction.with_array(invented), reference.with_array(cleared), "c")
    place = list(LABELS).index(name)
    before = summarise([perfect, one], resamples=10).structures[place].metrics
    after = summarise([perfect, two], resamples=10).structures[place].metrics
    for metric in HEADLINE:
        if before[metric].n and after[metric].n:
            assert no_better(after[metric].mean, before[metric].mean, metric), metric


@FEW
@given(label_maps())
def test_surfaces_equal_those_of_all_pairs(volumes: tuple[Volume, ...]) -> None:
    prediction, reference = volumes
    spacing = np.array(prediction.geometry.spacing_mm)
    found = flat(score(prediction, reference))
    for name, value in LABELS.items():
        masks = [volume.array == value for volume in volumes]
        if not all(mask.any() for mask in masks):
            continue
        points = [brute_force_boundary(mask) * spacing for mask in masks]
        pairs = np.linalg.norm(points[0][:, None] - points[1][None], axis=2)
        ways = [pairs.min(axis=1), pairs.min(axis=0)]
        assert found[name, "hd95"] == pytest.approx(max(np.percentile(way, 95) for way in ways), abs=1e-9)
        assert found[name, "assd"] == pytest.approx(np.concatenate(ways).mean(), abs=1e-9)
        assert found[name, "nsd"] == pytest.approx((np.concatenate(ways) <= 2.0 + 2e-6).mean())


def brute_force_boundary(mask: np.ndarray) -> np.ndarray:
    found = []
    steps = [step for axis in range(3) if mask.shape[axis] > 1 for step in (np.eye(3, dtype=int)[axis],)]
    for at in np.argwhere(mask):
        for near in (at + sign * step for step in steps for sign in (-1, 1)):
            if (near < 0).any() or (near >= mask.shape).any() or not mask[tuple(near)]:
                found.append(at)
                break
        else:
            if not steps:  # a volume of one voxel: all of it is surface
                found.append(at)
    return np.array(found, dtype=np.float64)

"""Lesions counted one by one: what is found, missed and invented."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import linear_sum_assignment

from medseg.config.inference import EvaluationConfig, LesionConfig
from medseg.evaluation import (
    FailedCase,
    read_cases_csv,
    rules_for,
    score_case,
    score_failure,
    summarise,
    write_cases_csv,
    write_summary_json,
)
from medseg.evaluation.lesions import count_lesions, lesion_values
from medseg.volume import Geometry, Volume
from support.recomputed import recompute

GRID = Geometry((20, 12, 6), np.diag([1.0, 1.0, 2.0, 1.0]))
LABELS = {"organ": 1, "tumour": 7}
ANY = LesionConfig(match="any_voxel")
FEW = settings(max_examples=60, deadline=None)
MASKS = arrays(np.bool_, (5, 4, 3), elements=st.booleans(), fill=st.just(False))


def mask(*boxes: tuple[slice, slice, slice]) -> np.ndarray:
    found = np.zeros(GRID.shape, dtype=bool)
    for box in boxes:
        found[box] = True
    return found


ONE, TWO, FAR = np.s_[1:4, 1:4, 1:3], np.s_[8:12, 1:4, 1:3], np.s_[15:19, 8:11, 3:5]


def counted(prediction: np.ndarray, reference: np.ndarray, config: LesionConfig | None = None) -> tuple:
    found = count_lesions(prediction, reference, 2.0, config or LesionConfig())
    return found.in_reference, found.in_prediction, found.found, found.right


def test_found_missed_and_invented() -> None:
    assert counted(mask(ONE, FAR), mask(ONE, TWO)) == (2, 2, 1, 1)
    values = lesion_values(count_lesions(mask(ONE, FAR), mask(ONE, TWO), 2.0, LesionConfig()))
    assert values == {
        "lesion_f1": 0.5,
        "lesion_sensitivity": 0.5,
        "lesion_precision": 0.5,
        "lesion_false_positives": 1.0,
        "lesions_in_reference": 2.0,
    }


def test_one_blob_over_two_lesions_finds_one_of_them_and_by_any_voxel_both() -> None:
    blob, two = mask(np.s_[1:12, 1:4, 1:3]), mask(ONE, TWO)
    assert counted(blob, two) == (2, 1, 1, 1)
    assert counted(blob, two, ANY) == (2, 1, 2, 1)


def test_a_touch_is_enough_for_any_voxel_only() -> None:
    touching = mask(np.s_[3:9, 1:4, 1:3])  # 6 voxels of 48 in common: an IoU of 0.125
    assert counted(touching, mask(ONE), ANY) == (1, 1, 1, 1)
    assert counted(touching, mask(ONE), LesionConfig(iou=0.12)) == (1, 1, 1, 1)
    assert counted(touching, mask(ONE), LesionConfig(iou=0.13)) == (1, 1, 0, 0)


def test_an_iou_equal_to_the_threshold_agrees() -> None:
    half = mask(np.s_[1:4, 1:4, 1:2])
    assert counted(half, mask(ONE), LesionConfig(iou=0.5)) == (1, 1, 1, 1)
    assert counted(half, mask(ONE), LesionConfig(iou=0.51)) == (1, 1, 0, 0)


def test_corners_connect() -> None:
    assert counted(mask(np.s_[0:1, 0:1, 0:1], np.s_[1:2, 1:2, 1:2]), mask())[1] == 1


def test_small_parts_are_no_lesions_in_either_mask() -> None:
    specks = mask(ONE, np.s_[10:11, 6:7, 0:1])  # 36 mm3, 2 mm3
    assert counted(specks, mask(ONE, TWO)) == (2, 2, 1, 1)
    kept = LesionConfig(minimum_volume_mm3=2.0)
    assert counted(specks, mask(ONE, TWO), kept) == (2, 2, 1, 1)
    assert counted(specks, mask(ONE, TWO), LesionConfig(minimum_volume_mm3=2.1)) == (2, 1, 1, 1)
    assert counted(mask(ONE, TWO), specks, LesionConfig(minimum_volume_mm3=40)) == (0, 1, 0, 0)


def by_hand(prediction: np.ndarray, reference: np.ndarray, iou: float) -> tuple[int, int, int]:
    """Flood fill voxel by voxel; the most pairs by assignment."""
    parts = [flood(reference), flood(prediction)]
    near = np.array([[len(a & b) / len(a | b) >= iou for b in parts[1]] for a in parts[0]], dtype=float)
    if not near.size:
        return len(parts[0]), len(parts[1]), 0
    return len(parts[0]), len(parts[1]), int(near[linear_sum_assignment(-near)].sum())


def flood(found: np.ndarray) -> list[set[tuple[int, ...]]]:
    left, parts = {tuple(int(at) for at in voxel) for voxel in np.argwhere(found)}, []
    while left:
        part, edge = set(), [left.pop()]
        while edge:
            voxel = edge.pop()
            part.add(voxel)
            near = {v for v in left if all(abs(a - b) <= 1 for a, b in zip(v, voxel, strict=True))}
            left -= near
            edge += near
        parts.append(part)
    return parts


@FEW
@given(MASKS, MASKS, st.sampled_from([0.05, 0.1, 0.25, 0.5, 1.0]))
def test_counts_are_those_of_a_computation_by_hand(a: np.ndarray, b: np.ndarray, iou: float) -> None:
    assert counted(a, b, LesionConfig(iou=iou))[:3] == by_hand(a, b, iou)


@FEW
@given(MASKS, MASKS)
def test_prediction_and_reference_may_change_places(a: np.ndarray, b: np.ndarray) -> None:
    for config in (LesionConfig(), ANY):
        forth, back = counted(a, b, config), counted(b, a, config)
        assert forth == (back[1], back[0], back[3], back[2])
        assert counted(a, a, config)[2:] == counted(a, a, config)[:2]


CONFIG = EvaluationConfig(metrics=("dice",), lesions={"tumour": LesionConfig(iou=0.2)})


def volume(*tumours: tuple[slice, slice, slice]) -> Volume:
    return Volume(np.where(mask(*tumours), 7, 0).astype(np.uint8), GRID)


def lesions(prediction: Volume, reference: Volume, **options: object) -> list[float | None]:
    score = score_case("c", prediction, reference, labels=LABELS, config=CONFIG, **options)  # type: ignore[arg-type]
    organ, tumour = score.structures
    assert {organ.values[key] for key in organ.values if key.startswith("lesion")} == {None}
    return [value for key, value in tumour.values.items() if key.startswith("lesion")]


def test_what_is_empty() -> None:
    assert lesions(volume(), volume(ONE, TWO)) == [0.0, 0.0, 0.0, 0.0, 2.0]
    assert lesions(volume(ONE, TWO), volume()) == [0.0, None, 0.0, 2.0, 0.0]
    assert lesions(volume(), volume()) == [None, None, None, 0.0, 0.0]
    assert lesions(volume(ONE), volume(ONE), known={"tumour": False}) == [None] * 5


def test_a_failed_case_found_nothing_and_invented_nobody_knows_what() -> None:
    lost = score_failure(FailedCase("f", "f", "killed"), volume(ONE, TWO), labels=LABELS, config=CONFIG)
    (tumour,) = lost.structures
    told = [tumour.values[key] for key in tumour.values if key.startswith("lesion")]
    assert told == [0.0, 0.0, 0.0, None, 2.0]
    assert tumour.prediction_ml is None


def test_summary_and_table_agree_and_nothing_is_lost(tmp_path: Path) -> None:
    pairs = [(volume(ONE), volume(ONE, TWO)), (volume(ONE, FAR), volume(ONE)), (volume(), volume()),
             (volume(TWO), volume()), (volume(), volume(FAR))]  # fmt: skip
    scores = [
        score_case(f"c{n}", *pair, labels=LABELS, config=CONFIG, patient=f"p{n // 2}")
        for n, pair in enumerate(pairs)
    ]
    failed = [score_failure(FailedCase("f", "f", "killed"), volume(ONE), labels=LABELS, config=CONFIG)]
    summary = summarise(scores, failed, rules=rules_for(CONFIG))
    write_cases_csv(tmp_path / "cases.csv", scores, failed)
    write_summary_json(tmp_path / "summary.json", summary)
    assert read_cases_csv(tmp_path / "cases.csv") == (tuple(scores), tuple(failed))
    told = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    again = recompute(tmp_path / "cases.csv")
    tumour, expected = told["structures"][1]["metrics"], again["structures"][1]["metrics"]
    for metric in (key for key in tumour if key.startswith("lesion")):
        assert tumour[metric] == pytest.approx(expected[metric]), metric
    assert tumour["lesion_false_positives"]["mean"] == pytest.approx((0 + 1 + 0 + 1 + 0) / 5)
    assert (tumour["lesion_f1"]["q1"], tumour["lesion_f1"]["q3"]) == pytest.approx((0.0, 2 / 3))
    assert told["mean"]["lesion_f1"]["n"] == 1, "the organ has no lesions to count"
    assert "Lesions of tumour: connected parts (26 neighbours); one reference" in " ".join(told["rules"])


def test_a_reference_is_known_by_its_hash() -> None:
    def hashes(reference: Volume) -> list[str]:
        return [s.reference_hash for s in score_case("c", volume(ONE), reference, labels=LABELS).structures]

    same = hashes(volume(ONE, TWO))
    assert same == hashes(Volume(np.asfortranarray(volume(ONE, TWO).array.astype(np.int32)), GRID))
    assert same[0] == hashes(volume(ONE))[0], "the organ is absent in both"
    moved = Geometry(GRID.shape, GRID.affine + np.array([[0, 0, 0, 0.5], [0] * 4, [0] * 4, [0] * 4]))
    others = [volume(ONE), volume(FAR), Volume(volume(ONE, TWO).array, moved)]
    for other in others:
        with_grid = score_case("c", Volume(other.array, other.geometry), other, labels=LABELS)
        assert with_grid.structures[1].reference_hash not in ("", same[1])
    lost = score_failure(FailedCase("f", "f", "why"), volume(ONE, TWO), labels=LABELS)
    assert lost.structures[0].reference_hash == same[1]

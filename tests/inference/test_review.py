"""Which masks somebody should look at."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.oracle import write_oracle

from medseg.batch.model import BatchModel
from medseg.errors import ModelFileError
from medseg.inference.review import ReviewRule, UsualVolume, merged_rule, review, review_of
from medseg.modelfile import load_model, save_model

RULE = ReviewRule(
    1.3,
    0.8,
    {"liver": UsualVolume(1500, 0.2, 1.0), "cyst": UsualVolume(10, 0.8, 0.3)},
    {"cases": 12},
)
GOOD = {"liver": 0.95, "cyst": 0.85}


def test_nothing_is_said_of_a_good_mask() -> None:
    found = review(RULE, GOOD, {"liver": 1400, "cyst": 12})
    assert not found.flagged
    assert found.score == pytest.approx(0.1)


def test_low_expectation_is_the_first_reason() -> None:
    found = review(RULE, {"liver": 0.7, "cyst": 0.8}, {"liver": 100, "cyst": 12})
    assert found.reasons == (
        "expected Dice 0.75, below 0.80",
        "liver: 100 mL, usually 745 to 3.02e+03 mL",
    )


def test_a_structure_that_all_have_must_be_found() -> None:
    found = review(RULE, {"liver": 0.0, "cyst": 0.9}, {"liver": 0, "cyst": 12})
    assert found.expected_dice == {"liver": 0.0, "cyst": 0.9}
    assert (
        "liver: not found; 100% of the training patients in whom it was looked for have it" in found.reasons
    )


def test_a_structure_that_few_have_may_be_missing() -> None:
    found = review(RULE, {"liver": 0.9, "cyst": 0.0}, {"liver": 1400, "cyst": 0})
    assert not found.flagged
    assert found.score == pytest.approx(0.1)


def test_without_a_threshold_volumes_still_count() -> None:
    rule = ReviewRule(1.0, None, RULE.volumes)
    assert not review(rule, {"liver": 0.2}, {"liver": 1500}).flagged
    assert review(rule, {"liver": 0.99}, {"liver": 15000}).flagged


def test_a_merged_rule_weighs_by_validation_patients() -> None:
    other = ReviewRule(2.6, 0.6, {"liver": UsualVolume(3000, 0.4, 0.5)}, {"cases": 4})
    merged = merged_rule([RULE, other])
    assert merged.temperature == pytest.approx(1.3**0.75 * 2.6**0.25)
    assert merged.threshold == pytest.approx(0.75)
    assert list(merged.volumes) == ["liver"]
    assert merged.volumes["liver"].median_ml == pytest.approx(1500**0.75 * 3000**0.25)
    assert (merged.volumes["liver"].spread, merged.volumes["liver"].share) == pytest.approx((0.25, 0.875))
    assert merged.measured["cases"] == 16
    assert ReviewRule.from_json(json.loads(json.dumps(merged.to_json()))) == merged


def test_a_merged_rule_of_one_is_itself() -> None:
    merged = merged_rule([RULE])
    assert (merged.threshold, merged.temperature) == pytest.approx((RULE.threshold, RULE.temperature))
    assert merged.volumes["liver"].range_ml == pytest.approx(RULE.volumes["liver"].range_ml)


def test_a_rule_without_a_threshold_leaves_none() -> None:
    assert merged_rule([RULE, ReviewRule(1.0, None, {}, {"cases": "many"})]).threshold is None


def test_the_model_file_keeps_the_rule(tmp_path: Path) -> None:
    path = write_oracle(tmp_path / "oracle.safetensors")
    assert BatchModel.load(path, device="cpu").rule is None
    model = load_model(path)
    told = RULE.to_json()
    save_model(path, type(model)(model.experiment, model.fitted, {}, model.weights, review=told))
    assert BatchModel.load(path, device="cpu").rule == RULE
    assert ReviewRule.from_json(json.loads(json.dumps(told))) == RULE


@pytest.mark.parametrize(
    "change",
    [
        {"temperature": "1.3"},
        {"temperature": 0},
        {"temperature": float("nan")},
        {"threshold": []},
        {"volumes": {"liver": {"median_ml": -1, "spread": 0.2, "share": 1}}},
        {"volumes": {"liver": {"median_ml": 1, "spread": 0.2, "share": True}}},
        {"volumes": {"liver": {"median_ml": 1}}},
        {"volumes": [1]},
        {"measured": 3},
    ],
)
def test_foreign_rules_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ModelFileError, match="review rule"):
        ReviewRule.from_json({**RULE.to_json(), **change})


def test_nothing_is_judged_without_a_rule_or_expectations() -> None:
    assert review_of(None, GOOD, {"liver": 1400}) is None
    assert review_of(RULE, None, {"liver": 1400}) is None
    assert review_of(RULE, {}, {"liver": 1400}) is None
    assert review_of(RULE, GOOD, {"liver": 1400}) == review(RULE, GOOD, {"liver": 1400})

"""Which masks somebody should look at, and why: a rule that a model learned on its validation patients."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from medseg.errors import Code, ModelFileError

OUTLYING = 3.5
"""Robust z-score of a volume's logarithm from which it is an outlier (Iglewicz and Hoaglin 1993)."""
EXPECTED = 0.95
"""A structure that so large a share of the training patients has should be found."""


@dataclass(frozen=True)
class UsualVolume:
    """A structure's volume in the training references: median, and the logarithm's deviation (1.4826 MAD)."""

    median_ml: float
    spread: float
    share: float
    """Of the patients in whom it was looked for, those who have it."""

    @property
    def range_ml(self) -> tuple[float, float]:
        reach = math.exp(OUTLYING * self.spread)
        return self.median_ml / reach, self.median_ml * reach


@dataclass(frozen=True)
class ReviewRule:
    """What a model file keeps under ``review``."""

    temperature: float
    """Of the class scores, fitted on the validation patients."""
    threshold: float | None
    """Masks whose expected mean Dice is lower are flagged: a fifth of the validation patients."""
    volumes: dict[str, UsualVolume]
    measured: dict[str, Any] = field(default_factory=dict)
    """Calibration error before and after, on how many voxels and patients, power on validation patients."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> "ReviewRule":
        """Raises: ModelFileError: not what medseg stores."""
        try:
            volumes = {str(name): UsualVolume(**_numbers(each)) for name, each in told["volumes"].items()}
            threshold = told["threshold"]
            rule = cls(
                _number(told["temperature"]),
                None if threshold is None else _number(threshold),
                volumes,
                dict(told.get("measured", {})),
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            raise _foreign() from None
        if rule.temperature <= 0 or any(v.median_ml <= 0 or v.spread <= 0 for v in volumes.values()):
            raise _foreign()
        return rule


@dataclass(frozen=True)
class Review:
    """What the rule says of one mask. ``score`` is higher the less it is to be trusted."""

    score: float
    expected_dice: dict[str, float]
    reasons: tuple[str, ...]

    @property
    def flagged(self) -> bool:
        return bool(self.reasons)


def review_of(
    rule: ReviewRule | None, expected_dice: Mapping[str, float] | None, volumes_ml: Mapping[str, float]
) -> Review | None:
    """As :func:`review`; None of a model without a rule, and of a mask without expectations."""
    return review(rule, expected_dice, volumes_ml) if rule is not None and expected_dice else None


def review(rule: ReviewRule, expected_dice: Mapping[str, float], volumes_ml: Mapping[str, float]) -> Review:
    """Judge a mask by what its probabilities promise, and by its volumes (mL, of each structure).

    Structures that need not be there and are not found have no part in the mean.
    """
    reasons, told = [], {}
    for name, dice in expected_dice.items():
        usual, volume = rule.volumes.get(name), volumes_ml.get(name, 0.0)
        if volume <= 0:
            if usual is not None and usual.share >= EXPECTED:
                told[name] = 0.0
                had = f"{usual.share:.0%} of the training patients in whom it was looked for have it"
                reasons.append(f"{name}: not found; {had}")
            continue
        told[name] = dice
        if usual is not None:
            low, high = usual.range_ml
            if not low <= volume <= high:
                reasons.append(f"{name}: {volume:.3g} mL, usually {low:.3g} to {high:.3g} mL")
    mean = sum(told.values()) / len(told) if told else 1.0
    if rule.threshold is not None and mean < rule.threshold:
        reasons.insert(0, f"expected Dice {mean:.2f}, below {rule.threshold:.2f}")
    return Review(1 - mean, told, tuple(reasons))


def merged_rule(rules: Sequence[ReviewRule]) -> ReviewRule:
    """The rule of networks whose scores are averaged, each with a rule of its own.

    Temperatures and usual volumes are geometric means, weighted by validation patients, and so is the
    threshold (arithmetic), if each has one. Each was learned on patients that its network had not seen; no
    patient is left for the average itself. Averaged probabilities are the less sure ones, so that the
    expected Dice errs to the low side.
    """
    weights = [_cases(rule) for rule in rules]
    thresholds = [rule.threshold for rule in rules if rule.threshold is not None]
    shared = [name for name in rules[0].volumes if all(name in rule.volumes for rule in rules)]
    return ReviewRule(
        math.exp(_mean([math.log(rule.temperature) for rule in rules], weights)),
        _mean(thresholds, weights) if len(thresholds) == len(rules) else None,
        {name: _merged_volume([rule.volumes[name] for rule in rules], weights) for name in shared},
        {"cases": sum(weights), "of_members": [dict(rule.measured) for rule in rules]},
    )


def _cases(rule: ReviewRule) -> int:
    told = rule.measured.get("cases")
    return told if isinstance(told, int) and told > 0 else 1


def _merged_volume(volumes: Sequence[UsualVolume], weights: Sequence[int]) -> UsualVolume:
    return UsualVolume(
        math.exp(_mean([math.log(each.median_ml) for each in volumes], weights)),
        _mean([each.spread for each in volumes], weights),
        _mean([each.share for each in volumes], weights),
    )


def _mean(values: Sequence[float], weights: Sequence[int]) -> float:
    return sum(v * w for v, w in zip(values, weights, strict=True)) / sum(weights)


def _numbers(told: Mapping[str, Any]) -> dict[str, float]:
    return {str(name): _number(value) for name, value in told.items()}


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("not a number")
    return float(value)


def _foreign() -> ModelFileError:
    return ModelFileError(
        Code.MODEL_MISFIT,
        "the model file's review rule is not one of medseg's: train or copy the model again",
    )

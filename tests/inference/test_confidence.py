"""The Dice that probabilities promise."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medseg.inference.confidence import ConfidenceMeter


def scores(seed: int, classes: int, sharpness: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((7, 9, classes), generator=generator) * sharpness


@given(st.integers(0, 1000), st.integers(2, 6), st.floats(0.1, 6), st.floats(0.5, 3))
@settings(max_examples=30, deadline=None)
def test_it_is_the_ratio_of_expectations(seed: int, classes: int, sharpness: float, t: float) -> None:
    """Of overlap and sizes, were each voxel drawn from its probabilities."""
    logits = scores(seed, classes, sharpness)
    meter = ConfidenceMeter(classes, t, logits=True)
    for plane in (logits[:3], logits[3:]):  # planes add up
        meter.add(plane)
    z = logits.double().numpy().reshape(-1, classes) / t
    q = np.exp(z - z.max(1, keepdims=True))
    q /= q.sum(1, keepdims=True)
    best = q.argmax(1)
    for structure, found in enumerate(meter.dice(), start=1):
        mask = best == structure
        expected = 2 * q[mask, structure].sum() / (mask.sum() + q[:, structure].sum()) if mask.any() else 0
        assert found == pytest.approx(expected, abs=2e-3)  # certain background is left out


@given(st.integers(0, 1000), st.floats(0.5, 3))
@settings(max_examples=20, deadline=None)
def test_probabilities_and_logits_say_the_same(seed: int, t: float) -> None:
    logits = scores(seed, 4, 3.0)
    by_logits, by_probability = ConfidenceMeter(4, t, logits=True), ConfidenceMeter(4, t, logits=False)
    by_logits.add(logits)
    by_probability.add(torch.softmax(logits, -1))
    assert by_probability.dice() == pytest.approx(by_logits.dice(), abs=1e-4)


def test_certainty_promises_one_and_nothing_found_zero() -> None:
    sure = torch.zeros((4, 4, 3))
    sure[..., 0] = 1
    sure[1:3, 1:3] = torch.tensor([0.0, 1.0, 0.0])
    meter = ConfidenceMeter(3, 1.0, logits=False)
    meter.add(sure)
    assert meter.dice() == pytest.approx([1.0, 0.0], abs=1e-6)


def test_a_higher_temperature_promises_less() -> None:
    logits = scores(3, 3, 5.0)
    found = []
    for temperature in (0.5, 1.0, 2.0):
        meter = ConfidenceMeter(3, temperature, logits=True)
        meter.add(logits)
        found.append(sum(meter.dice()))
    assert found == sorted(found, reverse=True)
    assert found[0] > found[2] + 0.1

"""What validation patients tell of a finished network."""

import numpy as np
import pytest
import torch

from medseg.training.trust import TEMPERATURES, Calibration, _usual


@pytest.mark.parametrize("true", [0.6, 1.0, 1.8, 3.0])
def test_the_temperature_that_drew_the_truth_is_found(true: float) -> None:
    generator = torch.Generator().manual_seed(5)
    z = torch.randn((40_000, 4), generator=generator) * 4
    truth = torch.multinomial(torch.softmax(z / true, -1), 1, generator=generator)[:, 0]
    calibration = Calibration()
    for half in (slice(0, 10_000), slice(10_000, None)):
        for index, temperature in enumerate(TEMPERATURES):
            calibration.add(index, torch.softmax(z[half].T / temperature, 0), truth[half])
    found = calibration.chosen
    assert TEMPERATURES[found] == pytest.approx(true, rel=0.06)
    assert calibration.error(found) < 0.01
    if true != 1.0:
        assert calibration.error(TEMPERATURES.index(1.0)) > 5 * calibration.error(found)
    for confidence, accuracy, share in calibration.curve(found):
        assert abs(confidence - accuracy) < 0.1 or share < 0.005


def test_the_error_is_that_of_the_definition() -> None:
    """Guo 2017, equation 5, by a loop."""
    rng = np.random.default_rng(1)
    q = rng.dirichlet((1, 1, 1), 500).astype(np.float32)
    truth = rng.integers(0, 3, 500)
    calibration = Calibration()
    calibration.add(0, torch.from_numpy(q.T), torch.from_numpy(truth))
    top, right = q.max(1), q.argmax(1) == truth
    expected = 0.0
    for low in np.arange(15) / 15:
        inside = (top >= low) & (top < low + 1 / 15)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - top[inside].mean())
    assert calibration.error(0) == pytest.approx(expected, abs=1e-6)


def test_usual_volumes_heed_no_outlier() -> None:
    found = _usual([*np.exp(np.random.default_rng(0).normal(3, 0.25, 60)).tolist(), 5000.0, 0.0])
    assert found is not None
    assert found.median_ml == pytest.approx(np.exp(3), rel=0.1)
    assert found.spread == pytest.approx(0.25, rel=0.4)
    assert found.share == pytest.approx(61 / 62)
    assert _usual([10.0] * 4) is None

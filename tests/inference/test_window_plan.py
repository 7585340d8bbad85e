"""Windows follow the configuration, and must suit the network."""

import pytest

from medseg.config import parse_experiment
from medseg.config.inference import InferenceConfig
from medseg.errors import ConfigError
from medseg.inference import plan_windows


def experiment(model: dict[str, object], patch: list[int]):
    return parse_experiment(
        {
            "name": "x",
            "labels": {"a": 1},
            "data": {"cohort": "nowhere"},
            "preprocessing": {"intensity": {"kind": "zscore"}},
            "sampling": {"patch_size": patch},
            "model": model,
            "training": {"stop": {"epochs": 1}},
        },
        "x",
    )


def test_a_volume_network_takes_windows_as_trained() -> None:
    plan = plan_windows(experiment({"kind": "unet", "channels": [4, 8]}, [32, 32, 16]))
    assert plan.size == (32, 32, 16)
    assert plan.overlap == (0.5, 0.5, 0.5)


def test_a_slice_network_takes_several_slices_without_overlap() -> None:
    plan = plan_windows(experiment({"kind": "unet", "spatial_dims": 2, "plane": "coronal"}, [64, 1, 48]))
    assert plan.size == (64, 16, 48)
    assert plan.overlap == (0.5, 0.0, 0.5)


def test_neighbouring_slices_need_overlap() -> None:
    plan = plan_windows(experiment({"kind": "unet", "spatial_dims": 2, "neighbours": 1}, [64, 64, 3]))
    assert plan.size == (64, 64, 16)
    assert plan.overlap == (0.5, 0.5, 0.5)


def test_windows_that_the_network_cannot_pool_are_refused() -> None:
    deep = experiment({"kind": "unet", "channels": [4, 8, 16, 32, 64]}, [32, 32, 16])
    fits = InferenceConfig(window_size=(40, 32, 16))
    assert plan_windows(deep, fits).size == (40, 32, 16)
    with pytest.raises(ConfigError, match=r"inference.window_size: 13 along k does not divide by 4"):
        plan_windows(deep, InferenceConfig(window_size=(32, 32, 13)))

"""Fine-tuning: what fits of a model is taken, by name; what does not is refused or told."""

from pathlib import Path
from typing import Any

import pytest
import torch

from medseg.config import Experiment, parse_experiment
from medseg.errors import ConfigError
from medseg.modelfile import ModelFile, save_model
from medseg.training import RunFolder
from medseg.training.first_weights import open_first_model, take_weights, tell_misfits
from medseg.training.train import new_network, train
from support.training_runs import ending, quick_experiment


def changed(cohort: Path, **changes: Any) -> Experiment:
    raw = quick_experiment(cohort).model_dump(mode="json")
    for name, value in changes.items():
        raw[name] = {**raw[name], **value} if isinstance(value, dict) and name != "labels" else value
    return parse_experiment(raw, "changed")


def saved(path: Path, experiment: Experiment) -> dict[str, torch.Tensor]:
    weights = new_network(experiment).state_dict()
    save_model(path, ModelFile(experiment, {"spacing_mm": [2, 2, 3], "intensity": None}, {}, weights))
    return weights


def test_heads_are_filled_class_by_class(tiny_cohort: Path, tmp_path: Path) -> None:
    old = saved(tmp_path / "m.safetensors", changed(tiny_cohort, labels={"dark": 2, "bright": 1}))
    experiment = changed(
        tiny_cohort,
        labels={"bright": 1, "other": 3, "dark": 2},
        training={"init_from": str(tmp_path / "m.safetensors"), "seed": 5},
    )
    first = open_first_model(experiment)
    assert first is not None
    network = new_network(experiment)
    drawn = {name: value.clone() for name, value in network.state_dict().items()}
    taken = take_weights(network, experiment, first)
    head = network.state_dict()["heads.0.weight"]
    for ours, theirs in ((0, 0), (1, 2), (3, 1)):
        torch.testing.assert_close(head[ours], old["heads.0.weight"][theirs])
    torch.testing.assert_close(head[2], drawn["heads.0.weight"][2])
    for name, value in network.state_dict().items():
        if "heads" not in name:
            torch.testing.assert_close(value, old[name])
    assert taken.new_classes == ("other",)
    assert "the heads know bright, dark; new are other" in taken.line()


def test_channels_are_filled_by_name_and_new_ones_by_the_mean(tiny_cohort: Path, tmp_path: Path) -> None:
    two = changed(tiny_cohort, data={"channels": {"t1": "a", "t2": "b"}})
    old = saved(tmp_path / "m.safetensors", two)
    experiment = changed(
        tiny_cohort,
        data={"channels": {"t2": "b", "flair": "c", "t1": "a"}},
        training={"init_from": str(tmp_path / "m.safetensors")},
    )
    first = open_first_model(experiment)
    assert first is not None
    network = new_network(experiment)
    assert take_weights(network, experiment, first).new_channels == ("flair",)
    name = "encoder.0.0.conv.weight"
    expected = torch.stack([old[name][:, 1], old[name].mean(1), old[name][:, 0]], 1)
    torch.testing.assert_close(network.state_dict()[name], expected)


def test_deep_supervision_may_differ(tiny_cohort: Path, tmp_path: Path) -> None:
    """The head at full size is the last of several, and the only one otherwise."""
    stages = {"channels": [4, 8, 8]}
    old = saved(tmp_path / "m.safetensors", changed(tiny_cohort, model={**stages, "deep_supervision": True}))
    experiment = changed(
        tiny_cohort, model=stages, training={"init_from": str(tmp_path / "m.safetensors"), "seed": 3}
    )
    first = open_first_model(experiment)
    assert first is not None
    network = new_network(experiment)
    assert take_weights(network, experiment, first).fresh == []
    torch.testing.assert_close(network.state_dict()["heads.0.weight"], old["heads.1.weight"])


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ({"channels": [4, 16]}, r"model.channels is \[4, 8\] there and \[4, 16\] here"),
        ({"kernel": 1}, "model.kernel is 3 there and 1 here"),
        ({"strides": [[1, 1, 1], [2, 2, 1]]}, "model.strides is None there"),
    ],
)
def test_an_encoder_that_does_not_fit_is_refused(
    model: dict[str, Any], told: str, tiny_cohort: Path, tmp_path: Path
) -> None:
    saved(tmp_path / "m.safetensors", quick_experiment(tiny_cohort))
    experiment = changed(tiny_cohort, model=model, training={"init_from": str(tmp_path / "m.safetensors")})
    with pytest.raises(ConfigError, match=told):
        open_first_model(experiment)


def test_other_preprocessing_is_told(
    tiny_cohort: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    saved(tmp_path / "m.safetensors", quick_experiment(tiny_cohort))
    experiment = changed(
        tiny_cohort,
        preprocessing={"intensity": {"kind": "zscore"}},
        training={"init_from": str(tmp_path / "m.safetensors")},
    )
    first = open_first_model(experiment)
    assert first is not None
    tell_misfits(experiment, first, (2, 2, 4))
    assert "set preprocessing.spacing_mm: [2, 2, 3]" in caplog.text
    assert "another preprocessing.intensity (['window'])" in caplog.text


@pytest.mark.parametrize("epochs", [None, 1])
def test_a_frozen_encoder_keeps_its_weights_while_it_is_frozen(
    epochs: int | None, tiny_cohort: Path, tmp_path: Path
) -> None:
    old = saved(tmp_path / "m.safetensors", quick_experiment(tiny_cohort))
    settings = {"init_from": str(tmp_path / "m.safetensors"), "freeze": "encoder", "freeze_epochs": epochs}
    run = RunFolder(tmp_path / "run")
    train(quick_experiment(tiny_cohort, stop={"epochs": 2}, seed=4, **settings), run)
    end = ending(run).checkpoint
    moved = {
        name.removeprefix("network.")
        for name, value in end.items()
        if name.startswith("network.") and not torch.equal(value, old[name.removeprefix("network.")])
    }
    assert {name for name in old if name.startswith("decoder") and "weight" in name} <= moved
    assert any(name.startswith("encoder") for name in moved) is (epochs is not None)
    assert run.read_manifest()["first_weights"]["layers_as_drawn"] == []


def test_freezing_without_weights_is_refused(tiny_cohort: Path) -> None:
    with pytest.raises(ConfigError, match="give init_from, or remove freeze"):
        quick_experiment(tiny_cohort, freeze="encoder")

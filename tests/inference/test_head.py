"""A last layer that waits gives what it gives in its place."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from medseg.config import parse_experiment
from medseg.inference import Segmenter, plan_windows
from medseg.inference.choice import choose_engine
from medseg.inference.engine import Engine, TorchEngine
from medseg.inference.engines import build_engines
from medseg.inference.head import Head, LateHead, let_wait
from medseg.inference.memory import ScanSize, sums_bytes
from medseg.inference.review import ReviewRule
from medseg.inference.sliding import predict_windows, stream_scores
from medseg.modelfile import ModelFile, load_network
from medseg.models import build_network
from medseg.transforms import Fitted
from medseg.volume import Geometry, Volume

STRUCTURES = 8
AVERAGES = ("probabilities", "logits", "windows")


def model(channels: tuple[int, ...] = (4, 6), dims: int = 3, **inference: object) -> ModelFile:
    raw = {
        "name": "many",
        "labels": {f"organ_{c}": c for c in range(1, STRUCTURES + 1)},
        "data": {"cohort": "none"},
        "preprocessing": {"spacing_mm": [2.0, 2.0, 2.0], "intensity": {"kind": "window"}},
        "sampling": {"patch_size": [16, 16, 16 if dims == 3 else 1]},
        "model": {"kind": "unet", "channels": list(channels), "blocks": 1, "spatial_dims": dims},
        "training": {"stop": {"epochs": 1}},
        "inference": inference,
    }
    experiment = parse_experiment(raw, "many")
    torch.manual_seed(3)
    network = build_network(
        experiment.model, in_channels=1, classes=STRUCTURES + 1, patch_size=experiment.sampling.patch_size
    )
    weights = network.state_dict()
    for name in weights:
        if ".heads." in f".{name}":
            weights[name] = torch.randn_like(weights[name]) * 3
    fitted = Fitted((2.0, 2.0, 2.0)).to_json()
    rule = ReviewRule(1.3, 0.5, {}).to_json()
    return ModelFile(experiment, fitted, {}, weights, review=rule)


def scan() -> Volume:
    array = np.random.default_rng(0).integers(-400, 400, (24, 30, 40)).astype(np.int16)
    return Volume(array, Geometry(array.shape, np.diag([1.6, 1.6, 1.6, 1.0])))


def engine_of(file: ModelFile, engine: str = "torch") -> Engine:
    return build_engines(file, choose_engine(engine, "cpu", "fp32"), file.experiment.sampling.patch_size)[0]


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_it_is_an_engine_as_any_other(engine: str, dims: int) -> None:
    file = model(dims=dims)
    late = engine_of(file, engine)
    assert isinstance(late, LateHead)
    assert (late.head.maps, late.head.classes) == (4, STRUCTURES + 1)
    batch = torch.randn(2, 1, *file.experiment.sampling.patch_size)
    with torch.inference_mode():
        expected = load_network(file)(batch)
    torch.testing.assert_close(late(batch), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("average", AVERAGES)
def test_scores_are_those_of_the_whole_network(average: str, mirror: bool) -> None:
    file = model(average=average, mirror=mirror)
    plan = plan_windows(file.experiment)
    image = torch.randn(1, 20, 24, 40)
    late, whole = engine_of(file), TorchEngine(load_network(file), "cpu", "fp32")
    _, waiting = let_wait(late, plan)
    assert (waiting is not None) == (not mirror)
    head = waiting if plan.gives_logits else None
    assert (head is not None) == (average == "logits" and not mirror)
    for one, other in zip(stream_scores(late, image, plan), stream_scores(whole, image, plan), strict=True):
        scores = one.scores if head is None else head(one.scores)
        torch.testing.assert_close(scores, other.scores, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("average", AVERAGES)
def test_masks_are_those_of_the_whole_network(average: str, nested: bool) -> None:
    file = model(average=average, nested=nested)
    found = Segmenter.from_model(file, device="cpu", engine="torch", precision="fp32").segment([scan()])
    whole = TorchEngine(load_network(file), "cpu", "fp32")
    rule = ReviewRule.from_json(file.review)
    fitted = Fitted.from_json(file.fitted)
    expected = Segmenter(file.experiment, fitted, whole, rule=rule).segment([scan()])
    assert len(np.unique(expected.mask.array)) >= 4
    assert np.mean(found.mask.array == expected.mask.array) > 0.9995  # rounding, where two classes are level
    if not nested:
        assert found.expected_dice == pytest.approx(expected.expected_dice, abs=1e-3)


def test_windows_are_carried_as_features() -> None:
    file = model(average="logits")
    plan, engine = plan_windows(file.experiment), engine_of(file)
    runs, _ = let_wait(engine, plan)
    windows = predict_windows(runs, torch.randn(1, 16, 16, 16), [(0, 0, 0)], plan, ())
    assert windows.shape == (1, 4, 16, 16, 16)
    size = ScanSize((64, 64, 64), (64, 64, 64), 1, STRUCTURES + 1)
    assert sums_bytes(replace(size, maps=4), plan) * (STRUCTURES + 1) == sums_bytes(size, plan) * 4
    by_probability = replace(plan, average_logits=False)
    assert sums_bytes(replace(size, maps=4), by_probability) == sums_bytes(size, plan)


def test_mirrored_scores_do_not_wait() -> None:
    file = model(average="logits", mirror=True)
    engine = engine_of(file)
    assert let_wait(engine, plan_windows(file.experiment)) == (engine, None)


def test_few_classes_do_not_wait() -> None:
    assert isinstance(engine_of(model(channels=(12, 16))), TorchEngine)


def test_a_head_knows_both_orders() -> None:
    head = Head(torch.randn(5, 3), torch.randn(5))
    features = torch.randn(2, 3, 4, 6)
    torch.testing.assert_close(head.of_planes(features).movedim(1, -1), head(features.movedim(1, -1)))

"""Several model files as one: ``medseg convert ensemble``."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medseg.cli.app import app
from medseg.convert import merge_models, read_postprocessing
from medseg.errors import Code, ConfigError, ModelFileError, UsageError
from medseg.inference import Segmenter
from medseg.inference.review import ReviewRule, UsualVolume
from medseg.modelfile import ModelFile, load_model
from medseg.volume import Geometry, Volume
from support.oracle import write_oracle


def oracle(folder: Path, name: str, **options: Any) -> ModelFile:
    return load_model(write_oracle(folder / name, **options))


def scan() -> Volume:
    array = np.random.default_rng(0).choice([0, 100, 200, 300], (20, 18, 16)).astype(np.int16)
    return Volume(array, Geometry(array.shape, np.diag([2.0, 2.0, 2.0, 1.0])))


def test_the_average_decides(tmp_path: Path) -> None:
    """A network that says structure 1 everywhere, and is surer than the oracle, wins."""
    first, second = (oracle(tmp_path, name, average="logits") for name in ("a", "b"))
    for value in second.weights.values():
        value.zero_()
    second.weights["heads.0.bias"][1] = 1000
    merged = merge_models([first, second], "both")
    assert merged.members == 2
    assert set(np.unique(Segmenter.from_model(first, device="cpu")(scan()).array)) == {0, 1, 2, 3}
    assert set(np.unique(Segmenter.from_model(merged, device="cpu")(scan()).array)) == {1}


def test_a_model_with_itself_is_itself(tmp_path: Path) -> None:
    model = oracle(tmp_path, "a")
    merged = merge_models([merge_models([model, model], "two"), model], "three")
    assert merged.members == 3
    alone, together = (Segmenter.from_model(m, device="cpu", precision="fp32") for m in (model, merged))
    np.testing.assert_array_equal(together(scan()).array, alone(scan()).array)


def test_it_tells_which_masks_to_look_at_if_every_member_does(tmp_path: Path) -> None:
    silent = oracle(tmp_path, "a")
    rules = [ReviewRule(t, 0.8, {"one": UsualVolume(v, 0.2, 1.0)}) for t, v in ((1.0, 10.0), (4.0, 40.0))]
    telling = [replace(silent, review=rule.to_json()) for rule in rules]
    assert not merge_models([telling[0], silent], "both").review
    merged = Segmenter.from_model(merge_models(telling, "both"), device="cpu")
    assert merged.rule is not None
    assert merged.rule.temperature == pytest.approx(2.0)
    assert merged.rule.volumes["one"].median_ml == pytest.approx(20.0)
    assert merged.segment([scan()]).expected_dice is not None


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    run.mkdir()
    files = [write_oracle(run / "model.safetensors"), write_oracle(tmp_path / "b.safetensors")]
    out = tmp_path / "both.safetensors"
    app(["convert", "ensemble", str(run), str(files[1]), "-o", str(out), "--json"], standalone_mode=False)
    told = json.loads(capsys.readouterr().out)
    assert (told["members"], told["name"]) == (2, "oracle-ensemble")
    mask = Segmenter.load(out, device="cpu")(scan())
    assert set(np.unique(mask.array)) == {0, 1, 2, 3}


DIFFERENT: dict[str, dict[str, Any]] = {
    "labels": {"structures": 2},
    "patch_size": {"patch_size": (8, 8, 8)},
    "preprocessing, fitted values": {"spacing_mm": (1.0, 1.0, 1.0)},
    "inference": {"average": "logits"},
}


@pytest.mark.parametrize("part", DIFFERENT)
def test_models_that_differ_in_what_decides_are_refused(part: str, tmp_path: Path) -> None:
    models = [oracle(tmp_path, "a"), oracle(tmp_path, "b"), oracle(tmp_path, "c", **DIFFERENT[part])]
    with pytest.raises(ModelFileError, match=f"models 1 and 3 differ in .*{part}") as caught:
        merge_models(models, "all")
    assert caught.value.code == Code.MODEL_MISFIT


@pytest.mark.parametrize("count", [1, 33])
def test_two_to_thirty_two_networks(count: int, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"{count} networks given"):
        merge_models([oracle(tmp_path, "a")] * count, "all")


def test_postprocessing_that_was_chosen_goes_into_the_file(tmp_path: Path) -> None:
    first, second = (oracle(tmp_path, name) for name in ("a", "b"))
    name = next(iter(first.experiment.labels))
    chosen = {"largest_component": [name], "minimum_volume_ml": {name: 0.3}}
    path = tmp_path / "postprocessing.json"
    path.write_text(json.dumps({"postprocessing": chosen, "criterion": "..."}))
    merged = merge_models([first, second], "both", read_postprocessing(path))
    assert merged.experiment.inference.postprocessing.model_dump(mode="json") == chosen
    path.write_text("{}")
    with pytest.raises(ConfigError, match="that medseg postprocess wrote"):
        read_postprocessing(path)

"""medseg export: what goes out agrees with the model, or does not go out."""

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medseg.config import DataConfig
from medseg.errors import Code, EnvironmentProblem, MedsegError
from medseg.inference import export
from medseg.inference.export import export_network
from medseg.inference.openvino_graph import openvino_core
from medseg.inference.windows import WindowPlan
from medseg.modelfile import ModelFile, load_model, load_network, save_model
from medseg.training.int8 import busiest_windows, to_int8
from support.oracle import write_oracle


@pytest.fixture
def model(tmp_path: Path) -> ModelFile:
    return load_model(write_oracle(tmp_path / "oracle.safetensors", structures=3))


def test_openvino_files_give_the_models_logits(model: ModelFile, tmp_path: Path) -> None:
    out = tmp_path / "away" / "network.xml"
    parity = export_network(model, "openvino", out)
    assert parity.difference <= parity.allowed
    assert sorted(path.name for path in out.parent.iterdir()) == ["network.bin", "network.xml"]
    core = openvino_core()
    read = core.read_model(out)
    notes = json.loads(read.get_rt_info(["medseg"]).value)
    assert notes["classes"] == ["background", "organ_1", "organ_2", "organ_3"]
    assert notes["preprocessing"]["spacing_mm"] == [2.0, 2.0, 2.0]
    image = torch.rand(1, 1, 16, 16, 16)
    exact = {"INFERENCE_PRECISION_HINT": "f32"}  # some processors would take bf16
    found = core.compile_model(read, "CPU", exact)({"image": image.numpy()})["logits"]
    with torch.inference_mode():
        expected = load_network(model)(image)
    np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.skipif(find_spec("onnxscript") is None, reason="needs the extra onnx")
def test_onnx_files_give_the_models_logits(model: ModelFile, tmp_path: Path) -> None:
    out = tmp_path / "network.onnx"
    parity = export_network(model, "onnx", out)
    assert parity.difference <= parity.allowed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["network.onnx", "oracle.safetensors"]


def test_without_onnxscript_the_extra_is_named(
    model: ModelFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "find_spec", lambda _name: None)
    with pytest.raises(EnvironmentProblem, match=r"install medseg\[onnx\]") as caught:
        export_network(model, "onnx", tmp_path / "network.onnx")
    assert caught.value.code == Code.DEVICE


@pytest.mark.parametrize("fault", ["other weights", "not a number", "no network at all"])
def test_what_does_not_agree_is_not_kept(
    fault: str, model: ModelFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is changed before it is read back, as a fault of the disk or of a converter would."""
    honest = export._write_openvino

    def tampering(network: Any, channels: int, window: Any, path: Path, notes: Any) -> None:
        honest(network, channels, window, path, notes)
        weights = np.frombuffer(path.with_suffix(".bin").read_bytes(), dtype=np.float32).copy()
        if fault == "no network at all":
            path.write_text("<net/>")
        else:
            weights[:] = np.nan if fault == "not a number" else weights + 1
            path.with_suffix(".bin").write_bytes(weights.tobytes())

    monkeypatch.setattr(export, "_write_openvino", tampering)
    out = tmp_path / "away" / "network.xml"
    with pytest.raises(MedsegError) as caught:
        export_network(model, "openvino", out)
    assert caught.value.code == Code.MODEL_UNSUPPORTED
    assert not out.parent.exists() or list(out.parent.iterdir()) == []


def test_a_name_of_another_format_is_refused(model: ModelFile, tmp_path: Path) -> None:
    with pytest.raises(MedsegError, match=r"ends in \.xml"):
        export_network(model, "openvino", tmp_path / "network.onnx")


def test_a_full_folder_keeps_nothing(model: ModelFile, tmp_path: Path) -> None:
    (tmp_path / "network.xml").mkdir()  # the second file cannot get its name
    with pytest.raises(EnvironmentProblem):
        export_network(model, "openvino", tmp_path / "network.xml")
    assert not (tmp_path / "network.bin").exists()


def test_calibration_looks_where_structures_are() -> None:
    image, label = torch.zeros(1, 40, 16, 16), torch.zeros(40, 16, 16, dtype=torch.uint8)
    label[30:36, 4:9, 4:9] = 1
    image[0, 30:36] = 7
    found = busiest_windows(image, label, _plan())
    assert found[0].shape == (1, 1, 16, 16, 16)
    assert float(found[0].max()) == 7
    small = busiest_windows(image[:, :9, :9, :9] - 3, label[:9, :9, :9], _plan())
    assert small[0].shape == (1, 1, 16, 16, 16)
    assert float(small[0].min()) == -3


def _plan() -> WindowPlan:
    return WindowPlan(size=(16, 16, 16), overlap=(0.5, 0.5, 0.5))


def test_int8_is_calibrated_measured_and_kept(model: ModelFile, tiny_cohort: Path, tmp_path: Path) -> None:
    """The oracle reads intensities 100, 200, 300; the tiny patients' first structure has 150."""
    data = DataConfig(cohort=str(tiny_cohort), held_out=0, folds=3)
    quantised = to_int8(_of_the_cohort(model), data)
    save_model(tmp_path / "int8.safetensors", quantised)
    again = load_model(tmp_path / "int8.safetensors")
    assert again.quantisation == quantised.quantisation
    measured = again.quantisation["measured"]
    assert measured["cases"] == 2
    assert measured["dice"].keys() == {"fp32", "int8"}
    assert 0 <= measured["dice"]["int8"]["mean"] <= 1
    assert list(again.quantisation["ranges"][0]) == [
        "encoder.1.0.conv",
        "upsamples.0.conv",
        "decoder.0.0.conv",
    ]


def _of_the_cohort(model: ModelFile) -> ModelFile:
    labels = {"bright": 1, "dark": 2, "other": 3}
    experiment = model.experiment.model_copy(update={"labels": labels})
    return replace(model, experiment=experiment)

"""Model files: what goes in comes out; what is damaged, foreign or newer is refused on one line."""

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medseg.config import Experiment
from medseg.errors import EnvironmentProblem, ModelFileError
from medseg.modelfile import ModelFile, load_model, load_network, load_networks, model_summary, save_model
from medseg.models import build_network
from medseg.modelweights import checksum

EXPERIMENT = Experiment.model_validate(
    {
        "name": "tiny",
        "labels": {"zebra": 7, "apple": 2, "mango": 205},
        "data": {"cohort": "scans"},
        "preprocessing": {"intensity": {"kind": "window"}},
        "sampling": {"patch_size": [8, 8, 8]},
        "model": {"kind": "unet", "channels": [2, 4], "norm": "batch"},
        "training": {"stop": {"epochs": 1}},
    }
)


def tiny(experiment: Experiment = EXPERIMENT) -> ModelFile:
    torch.manual_seed(0)
    network = build_network(experiment.model, in_channels=1, classes=4, patch_size=(8, 8, 8))
    return ModelFile(experiment, {"spacing_mm": [1.0, 1.0, 2.5]}, {"seed": 3}, dict(network.state_dict()))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save_model(tmp_path / "model.safetensors", tiny())
    return tmp_path / "model.safetensors"


def refused(path: Path) -> str:
    with pytest.raises(ModelFileError) as caught:
        load_model(path)
    (line,) = caught.value.problems
    assert line.startswith(f"{path}: ")
    return line


def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change medseg's own JSON in a file and leave the tensors."""
    with safetensors.safe_open(path, "pt") as file:
        told = json.loads(file.metadata()["medseg"])
    change(told)
    path.write_bytes(safetensors.torch.save(safetensors.torch.load_file(path), {"medseg": json.dumps(told)}))


def test_all_comes_back(path: Path) -> None:
    model, again = tiny(), load_model(path)
    assert again.experiment == model.experiment
    assert (again.fitted, again.provenance) == (model.fitted, model.provenance)
    assert set(again.weights) == set(model.weights)
    for name, value in model.weights.items():
        assert again.weights[name].dtype == value.dtype
        assert torch.equal(again.weights[name], value)


def test_classes_keep_their_order(path: Path) -> None:
    assert load_model(path).classes == ("background", "zebra", "apple", "mango")


def test_the_same_model_gives_the_same_bytes(path: Path) -> None:
    first = path.read_bytes()
    save_model(path, tiny())
    assert path.read_bytes() == first


def test_summary_is_json(path: Path) -> None:
    told = json.loads(json.dumps(model_summary(load_model(path))))
    assert told["labels"] == {"zebra": 7, "apple": 2, "mango": 205}
    assert told["weights"] == sum(value.numel() for value in tiny().weights.values())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int64, torch.bool])
def test_every_type_of_tensor_survives(path: Path, dtype: torch.dtype) -> None:
    weights = {"a": torch.tensor([[0, 1], [1, 0]]).to(dtype), "number": torch.tensor(1).to(dtype)}
    save_model(path, ModelFile(EXPERIMENT, {}, {}, weights))
    again = load_model(path).weights
    assert all(
        torch.equal(again[name], value) and again[name].dtype == dtype for name, value in weights.items()
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_refused(path: Path, tmp_path: Path, share: float) -> None:
    whole = path.read_bytes()
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(whole[: int(share * len(whole))])
    refused(cut)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(share=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_a_changed_byte_is_refused(path: Path, tmp_path: Path, share: float, flip: int) -> None:
    data = bytearray(path.read_bytes())
    data[int(share * len(data))] ^= flip
    changed = tmp_path / "changed.safetensors"
    changed.write_bytes(data)
    try:
        model = load_model(changed)
    except ModelFileError:
        return
    original = tiny()  # white space and the padding of the header may change; what is read may not
    assert model.experiment == original.experiment
    assert all(torch.equal(model.weights[name], value) for name, value in original.weights.items())


@given(data=st.binary(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_any_bytes_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "any.safetensors"
    path.write_bytes(data)
    refused(path)


def test_a_changed_weight_breaks_the_checksum(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert "checksum does not match" in refused(path)


def test_changed_labels_break_the_checksum(path: Path) -> None:
    rewrite(path, lambda told: told["experiment"]["labels"].update(apple=3))
    assert "checksum does not match" in refused(path)


def test_a_newer_format_asks_for_an_upgrade(path: Path) -> None:
    rewrite(path, lambda told: told.update(format=3))
    line = refused(path)
    assert "newer medseg (file format 3; this one reads 2)" in line
    assert line.endswith("upgrade medseg")


@pytest.mark.parametrize(
    "header",
    [
        b'{"__metadata__":{"format":"pt"}}',
        b'{"__metadata__":{"medseg":"[1]"}}',
        b'{"__metadata__":{"medseg":"{\\"format\\": 1, \\"fitted\\": NaN}"}}',
        b'{"__metadata__":{"medseg":"{\\"format\\": 1, \\"fitted\\": 1e999}"}}',
        b'{"__metadata__":{"medseg":"' + b"[" * 100_000 + b'"}}',
        b'{"__metadata__":[]}',
        b"[" * 100_000,
    ],
)
def test_foreign_files_are_not_models(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "foreign.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    assert "not a medseg model" in refused(path)


def test_a_pickle_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save({"a": torch.zeros(2)}, path)
    assert "not a medseg model" in refused(path)


def test_a_huge_header_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.safetensors"
    path.write_bytes(struct.pack("<Q", 2**62) + b"{" + b" " * 100)
    assert "header of 4611686018427387904 bytes" in refused(path)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "none.safetensors")
    assert "a folder" in refused(tmp_path)


def test_only_tensors_and_json_go_in(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with pytest.raises(ModelFileError, match="epoch: only dense tensors"):
        save_model(path, ModelFile(EXPERIMENT, {}, {}, {"epoch": torch.zeros(2).to_sparse()}))
    for value in (float("nan"), Path("x"), {1, 2}):
        with pytest.raises(ModelFileError, match="not plain JSON"):
            save_model(path, ModelFile(EXPERIMENT, {"a": value}, {}, {}))
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EnvironmentProblem, match="disk is full"):
        save_model(path, tiny())
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_network_gets_exactly_its_weights() -> None:
    model = tiny()
    bias = model.weights.pop("heads.0.bias")
    model.weights["heads.0.offset"] = bias
    model.weights["heads.0.weight"] = torch.zeros(9, 2, 1, 1, 1)
    with pytest.raises(ModelFileError) as caught:
        load_network(model)
    missing, unexpected, shape = caught.value.problems
    assert "1 missing (heads.0.bias)" in missing
    assert "1 unexpected (heads.0.offset)" in unexpected
    assert "heads.0.weight is 9x2x1x1x1, expected 4x2x1x1x1" in shape


def several(members: int = 2) -> ModelFile:
    one = tiny()
    weights = {
        f"member{member}.{name}": value + member
        for member in range(members)
        for name, value in one.weights.items()
    }
    return ModelFile(one.experiment, one.fitted, one.provenance, weights, members)


def test_several_networks_in_a_file(path: Path) -> None:
    save_model(path, several(3))
    again = load_model(path)
    assert again.members == 3 and model_summary(again)["members"] == 3
    biases = [float(network.state_dict()["heads.0.bias"].sum()) for network in load_networks(again)]
    assert biases == [0, 4, 8]  # four classes


def test_only_files_of_several_networks_are_of_the_second_format(path: Path) -> None:
    formats = []
    for model in (tiny(), several()):
        save_model(path, model)
        rewrite(path, lambda told: formats.append((told["format"], "members" in told)))
    assert formats == [(1, False), (2, True)]


def test_each_of_several_networks_gets_its_weights() -> None:
    model = several()
    del model.weights["member1.heads.0.bias"]
    load_network(model, 0)
    with pytest.raises(ModelFileError, match=r"1 missing \(heads\.0\.bias\)"):
        load_networks(model)


def test_a_loaded_network_infers(path: Path) -> None:
    network = load_network(load_model(path))
    assert not network.training
    assert network(torch.zeros(1, 1, 8, 8, 8)).shape == (1, 4, 8, 8, 8)


def test_half_size_weights_come_back_as_float32(tmp_path: Path) -> None:
    model, path = tiny(), tmp_path / "half.safetensors"
    save_model(path, model, half=True)
    again = load_model(path)
    for name, value in model.weights.items():
        assert again.weights[name].dtype == value.dtype
        if value.is_floating_point():
            torch.testing.assert_close(again.weights[name], value, rtol=2**-11, atol=2**-24)
            assert torch.equal(again.weights[name], value.half().float())
        else:
            assert torch.equal(again.weights[name], value)
    load_network(again)
    save_model(tmp_path / "whole.safetensors", model)
    assert path.stat().st_size < (tmp_path / "whole.safetensors").stat().st_size


def test_weights_too_large_for_half_size_are_refused(tmp_path: Path) -> None:
    model = tiny()
    first = next(name for name, value in model.weights.items() if value.is_floating_point())
    large = {**model.weights, first: torch.full_like(model.weights[first], 1e5)}
    wrong = ModelFile(model.experiment, model.fitted, model.provenance, large)
    with pytest.raises(ModelFileError, match="65504"):
        save_model(tmp_path / "model.safetensors", wrong, half=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("half", "told"), [(False, "fp16"), (True, "fp4")])
def test_weights_stored_otherwise_than_told_are_refused(tmp_path: Path, half: bool, told: str) -> None:
    path = tmp_path / "model.safetensors"
    save_model(path, tiny(), half=half)
    weights = safetensors.torch.load_file(path)

    def change(header: dict[str, Any]) -> None:
        header["weights"] = told
        header.pop("sha256")
        header["sha256"] = checksum(header, weights)

    rewrite(path, change)
    refused(path)

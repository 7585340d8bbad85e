"""Which engine runs what: choices, what OpenVINO cannot run, and compiled networks on disk."""

import ctypes
import gc
import logging
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from medseg.config import parse_experiment
from medseg.errors import Code, EnvironmentProblem, MedsegError, ModelFileError, UsageError
from medseg.inference import Segmenter, TorchEngine, choice, engines
from medseg.inference.choice import choose_engine
from medseg.inference.device import missing_compiler
from medseg.inference.engines import build_engines
from medseg.inference.head import LateHead
from medseg.inference.openvino_cache import compiled_path, read_compiled, write_compiled
from medseg.inference.openvino_engine import OpenVINOEngine
from medseg.io import read_label, write_volume
from medseg.modelfile import ModelFile, load_model
from medseg.models import build_network
from medseg.volume import Geometry, Volume
from support.oracle import write_oracle


@pytest.fixture
def oracle(tmp_path: Path) -> ModelFile:
    return load_model(write_oracle(tmp_path / "oracle.safetensors", structures=3))


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MEDSEG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "openvino"


CHOICES = {
    # engine, device, precision: what is used
    ("auto", "cpu", "fp32"): "openvino fp32",
    ("auto", "cpu", "int8"): "openvino int8",
    ("torch", "cpu", "fp32"): "torch fp32",
    ("torch", "cpu", "bf16"): "torch bf16",
    ("openvino", "auto", "fp32"): "openvino fp32",
    ("torch", "cpu", "int8"): Code.OPTION,
    ("torch-compile", "cpu", "fp32"): "torch-compile fp32",
    ("torch-compile", "cpu", "int8"): Code.OPTION,
    ("onnx", "cpu", "fp32"): Code.OPTION,
    ("auto", "cpu", "fp64"): Code.OPTION,
    ("auto", "gpu", "fp32"): Code.OPTION,
}


@pytest.mark.parametrize(("asked", "expected"), CHOICES.items())
def test_what_is_chosen(asked: tuple[str, str, str], expected: str | Code) -> None:
    try:
        chosen = choose_engine(*asked)
    except MedsegError as error:
        assert error.code == expected
    else:
        assert f"{chosen.engine} {chosen.precision}" == expected


def test_auto_never_takes_int8() -> None:
    assert choose_engine("auto", "cpu", "auto").precision in ("fp32", "bf16")


def test_a_precision_that_the_processor_lacks_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "_computes_in", lambda _precision: False)
    chosen = choose_engine("auto", "cpu", "bf16")
    assert chosen.precision == "fp32"
    assert chosen.note is not None and "bf16" in chosen.note and "fp32" in chosen.note


def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "missing_compiler", lambda _device: "a C++ compiler")
    with pytest.raises(EnvironmentProblem, match=r"a C\+\+ compiler was not found") as caught:
        choose_engine("torch-compile", "cpu", "fp32")
    assert caught.value.code == Code.DEVICE


@pytest.mark.nightly  # compiling takes a minute
@pytest.mark.skipif(bool(missing_compiler(torch.device("cpu"))), reason="no C++ compiler here")
def test_a_compiled_network_gives_the_same_mask(tmp_path: Path) -> None:
    """In processes of their own: torch.compile cannot trace the type checks of the tests."""
    model, scan = write_oracle(tmp_path / "oracle.safetensors"), tmp_path / "scan.nii.gz"
    array = np.random.default_rng(0).choice([0, 100, 200, 300], (20, 18, 16)).astype(np.int16)
    write_volume(Volume(array, Geometry(array.shape, np.diag([2.0, 2.0, 2.0, 1.0]))), scan)
    masks = {}
    for engine in ("torch", "torch-compile"):
        out = tmp_path / f"{engine}.nii.gz"
        command = ["infer", scan, "--model", model, "--engine", engine, "--device", "cpu", "-o", out]
        subprocess.run([sys.executable, "-m", "medseg", *map(str, command)], check=True, timeout=300)
        masks[engine] = read_label(out).array
    assert set(np.unique(masks["torch"])) == {0, 1, 2, 3}
    np.testing.assert_array_equal(masks["torch-compile"], masks["torch"])


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "openvino_installed", lambda: False)
    monkeypatch.setitem(sys.modules, "openvino", None)
    chosen = choose_engine("auto", "cpu", "fp32")
    assert chosen.engine == "torch" and chosen.note is not None
    with pytest.raises(EnvironmentProblem, match="install openvino") as caught:
        choose_engine("openvino", "cpu", "fp32")
    assert caught.value.code == Code.DEVICE


class Bessel(nn.Module):
    """An operation for which OpenVINO has no equal."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.ModuleList([nn.Conv3d(1, 4, 1)])

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.heads[-1](torch.special.i0e(x))
        return logits


def test_what_openvino_cannot_run_pytorch_does(
    oracle: ModelFile, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "load_network", lambda _model, _member: Bessel().eval())
    with caplog.at_level(logging.WARNING):  # which OpenVINO's converter would raise to errors
        (engine,) = build_engines(oracle, choose_engine("auto", "cpu", "fp32"), (8, 8, 8))
    assert isinstance(engine, LateHead) and isinstance(engine.inner, TorchEngine)
    assert "PyTorch runs it instead" in caplog.text
    with pytest.raises(ModelFileError, match="use --engine torch") as caught:
        build_engines(oracle, choose_engine("openvino", "cpu", "fp32"), (8, 8, 8))
    assert caught.value.code == Code.MODEL_UNSUPPORTED


@pytest.mark.nightly  # importing MONAI takes its time
def test_swin_unetr_runs_somehow(oracle: ModelFile, own_cache: Path) -> None:
    raw = oracle.experiment.model_dump(mode="json")
    raw["model"] = {"kind": "swin_unetr", "feature_size": 12, "spatial_dims": 2}
    raw["sampling"]["patch_size"] = [64, 32, 1]
    experiment = parse_experiment(raw, "test")
    network = build_network(
        experiment.model, in_channels=1, classes=experiment.class_count, patch_size=(64, 32, 1)
    ).eval()
    model = replace(oracle, experiment=experiment, weights=network.state_dict())
    (engine,) = build_engines(model, choose_engine("auto", "cpu", "fp32"), (64, 32, 1))
    batch = torch.rand(1, 1, 64, 32, 1)
    with torch.inference_mode():
        expected = network(batch)
    torch.testing.assert_close(engine(batch), expected, rtol=1e-3, atol=1e-3)


def test_int8_needs_ranges(oracle: ModelFile) -> None:
    with pytest.raises(UsageError, match="medseg export MODEL --precision int8") as caught:
        Segmenter.from_model(oracle, device="cpu", precision="int8")
    assert caught.value.code == Code.OPTION


FOREIGN_RANGES = {
    "no list": {"ranges": 3},
    "of two networks": {"ranges": [{}, {}]},
    "no pairs": {"ranges": [{"decoder.0.0.conv": [1.0]}]},
    "no numbers": {"ranges": [{"decoder.0.0.conv": ["a", "b"]}]},
    "endless numbers": {"ranges": [{"decoder.0.0.conv": [0.0, float("inf")]}]},
    "no convolution": {"ranges": [{"decoder.0.0.norm": [0.0, 1.0]}]},
    "nothing of the network": {"ranges": [{"__class__": [0.0, 1.0]}]},
}


@pytest.mark.parametrize("name", FOREIGN_RANGES)
def test_ranges_that_are_not_the_networks_are_refused(name: str, oracle: ModelFile) -> None:
    model = replace(oracle, quantisation=FOREIGN_RANGES[name])
    with pytest.raises(ModelFileError, match="export") as caught:
        Segmenter.from_model(model, device="cpu", precision="int8")
    assert caught.value.code == Code.MODEL_MISFIT


def scan() -> Volume:
    array = np.random.default_rng(0).integers(0, 300, (20, 18, 16)).astype(np.int16)
    return Volume(array, Geometry(array.shape, np.diag([2.0, 2.0, 2.0, 1.0])))


def test_both_engines_give_the_same_mask(oracle: ModelFile) -> None:
    masks = [
        Segmenter.from_model(oracle, device="cpu", engine=name)(scan()) for name in ("torch", "openvino")
    ]
    assert np.array_equal(masks[0].array, masks[1].array)


def damaged(kind: str, data: bytes) -> bytes:
    match kind:
        case "cut":
            return data[: len(data) // 2]
        case "empty":
            return b""
        case "a bit flipped":
            at = len(data) * 2 // 3
            return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        case "of another version":  # its checksum holds, and OpenVINO does not know it
            return b"nothing that OpenVINO wrote"
    return data


@pytest.mark.parametrize("kind", ["cut", "empty", "a bit flipped", "of another version", "a folder"])
def test_a_damaged_compiled_network_changes_nothing(kind: str, oracle: ModelFile, own_cache: Path) -> None:
    expected = Segmenter.from_model(oracle, device="cpu", engine="openvino")(scan())
    (kept,) = own_cache.iterdir()
    data = kept.read_bytes()
    if kind == "of another version":
        write_compiled(kept.stem, damaged(kind, data))
    elif kind == "a folder":
        kept.unlink()
        kept.mkdir()
    else:
        kept.write_bytes(damaged(kind, data))
    again = Segmenter.from_model(oracle, device="cpu", engine="openvino")(scan())
    assert np.array_equal(again.array, expected.array)
    if kind != "a folder":
        assert len(read_compiled(kept.stem) or b"") > len(data) // 2, "it was made anew"


def test_a_cache_that_cannot_be_written_changes_nothing(
    oracle: ModelFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MEDSEG_CACHE", str(tmp_path / "file" / "cache"))
    segmenter = Segmenter.from_model(oracle, device="cpu", engine="openvino")
    assert segmenter(scan()).array.shape == (20, 18, 16)


def test_the_second_start_takes_what_the_first_compiled(
    oracle: ModelFile, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Segmenter.from_model(oracle, device="cpu", engine="openvino")(scan())
    monkeypatch.setattr(OpenVINOEngine, "_compile", lambda *_: pytest.fail("compiled again"))
    second = Segmenter.from_model(oracle, device="cpu", engine="openvino")(scan())
    assert np.array_equal(first.array, second.array)


def test_other_weights_are_other_compiled_networks(oracle: ModelFile, own_cache: Path) -> None:
    Segmenter.from_model(oracle, device="cpu", engine="openvino")
    weights = {name: 2 * value for name, value in oracle.weights.items()}
    Segmenter.from_model(replace(oracle, weights=weights), device="cpu", engine="openvino")
    torch.set_num_threads(2)
    Segmenter.from_model(oracle, device="cpu", engine="openvino")
    assert len(list(own_cache.iterdir())) == 3


def test_the_cache_keeps_within_its_size(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    monkeypatch.setattr("medseg.inference.openvino_cache.MAX_BYTES", 300)
    for index in range(5):
        write_compiled(f"k{index}", bytes(68))  # and 32 of the checksum
        os.utime(compiled_path(f"k{index}"), (index, index))
    assert [read_compiled(f"k{index}") is not None for index in range(5)] == [False, False, True, True, True]


class SignalStack(ctypes.Structure):
    _fields_ = [("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]


def signal_stack() -> int | None:
    """Where signals of this thread are handled, if it is no ordinary stack."""
    found = SignalStack()
    assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(found)) == 0
    address: int | None = found.address
    return address


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux")
def test_engines_that_go_in_any_order_leave_signals_as_they_were(oracle: ModelFile) -> None:
    """OpenVINO puts back the signal stack it found; if another engine gave that one, signals kill."""

    def engine() -> OpenVINOEngine:
        made = build_engines(oracle, choose_engine("openvino", "cpu", "fp32"), (16, 16, 16))[0]
        made(torch.zeros(1, 1, 16, 16, 16))
        assert isinstance(made, LateHead) and isinstance(made.inner, OpenVINOEngine)
        return made.inner

    first = engine()
    expected = signal_stack()
    second = engine()
    del first
    gc.collect()
    assert signal_stack() == expected
    del second
    gc.collect()
    assert signal_stack() == expected

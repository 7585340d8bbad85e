"""``scripts/bench_inference.py``: the same network in every program's form, measured and told in a table."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from medseg.modelfile import load_model, load_network
from support import nnunet

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(SCRIPTS)


@pytest.fixture
def model(scripts: None, tmp_path: Path) -> Path:
    from bench.simulate import NetworkSize, write_model

    return write_model(tmp_path / "model.safetensors", NetworkSize((4, 8, 12), 16), steps=2)


def logits(network: torch.nn.Module) -> torch.Tensor:
    torch.manual_seed(1)
    with torch.inference_mode():
        found: torch.Tensor = network(torch.randn(1, 1, 16, 16, 16))
    return found


def test_the_network_in_monais_class_says_the_same(model: Path) -> None:
    from bench.monai_network import build_dynunet

    loaded = load_model(model)
    found, wanted = logits(build_dynunet(loaded)), logits(load_network(loaded))
    assert wanted.std() > 0.1
    assert (found - wanted).abs().max() < 1e-4


def test_there_and_back_through_nnunets_files(model: Path, tmp_path: Path) -> None:
    """The converter gives back the weights that the folder was written of."""
    from bench.nnunet_folder import write_nnunet_folder
    from medseg.convert import convert_nnunet

    loaded = load_model(model)
    again = convert_nnunet(write_nnunet_folder(tmp_path / "nnunet", loaded)).model
    assert again.fitted == loaded.fitted
    assert again.experiment.preprocessing.resampling == "cubic"
    assert torch.equal(logits(load_network(again)), logits(load_network(loaded)))


def test_nnunets_class_takes_all_its_weights(model: Path) -> None:
    pytest.importorskip("dynamic_network_architectures", reason="nnU-Net's networks are not installed")
    from bench.nnunet_folder import _architecture, _unet, their_weights

    loaded = load_model(model)
    network = nnunet.build(_architecture(_unet(loaded), (16, 16, 16)), 1, 5)
    network.load_state_dict(their_weights(loaded.weights, 3))
    wanted = logits(load_network(loaded))
    torch.manual_seed(1)
    with torch.inference_mode():
        x = torch.randn(1, 1, 16, 16, 16)
        found = network(x.permute(0, 1, 4, 3, 2)).permute(0, 1, 4, 3, 2)
    assert (found - wanted).abs().max() < 1e-4


def bench(model: Path, out: Path, *options: str) -> dict[str, Any]:
    command = [sys.executable, str(SCRIPTS / "bench_inference.py"), "-o", str(out), "--model", str(model)]
    subprocess.run([*command, "--repeats", "1", *options], check=True, capture_output=True, timeout=280)
    programs: dict[str, Any] = json.loads((out / "bench.json").read_text())["programs"]
    for entry in programs.values():
        assert entry["wall_seconds"]["median"] > entry["cpu_seconds"]["min"] * 0.1 > 0
        assert entry["peak_bytes"]["median"] > 50e6
    return programs


@pytest.mark.nightly
def test_a_small_scan_from_end_to_end(model: Path, tmp_path: Path) -> None:
    """With medseg alone, whose mask is then what it is held against."""
    programs = bench(model, tmp_path, "--shape", "30", "26", "20", "--programs", "torch:fp32")
    assert list(programs) == ["medseg torch fp32"]
    assert programs["medseg torch fp32"]["agreement"]["voxels"] == 1
    table = (tmp_path / "bench.md").read_text()
    assert "| medseg torch fp32 |" in table and "times as fast as medseg torch fp32" in table


@pytest.mark.nightly
def test_with_monai(scripts: None, tmp_path: Path) -> None:
    """A network that was taught a little: masks by linear and cubic resampling are much the same."""
    from bench.simulate import NetworkSize, write_model

    model = write_model(tmp_path / "model.safetensors", NetworkSize((4, 8, 12), 32), steps=60)
    programs = bench(model, tmp_path, "--shape", "60", "50", "40", "--programs", "monai", "torch:fp32")
    assert list(programs) == ["MONAI script", "medseg torch fp32"]
    assert programs["MONAI script"]["seconds_by_part"]["network"] > 0
    assert programs["medseg torch fp32"]["agreement"]["voxels"] > 0.9


def test_a_command_that_fails_says_why(scripts: None) -> None:
    from bench.measure import CommandError, measure

    with pytest.raises(CommandError, match="no such thing"):
        measure([sys.executable, "-c", "raise SystemExit('no such thing')"])


def test_memory_of_a_process_and_what_it_starts(scripts: None) -> None:
    from bench.measure import measure

    child = "import time; a = b'x' * 100_000_000; time.sleep(1.5)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], check=True)"
    alone, both = measure([sys.executable, "-c", "pass"]), measure([sys.executable, "-c", code])
    assert both.peak_bytes - alone.peak_bytes > 95_000_000
    assert both.wall_seconds > 1.5

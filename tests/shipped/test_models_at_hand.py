"""Models at hand: found by name or path, listed, told of by their cards, and part of every installation."""

import json
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import medseg.shipped.find
from medseg.cli.app import app
from medseg.config import Experiment
from medseg.errors import Code, ModelFileError, UsageError
from medseg.io import read_label, write_volume
from medseg.modelfile import ModelFile, save_model
from medseg.models import build_network
from medseg.shipped import Card, find_model, read_card, shipped_models
from medseg.volume import Geometry, Volume

ROOT = Path(__file__).resolve().parents[2]
EXPERIMENT = Experiment.model_validate(
    {
        "name": "kidney_ct",
        "labels": {"kidney_left": 3, "kidney_right": 9},
        "data": {"cohort": "data/kidney"},
        "preprocessing": {"spacing_mm": [2, 2, 2], "intensity": {"kind": "window"}},
        "sampling": {"patch_size": [8, 8, 8]},
        "model": {"kind": "unet", "channels": [2, 4]},
        "training": {"stop": {"epochs": 1}},
    }
)
CARD: dict[str, Any] = {
    "name": "kidney_ct",
    "title": "kidneys on CT",
    "input": "CT of the abdomen in Hounsfield units",
    "network": "3D unet, 0.1 M weights",
    "spacing_mm": [2, 2, 2],
    "structures": [
        {"name": "kidney_left", "value": 3, "dice": {"mean": 0.9, "low": 0.88, "high": 0.92, "cases": 11}},
        {"name": "kidney_right", "value": 9, "dice": None},
    ],
    "mean_dice": {"mean": 0.9, "low": None, "high": None, "cases": 11},
    "data": {
        "name": "made up",
        "source": "here",
        "licence": "CC0",
        "training_patients": 30,
        "validation_patients": 8,
        "held_out_patients": 11,
    },
    "training": {
        "command": "python scripts/make_models.py kidney_ct",
        "minutes": 12.5,
        "hardware": "2 cores",
        "date": "2026-01-31",
        "medseg": "0.1.0",
        "git": None,
    },
    "limits": ["Adults only."],
    "licence": "CC0",
    "weights": "fp16",
    "bytes": 123_456,
    "sha256": "0" * 64,
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of models at hand with one in it, instead of the package's; the working folder is another."""
    place, work = tmp_path / "shipped", tmp_path / "work"
    place.mkdir()
    work.mkdir()
    torch.manual_seed(0)
    network = build_network(EXPERIMENT.model, in_channels=1, classes=3, patch_size=(8, 8, 8))
    model = ModelFile(
        EXPERIMENT, {"spacing_mm": [2.0] * 3, "intensity": None}, {}, dict(network.state_dict())
    )
    save_model(place / "kidney_ct.safetensors", model, half=True)
    (place / "kidney_ct.json").write_text(json.dumps(CARD))
    monkeypatch.setattr(medseg.shipped.find, "FOLDER", place)
    monkeypatch.chdir(work)
    return place


def run(*arguments: str) -> int:
    return int(app(list(arguments), standalone_mode=False))


def test_a_name_finds_the_file(folder: Path) -> None:
    assert find_model("kidney_ct") == folder / "kidney_ct.safetensors"


def test_what_exists_as_a_path_wins(folder: Path) -> None:
    Path("kidney_ct").write_bytes(b"mine")
    assert find_model("kidney_ct") == Path("kidney_ct")


def test_a_folder_wins_only_with_a_model_in_it(folder: Path) -> None:
    Path("kidney_ct").mkdir()  # a cohort, say
    assert find_model("kidney_ct") == folder / "kidney_ct.safetensors"
    (Path("kidney_ct") / "model.safetensors").write_bytes(b"mine")
    assert find_model(Path("kidney_ct")) == Path("kidney_ct/model.safetensors")


@pytest.mark.parametrize("named", ["kidny_ct", "kidney", "kidney_ct.safetensors", "kidney_mr"])
def test_near_names_are_told(folder: Path, named: str) -> None:
    with pytest.raises(UsageError, match=r"did you mean kidney_ct\?") as caught:
        find_model(named)
    assert caught.value.code == Code.NO_MODEL


@pytest.mark.parametrize("named", ["liver", "", "../shipped/kidney_ct", "a" * 5000])
def test_no_other_name_finds_anything(folder: Path, named: str) -> None:
    with pytest.raises(UsageError):
        find_model(named)


def test_the_list_for_people_and_for_machines(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("models") == 0
    told = capsys.readouterr().out
    assert all(text in told for text in ("kidney_ct", "kidneys on CT", "kidney_left", "0.900", "0.1 MB"))
    assert "Not for clinical use" in told
    assert run("models", "--json") == 0
    (one,) = json.loads(capsys.readouterr().out)
    assert one["path"] == str(folder / "kidney_ct.safetensors")
    assert Card.model_validate({key: value for key, value in one.items() if key != "path"})


def test_the_card(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("models", "kidney_ct") == 0
    told = capsys.readouterr().out
    for text in (
        "Not for clinical use.",
        "0.900 (0.880-0.920)",
        "Adults only.",
        "CC0",
        "30 patients trained",
    ):
        assert text in told
    with pytest.raises(UsageError, match="did you mean kidney_ct"):
        run("models", "kidney")


def test_without_any_model_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(medseg.shipped.find, "FOLDER", tmp_path)
    assert run("models") == 0
    assert "no models" in capsys.readouterr().err
    assert run("models", "--json") == 0
    assert json.loads(capsys.readouterr().out) == []
    with pytest.raises(UsageError, match="no such model"):
        find_model("kidney_ct")


@pytest.mark.parametrize("content", [None, "", "[]", "{", json.dumps({**CARD, "use": "For clinical use."})])
def test_a_model_without_a_whole_card_is_refused(folder: Path, content: str | None) -> None:
    card = folder / "kidney_ct.json"
    card.unlink() if content is None else card.write_text(content)
    with pytest.raises(ModelFileError) as caught:
        shipped_models()
    assert caught.value.code == Code.NO_CARD


def test_a_scan_is_segmented_by_name(folder: Path) -> None:
    random = np.random.default_rng(0)
    scan = Volume(random.normal(0, 100, (12, 10, 9)).astype(np.float32), Geometry((12, 10, 9), np.eye(4)))
    write_volume(scan, Path("scan.nii.gz"))
    assert run("infer", "scan.nii.gz", "--model", "kidney_ct", "--engine", "torch") == 0
    mask = read_label(Path("scan_seg.nii.gz"))
    assert mask.geometry.shape == (12, 10, 9)
    assert set(np.unique(mask.array)) <= {0, 3, 9}


def test_an_export_never_lands_in_the_package(folder: Path) -> None:
    before = sorted(folder.iterdir())
    assert run("export", "kidney_ct", "--precision", "fp16", "--json") == 0
    assert Path("kidney_ct_fp16.safetensors").is_file()
    assert sorted(folder.iterdir()) == before


def test_the_installation_takes_models_and_cards_along() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    patterns = settings["package-data"]["medseg"]
    for name in ("shipped/hippocampus_mr.safetensors", "shipped/hippocampus_mr.json"):
        assert any(fnmatch(name, pattern) for pattern in patterns), name


def test_every_shipped_model_is_small_whole_and_told_of() -> None:
    """Whatever lies in the package now; none is fine."""
    folder = ROOT / "medseg" / "shipped"
    models = shipped_models(folder)
    assert {path.stem for path in folder.glob("*.json")} == {model.path.stem for model in models}
    for model in models:
        assert model.card.name == model.path.stem
        assert model.path.stat().st_size == model.card.bytes <= 12_000_000
        assert read_card(model.path.with_suffix(".json")) == model.card

"""``medseg convert nnunet``: a folder in, a model file out; what cannot run or is hostile is refused."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medseg.cli.app import app
from medseg.convert import convert_nnunet, nnunet_unpickle
from medseg.convert.nnunet import assemble
from medseg.convert.nnunet_checkpoint import Checkpoint, read_checkpoint
from medseg.errors import Code, MedsegError, ModelFileError, UsageError
from medseg.inference import Segmenter
from medseg.modelfile import load_model
from medseg.volume import Geometry, Volume
from support import nnunet

pytest.importorskip(
    "dynamic_network_architectures",
    reason="nnU-Net's networks are not installed: pip install dynamic-network-architectures",
)


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    told = nnunet.architecture()
    weights = nnunet.build(told, 1, 4).state_dict()
    folder = tmp_path_factory.mktemp("results") / "nnUNetTrainer__nnUNetPlans__fullres"
    plans = nnunet.plans(told, schemes=("CTNormalization",))
    return nnunet.write_folder(folder, plans, nnunet.dataset(), nnunet.checkpoint(weights))


def test_from_a_folder_to_a_mask(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.safetensors"
    app(["convert", "nnunet", str(model_folder), "-o", str(path), "--json"], standalone_mode=False)
    told = capsys.readouterr()
    assert json.loads(told.out)["labels"] == {"organ_1": 1, "organ_2": 2, "organ_3": 3}
    assert "taken to be stored LPS" in told.err
    model = load_model(path)
    assert model.experiment.name == "Dataset999_Fake-fullres-fold_0"
    assert model.experiment.sampling.patch_size == nnunet.PATCH[::-1]
    assert model.fitted["spacing_mm"] == [1.5, 1.0, 3.0]
    assert model.fitted["intensity"] == [{"low": -900.0, "high": 900.0, "mean": 50.0, "sd": 300.0}]
    assert model.provenance["trainer"] == "nnUNetTrainer"
    assert model.provenance["epoch"] == 1000
    assert len(model.provenance["checkpoint_sha256"]) == 64
    scan = Volume(
        np.random.default_rng(0).normal(0, 300, (14, 20, 9)).astype(np.int16),
        Geometry((14, 20, 9), np.diag([-1.5, -1.0, 3.0, 1.0])),
    )
    mask = Segmenter.load(path, device="cpu", precision="fp32")(scan)
    assert mask.geometry == scan.geometry
    assert set(np.unique(mask.array)) <= {0, 1, 2, 3}


class RunsCode:
    def __reduce__(self) -> Any:
        return os.system, ("touch medseg-was-here",)


def whole(changes: dict[str, Any]) -> dict[str, Any]:
    return {**nnunet.checkpoint({"weight": torch.ones(2)}), **changes}


HOSTILE = {
    "code among the weights": (whole({"network_weights": RunsCode()}), Code.MODEL_CONTENT),
    "code in the log": (whole({"logging": RunsCode()}), Code.MODEL_CONTENT),
    "weights that are not finite": (
        whole({"network_weights": {"w": torch.tensor([1.0, np.nan])}}),
        Code.MODEL_CONTENT,
    ),
    "4 bytes that claim to be 400 GB": (
        whole({"network_weights": {"w": torch.zeros(1).expand(10**11)}}),
        Code.MODEL_FOREIGN,
    ),
    "another program's checkpoint": ({"state_dict": {"w": torch.ones(1)}}, Code.MODEL_FOREIGN),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_checkpoints(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    saved, code = HOSTILE[name]
    torch.save(saved, tmp_path / "checkpoint.pth")
    with pytest.raises(ModelFileError) as caught:
        read_checkpoint(tmp_path / "checkpoint.pth")
    assert caught.value.code == code
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pth"]


def test_damaged_checkpoint(model_folder: Path, tmp_path: Path) -> None:
    data = (model_folder / "fold_0" / "checkpoint_final.pth").read_bytes()
    path = tmp_path / "checkpoint.pth"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ModelFileError) as caught:
        read_checkpoint(path)
    assert caught.value.code == Code.MODEL_FOREIGN


@pytest.mark.skipif(sys.platform != "linux", reason="what can be given up differs between systems")
def test_the_process_that_unpickles_has_no_rights() -> None:
    """What code would meet if it ever ran there."""
    probe = """
import os, runpy, socket, sys
sandbox = runpy.run_path(sys.argv[1])
sandbox["leave_network"]()
sandbox["give_up_rights"](1000)
def tried(action):
    try:
        action()
    except (OSError, MemoryError):
        return "refused"
    return "done"
print(
    tried(lambda: open("/etc/hostname")),
    tried(lambda: socket.create_connection(("127.0.0.1", 9), 1)),
    tried(lambda: os.pipe()),
    tried(lambda: bytearray(1 << 40)),
    os.geteuid() != 0,
)
"""
    done = subprocess.run(
        [sys.executable, "-I", "-c", probe, nnunet_unpickle.__file__],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["refused"] * 4 + ["True"]


def trained(**changes: Any) -> Checkpoint:
    told = {"trainer": "nnUNetTrainer", "configuration": "fullres", "epoch": 1, "mirror_axes": ()}
    return Checkpoint(**{"weights": {}, "sha256": "", **told, **changes})


REGIONS = {"background": 0, "whole": [1, 2], "core": 2}
REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any], str]] = {
    # network, plans, dataset.json, what the message must hold
    "cascade": ({}, {"previous_stage": "3d_lowres"}, {}, "cascade"),
    "regions without an order": ({}, {}, {"labels": REGIONS}, "regions_class_order"),
    "regions of one value": ({}, {}, {"labels": REGIONS, "regions_class_order": [1, 1]}, "value of its own"),
    "labels with a gap": ({}, {}, {"labels": {"background": 0, "a": 1, "b": 3}}, "count from 1"),
    "own preprocessor": ({}, {"preprocessor_name": "MyPreprocessor"}, {}, "MyPreprocessor"),
    "own normalisation": ({}, {"normalization_schemes": ["Mine"]}, {}, "Mine"),
    "too few normalisations": ({}, {"use_mask_for_norm": []}, {}, "normalization_schemes"),
    "norm before activation swapped": ({"nonlin_first": True}, {}, {}, "nonlin_first"),
    "bottleneck blocks": ({"bottleneck_channels": [4, 4, 4]}, {}, {}, "bottleneck_channels"),
    "another norm": ({"norm_op": "torch.nn.GroupNorm"}, {}, {}, "GroupNorm"),
    "another eps": ({"norm_op_kwargs": {"eps": 1e-3, "affine": True}}, {}, {}, "eps"),
    "another slope": ({"nonlin_kwargs": {"negative_slope": 0.2}}, {}, {}, "negative_slope"),
    "even kernels": ({"kernel_sizes": [[2, 2, 2]] * 3}, {}, {}, "even"),
    "weights of another network": ({}, {}, {}, "not of its network"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_medseg_has_not_is_refused_by_name(name: str, tmp_path: Path) -> None:
    network, changes, dataset, message = REFUSED[name]
    plans = nnunet.plans(nnunet.architecture(**network), **changes)
    nnunet.write_folder(tmp_path, plans, {**nnunet.dataset(), **dataset})
    with pytest.raises(ModelFileError, match=message.replace("(", r"\(").replace(")", r"\)")):
        assemble(tmp_path, tmp_path / "fold_0" / "checkpoint_final.pth", trained())


@pytest.mark.parametrize("reader", ["NaturalImage2DIO", "Tiff3DIO"])
def test_images_without_a_place_are_refused(reader: str, tmp_path: Path) -> None:
    plans = nnunet.plans(nnunet.architecture()) | {"image_reader_writer": reader}
    nnunet.write_folder(tmp_path, plans, nnunet.dataset())
    with pytest.raises(ModelFileError, match=reader):
        assemble(tmp_path, tmp_path / "fold_0" / "checkpoint_final.pth", trained())


def test_a_reader_that_turns_scans_tells_their_orientation(tmp_path: Path) -> None:
    told = nnunet.architecture()
    weights, _ = nnunet_unpickle.wanted(nnunet.checkpoint(nnunet.build(told, 1, 4).state_dict()), torch)
    plans = nnunet.plans(told) | {"image_reader_writer": "NibabelIOWithReorient"}
    nnunet.write_folder(tmp_path, plans, nnunet.dataset())
    path = tmp_path / "fold_0" / "checkpoint_final.pth"
    converted = assemble(tmp_path, path, trained(weights=weights))
    assert converted.model.experiment.preprocessing.orientation == "RAS"
    assert converted.notes == ()
    with pytest.raises(UsageError, match="turned all scans to RAS"):
        assemble(tmp_path, path, trained(weights=weights), "LPS")


def test_plans_of_older_versions_mean_the_same(tmp_path: Path) -> None:
    new = nnunet.plans(nnunet.architecture())
    network = nnunet.build(nnunet.architecture(), 1, 4)
    weights, _ = nnunet_unpickle.wanted(nnunet.checkpoint(network.state_dict()), torch)
    old = json.loads(json.dumps(new))
    kwargs = old["configurations"]["fullres"].pop("architecture")["arch_kwargs"]
    old["configurations"]["base"] = old["configurations"].pop("fullres") | {
        "UNet_class_name": "PlainConvUNet",
        "UNet_base_num_features": 4,
        "unet_max_num_features": 12,
        "n_conv_per_stage_encoder": kwargs["n_conv_per_stage"],
        "n_conv_per_stage_decoder": kwargs["n_conv_per_stage_decoder"],
        "pool_op_kernel_sizes": kwargs["strides"],
        "conv_kernel_sizes": kwargs["kernel_sizes"],
        "num_pool_per_axis": [1, 2, 1],
    }
    old["configurations"]["fullres"] = {"inherits_from": "base"}
    models = []
    for name, plans in (("new", new), ("old", old)):
        folder = nnunet.write_folder(tmp_path / name, plans, nnunet.dataset())
        path = folder / "fold_0" / "checkpoint_final.pth"
        models.append(assemble(folder, path, trained(weights=weights)).model)
    assert models[0].experiment == models[1].experiment


FOLDERS: dict[str, tuple[dict[str, str], Code]] = {
    "no plans": ({"plans.json": ""}, Code.NO_MODEL_FILE),
    "plans that are not JSON": ({"plans.json": "{"}, Code.MODEL_DAMAGED),
    "plans that nest without end": ({"plans.json": "[" * 100_000}, Code.MODEL_DAMAGED),
    "plans of something else": ({"plans.json": "{}"}, Code.MODEL_FOREIGN),
    "a list for a dataset": ({"dataset.json": "[]"}, Code.MODEL_FOREIGN),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_folders_that_are_no_model(name: str, tmp_path: Path) -> None:
    files, code = FOLDERS[name]
    nnunet.write_folder(tmp_path, nnunet.plans(nnunet.architecture()), nnunet.dataset())
    for file, text in files.items():
        (tmp_path / file).unlink()
        if text:
            (tmp_path / file).write_text(text)
    with pytest.raises(ModelFileError) as caught:
        assemble(tmp_path, tmp_path / "fold_0" / "checkpoint_final.pth", trained())
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"folds": "3"}, "no fold_3/checkpoint_final.pth; there are folds 0"),
        ({"checkpoint": "checkpoint_best.pth"}, "there is no fold"),
        ({"orientation": "LPL"}, "three letters"),
    ],
)
def test_options_that_do_not_fit(options: dict[str, str], message: str, model_folder: Path) -> None:
    with pytest.raises(MedsegError, match=message):
        convert_nnunet(model_folder, **options)

"""Folds averaged and regions told apart as nnU-Net does it, against its own networks."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from medseg.convert import convert_nnunet
from medseg.convert.nnunet import _find_folds, assemble
from medseg.convert.nnunet_checkpoint import Checkpoint
from medseg.convert.nnunet_unpickle import wanted
from medseg.errors import UsageError
from medseg.inference import Segmenter
from medseg.volume import Geometry, Volume
from support import nnunet

pytest.importorskip(
    "dynamic_network_architectures",
    reason="nnU-Net's networks are not installed: pip install dynamic-network-architectures",
)
SHAPE = nnunet.PATCH[::-1]


def scan() -> Volume:
    """Noise stored LPS, one window large, of the plans' spacing."""
    array = np.random.default_rng(3).normal(size=SHAPE).astype(np.float32)
    return Volume(array, Geometry(SHAPE, np.diag([-1.5, -1.0, 3.0, 1.0])))


def networks(told: dict[str, Any], count: int, outputs: int) -> list[nn.Module]:
    """Their networks with weights of their own each."""
    made = []
    for index in range(count):
        network = nnunet.build(told, 1, outputs)
        torch.manual_seed(index)
        with torch.no_grad():
            for weight in network.parameters():
                weight.add_(0.2 * torch.randn_like(weight) * weight.abs().mean())
        made.append(network)
    return made


def logits(network: nn.Module) -> np.ndarray:
    data = torch.from_numpy(scan().array.T.copy())[None, None]
    with torch.inference_mode():
        return network(data)[0].numpy().transpose(0, 3, 2, 1)


@pytest.mark.nightly
def test_folds_are_averaged(tmp_path: Path) -> None:
    told = nnunet.architecture()
    theirs = networks(told, 3, 4)
    for fold, network in enumerate(theirs):
        folder = nnunet.write_folder(
            tmp_path, nnunet.plans(told), nnunet.dataset(), nnunet.checkpoint(network.state_dict())
        )
        (folder / "fold_0").rename(folder / f"fold_{fold + 1}")
    converted = convert_nnunet(tmp_path)
    assert converted.model.members == 3
    assert converted.model.experiment.name == "Dataset999_Fake-fullres-folds_1_2_3"
    assert "3 folds (1, 2, 3) are averaged" in converted.notes[0]
    expected = np.mean([logits(network) for network in theirs], axis=0).argmax(0)
    alone = logits(theirs[0]).argmax(0)
    mask = Segmenter.from_model(converted.model, device="cpu", precision="fp32")(scan()).array
    assert np.mean(mask == expected) > 0.999
    assert np.mean(mask == alone) < 0.99


CHOICES: list[tuple[list[str], str | None, list[str]]] = [
    # folds there, wanted, chosen
    (["0"], None, ["0"]),
    (["0", "1", "2", "3", "4"], None, ["0", "1", "2", "3", "4"]),
    (["0", "1", "all"], None, ["0", "1"]),
    (["all"], None, ["all"]),
    (["0", "1", "all"], "all", ["all"]),
    (["0", "1"], "all", ["0", "1"]),
    (["0", "1", "2"], "2, 0,2", ["2", "0"]),
]


@pytest.mark.parametrize(("there", "asked", "chosen"), CHOICES)
def test_which_folds(there: list[str], asked: str | None, chosen: list[str], tmp_path: Path) -> None:
    for fold in there:
        (tmp_path / f"fold_{fold}").mkdir()
        (tmp_path / f"fold_{fold}" / "checkpoint_final.pth").touch()
    assert _find_folds(tmp_path, asked, "checkpoint_final.pth") == chosen


@pytest.mark.parametrize("asked", ["7", "0,7", "", ",", "../fold_0", "0;1"])
def test_folds_that_are_not_there(asked: str, tmp_path: Path) -> None:
    (tmp_path / "fold_0").mkdir()
    (tmp_path / "fold_0" / "checkpoint_final.pth").touch()
    with pytest.raises(UsageError, match="there are folds 0: choose with --folds"):
        _find_folds(tmp_path, asked, "checkpoint_final.pth")


def trained(network: nn.Module) -> Checkpoint:
    """What a checkpoint of ``network`` is read as, without the process that reads one."""
    weights, told = wanted(nnunet.checkpoint(network.state_dict()), torch)
    told["mirror_axes"] = tuple(told["mirror_axes"])
    return Checkpoint(weights, "0" * 64, **told)


def test_regions(tmp_path: Path) -> None:
    """Sigmoid heads above one half, each painted over those before it."""
    told = nnunet.architecture()
    (network,) = networks(told, 1, 3)
    with torch.no_grad():
        bias = network.get_submodule("decoder.seg_layers")[-1].bias
        bias -= torch.from_numpy(np.median(logits(network), axis=(1, 2, 3)))
    labels = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3}
    dataset = {**nnunet.dataset(), "labels": labels, "regions_class_order": [2, 7, 4]}
    nnunet.write_folder(tmp_path, nnunet.plans(told), dataset)
    converted = assemble(tmp_path, tmp_path / "fold_0" / "checkpoint_final.pth", trained(network))
    assert converted.model.experiment.labels == {"whole": 2, "core": 7, "enhancing": 4}
    assert any("regions that may overlap" in note for note in converted.notes)
    expected = np.zeros(SHAPE, int)
    for value, score in zip([2, 7, 4], logits(network), strict=True):
        expected[score > 0] = value
    mask = Segmenter.from_model(converted.model, device="cpu", precision="fp32")(scan()).array
    assert set(np.unique(expected)) == {0, 2, 7, 4}
    assert np.mean(mask == expected) > 0.999


def test_resampling_of_its_own_is_told(tmp_path: Path) -> None:
    told = nnunet.architecture()
    (network,) = networks(told, 1, 4)
    usual = nnunet.plans(told)
    own = json.loads(json.dumps(usual))
    own["configurations"]["fullres"]["resampling_fn_data_kwargs"]["order"] = 1
    found = []
    for name, plans in (("usual", usual), ("own", own)):
        folder = nnunet.write_folder(tmp_path / name, plans, nnunet.dataset())
        converted = assemble(folder, folder / "fold_0" / "checkpoint_final.pth", trained(network))
        told_so = any("resampled by" in note for note in converted.notes)
        found.append((converted.model.experiment.preprocessing.resampling, told_so))
    assert found == [("cubic", False), ("linear", True)]

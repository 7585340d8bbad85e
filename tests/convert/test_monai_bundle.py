"""``medseg convert monai``: a bundle in, a model file out; what cannot run or is hostile is refused."""

import json
import os
import shutil
import zipfile
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch

from medseg.cli.app import app
from medseg.convert import convert_monai
from medseg.convert.monai_expressions import Expressions
from medseg.errors import Code, MedsegError, ModelFileError
from medseg.modelfile import load_model, load_network
from support import monai_bundle as theirs

pytestmark = pytest.mark.filterwarnings("ignore")  # MONAI's own


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zoo") / "toy_ct_segmentation"
    return theirs.write_bundle(folder, theirs.inference(), theirs.build(theirs.UNET))


def packed(bundle: Path, path: Path, *more: str) -> Path:
    """As the zoo packs them: below a folder of the bundle's name."""
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(bundle.rglob("*.*")):
            archive.write(file, f"{bundle.name}/{file.relative_to(bundle)}")
        for name in more:
            archive.writestr(name, "here")
    return path


def changed(
    bundle: Path, folder: Path, config: dict[str, Any], metadata: dict[str, Any] | None = None
) -> Path:
    shutil.copytree(bundle, folder)
    (folder / "configs" / "inference.json").write_text(json.dumps(config))
    if metadata is not None:
        (folder / "configs" / "metadata.json").write_text(json.dumps(metadata))
    return folder


def test_from_an_archive_to_a_model_file(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "model.safetensors"
    archive = packed(bundle, tmp_path / "toy_v0.1.0.zip")
    app(["convert", "monai", str(archive), "-o", str(out), "--json"], standalone_mode=False)
    told = capsys.readouterr()
    assert json.loads(told.out)["labels"] == {"liver": 1, "left kidney": 2, "right kidney": 3}
    assert "trained on: noise" in told.err
    assert "licence" in told.err
    model = load_model(out)
    experiment = model.experiment
    assert experiment.name == "toy_ct_segmentation"
    assert experiment.sampling.patch_size == (32, 32, 16)
    assert experiment.preprocessing.spacing_mm == (1.5, 1.25, 2.0)
    assert experiment.inference.overlap == 0.25
    assert model.provenance["converted_from"] == "MONAI bundle"
    assert len(model.provenance["checkpoint_sha256"]) == 64
    x = torch.randn((1, 1, 32, 32, 16), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(load_network(model)(x), theirs.build(theirs.UNET)(x), rtol=1e-4, atol=1e-4)


class RunsCode:
    def __reduce__(self) -> Any:
        return os.system, ("touch medseg-was-here",)


def test_code_in_the_weights_is_not_run(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = changed(bundle, tmp_path / "evil", theirs.inference())
    torch.save({"weight": RunsCode()}, folder / "models" / "model.pt")
    with pytest.raises(ModelFileError, match=r"models/model.pt: holds .*system") as caught:
        convert_monai(folder)
    assert caught.value.code == Code.MODEL_CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["evil"]


def test_torchscript_is_not_opened(bundle: Path, tmp_path: Path) -> None:
    folder = changed(bundle, tmp_path / "scripted", theirs.inference())
    with zipfile.ZipFile(folder / "models" / "model.pt", "w") as archive:
        archive.writestr("model/constants.pkl", b"")
        archive.writestr("model/code/__torch__.py", "def forward(): ...")
    with pytest.raises(ModelFileError, match=r"TorchScript.*state_dict"):
        convert_monai(folder)
    (folder / "models" / "model.pt").rename(folder / "models" / "model.ts")
    with pytest.raises(ModelFileError, match=r"model.ts is TorchScript"):
        convert_monai(folder)


@pytest.mark.parametrize("name", ["../evil.txt", "/etc/evil", "a\\..\\evil", "toy/../../evil"])
def test_archives_whose_names_lead_out_are_refused(name: str, bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="made to deceive") as caught:
        convert_monai(packed(bundle, tmp_path / "toy.zip", name))
    assert caught.value.code == Code.MODEL_CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["toy.zip"]


def with_network(**changes: Any) -> dict[str, Any]:
    return theirs.inference({**theirs.UNET, **changes})


def with_step(step: dict[str, Any]) -> dict[str, Any]:
    config = theirs.inference()
    config["preprocessing"]["transforms"].append(step)
    return config


def windows(**changes: Any) -> dict[str, Any]:
    return theirs.inference(inferer={**theirs.WINDOWS, **changes})


def finishing(*steps: dict[str, Any]) -> dict[str, Any]:
    return theirs.inference(postprocessing={"_target_": "Compose", "transforms": list(steps)})


RUN = "$__import__('os').system('touch medseg-was-here')"
CROP = {"_target_": "CropForegroundd", "keys": "image", "source_key": "image"}
SPLINE = {"_target_": "Spacingd", "keys": "image", "pixdim": [1, 1, 1], "mode": 3}
FLIP = {"_target_": "scripts.transforms.MyFlipd", "keys": "image"}
SIGMOID = {"_target_": "Activationsd", "keys": "pred", "sigmoid": True}
LAMBDA = {"_target_": "Lambdad", "keys": "pred", "func": "$lambda x: x"}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "code as a number": (with_network(out_channels=RUN), r"network_def.out_channels: .*never run"),
    "code as an argument": (with_network(act=RUN), r"network_def.act: .*Call"),
    "code in the windows": (windows(roi_size=RUN), "inferer.roi_size"),
    "code behind a reference": (theirs.inference(pixdim=RUN), "pixdim"),
    "an attribute": (with_network(norm="$@device.type"), "Attribute"),
    "a comprehension": (theirs.inference(pixdim="$[1.5 for _ in range(3)]"), "ListComp"),
    "references in a circle": (theirs.inference(pixdim="@image_key", image_key="@pixdim"), "deeper than"),
    "a reference to nothing": (theirs.inference(pixdim="@nowhere#0"), r"nowhere\.0 is not"),
    "another file": (theirs.inference(pixdim="%../secret.json::x"), "another file"),
    "a long text": (theirs.inference(pixdim="$'a' * 10**9"), "pixdim"),
    "a network of its own": (with_network(_target_="scripts.networks.unest.UNesT"), "UNesT.*SwinUNETR"),
    "a network by another path": (with_network(_target_="os.system"), "os.system"),
    "an argument that is not known": (with_network(dimension_order=1), "dimension_order"),
    "an object as an argument": (with_network(act={"_target_": "os.system"}), "give its name as text"),
    "a 2D network": (with_network(spatial_dims=2), "slices"),
    "strides of no number": (with_network(strides=[2, "two"]), "model.arguments"),
    "arguments that MONAI refuses": (with_network(norm="no_such_norm"), "cannot be built"),
    "a step that crops": (with_step(CROP), r"CropForegroundd is a step that medseg has not"),
    "a step of its own": (with_step(FLIP), r"preprocessing.transforms.6: scripts.transforms.MyFlipd"),
    "a spline": (with_step(SPLINE), "bilinear"),
    "no window": (windows(_target_="SimpleInferer"), "SlidingWindowInferer is expected"),
    "windows of no size": (windows(roi_size=-1), "roi_size"),
    "windows that do not divide": (windows(roi_size=30), "divide by 4"),
    "overlapping structures": (
        finishing(SIGMOID, {"_target_": "AsDiscreted", "keys": "pred", "threshold": 0.5}), "may overlap"
    ),
    "a lambda": (finishing(theirs.SOFTMAX, theirs.ARGMAX, LAMBDA), "Lambdad"),
    "no decision": (finishing(theirs.SOFTMAX, theirs.SAVE), "argmax: true"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_medseg_has_not_is_refused_by_name(
    name: str, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # weights are what takes time to read; these refusals come without them, or with those of a UNet
    monkeypatch.setattr(
        "medseg.convert.monai._weights", lambda *_: (theirs.build(theirs.UNET).state_dict(), "")
    )
    config, message = REFUSED[name]
    with pytest.raises(ModelFileError, match=message):
        convert_monai(changed(bundle, tmp_path / "bundle", config))
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_labels_have_to_be_named(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"3 names .* of 4 outputs"):
        convert_monai(
            changed(
                bundle, tmp_path / "bundle", theirs.inference(), theirs.metadata(("background", "a", "b"))
            )
        )


def test_stored_orientation_has_to_be_told_where_nothing_turns_scans(bundle: Path, tmp_path: Path) -> None:
    config = theirs.inference()
    config["preprocessing"]["transforms"] = [theirs.WINDOW]
    folder = changed(bundle, tmp_path / "bundle", config)
    with pytest.raises(MedsegError, match="--orientation RAS"):
        convert_monai(folder)
    with pytest.raises(MedsegError, match="three letters"):
        convert_monai(folder, orientation="SPL")
    with pytest.raises(MedsegError, match="turns all scans to RAS"):
        convert_monai(bundle, orientation="LPS")
    preprocessing = convert_monai(folder, orientation="LPS").model.experiment.preprocessing
    assert preprocessing.orientation == "LPS"
    assert preprocessing.keep_spacing == ("i", "j", "k")


def test_plain_values_are_worked_out() -> None:
    raw = {
        "sizes": [96, {"k": 32}],
        "names": {"liver": 1, "spleen": 2},
        "half": "$@sizes#0 // 2 + 1",
        "outputs": "$len(@names) + 1",
        "deep": "$@sizes::1::k",
        "chosen": "$[1.5, -1] if not @names#liver == 2 else 'x'",
        "joined": "$@list + [3]",
        "list": [1, "$1 + 1"],
        "path": "$'models' + '/' + 'model.pt'",
    }
    before = deepcopy(raw)
    bundle = Expressions(raw, "configs")
    told = {name: bundle.at(name) for name in ("half", "outputs", "deep", "chosen", "joined", "path")}
    assert told == {
        "half": 49,
        "outputs": 3,
        "deep": 32,
        "chosen": [1.5, -1],
        "joined": [1, 2, 3],
        "path": "models/model.pt",
    }
    assert raw == before

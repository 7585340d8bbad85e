"""Loading a configuration: every problem in one line, in the words of the user's file."""

import json
from pathlib import Path

import pytest
import yaml

from medseg.config import Experiment, dump_experiment, load_experiment, parse_experiment
from medseg.errors import ConfigError

BASE = """\
name: trial
labels: {left_kidney: 1, right_kidney: 7, liver: 3}
data: {cohort: somewhere}
preprocessing:
  intensity: {kind: window}
sampling: {patch_size: [32, 32, 32]}
model: {kind: unet}
training:
  stop: {epochs: 2}
augmentation:
  - kind: flip
  - {kind: noise, p: 0.3}
"""

INTERNALS = (
    "function-", "tagged-union", "constrained", "literal[", "tuple[", "dict[", "[key]", "nput should",
    "instance of", "Config", "value_error", "nullable",
)  # fmt: skip


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "trial.yaml"
    path.write_text(BASE)
    return path


def problems(path: Path, *overrides: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load_experiment(path, overrides)
    return caught.value.problems


def test_a_small_file_is_enough(config: Path) -> None:
    experiment = load_experiment(config)
    assert experiment.name == "trial"
    assert experiment.class_count == 4 and experiment.channel_count == 1
    assert [augmentation.kind for augmentation in experiment.augmentation] == ["flip", "noise"]


@pytest.mark.parametrize(
    ("override", "told"),
    [
        (
            "model.kind=unnet",
            "model.kind: found 'unnet'; expected one of unet, vnet, segresnet, swin_unetr, monai (did you",
        ),
        ("model={}", "model.kind: missing; give one of unet, vnet"),
        ("model=unet", "model: found 'unet'; expected {kind: ...}, kind being one of unet"),
        ("model=null", "model: found nothing; expected {kind: ...}"),
        ("model=[1]", "model: found [1]; expected {kind"),
        ("model.chanels=[8, 16]", "model.chanels: unknown key (did you mean channels?)"),
        ("model.channels=x", "model.channels: found 'x'; expected a list"),
        ("model.channels=[4, x]", "model.channels.1: found 'x'; expected a whole number"),
        ("model.channels=[4]", "model: channels: at least two stages"),
        ("model.kernel=a", "model.kernel: found 'a'; expected a whole number or a list"),
        ("model.kernel=[[3, 3, 1], [3, x]]", "model.kernel.1.1: found 'x'; expected a whole number"),
        ("model.blocks=[1, 0]", "model.blocks.1: found 0; expected at least 1"),
        ("model.strides=[[1, 1]]", "model: strides has 1 entries for 4 stages"),
        ("training.loss=dise", "training.loss.kind: found 'dise'; expected one of dice, ce"),
        ("training.loss=3", "training.loss: found 3; expected {kind: ...}"),
        ("training.loss={kind: dice, x: 1}", "training.loss.x: unknown key (known here: kind)"),
        ("training.loss={kind: focal, gama: 1}", "training.loss.gama: unknown key (did you mean gamma?)"),
        (
            "training.optimizer={kind: sgd, momentum: 2}",
            "training.optimizer.momentum: found 2; expected at most 1",
        ),
        ("training.stop={}", "training.stop: give epochs, minutes or both"),
        ("training.stop.epochs=0", "training.stop.epochs: found 0; expected at least 1"),
        ("training.stop.minutes=20m", "training.stop.minutes: found '20m'; expected a number"),
        ("training.workers=many", "training.workers: found 'many'; expected a whole number or auto"),
        ("training.precision=fp8", "training.precision: found 'fp8'; expected one of auto, fp32, bf16, fp16"),
        ("training.ema=2", "training.ema: found 2; expected less than 1"),
        ("training.learning_rate=.nan", "training.learning_rate: found nan; expected a finite number"),
        ("training.batch_size=2.5", "training.batch_size: found 2.5; expected a whole number"),
        ("preprocessing.intensity=[]", "preprocessing.intensity has 0 entries for 1 channel"),
        (
            "preprocessing.intensity.kind=windw",
            "preprocessing.intensity.kind: found 'windw'; expected one of window",
        ),
        ("preprocessing.intensity.width=-1", "preprocessing.intensity.width: found -1; expected more than 0"),
        (
            "preprocessing.intensity=[{kind: window, widht: 3}]",
            "preprocessing.intensity.0.widht: unknown key",
        ),
        ("preprocessing.intensity={kind: percentile, low: 60, high: 2}", "low 60.0 must be below high 2.0"),
        ("preprocessing.spacing_mm=[1, 2]", "preprocessing.spacing_mm: found 2 entries; expected 3"),
        (
            "preprocessing.spacing_mm=[1, 2, 3, 4]",
            "preprocessing.spacing_mm: found [1, 2, 3, 4]; expected at most 3",
        ),
        ("preprocessing.crop={}", "preprocessing.crop.above: missing, and it has no default"),
        ("augmentation=[{kind: spatil}]", "augmentation.0.kind: found 'spatil'"),
        ("augmentation=[flip]", "augmentation.0: found 'flip'; expected {kind: ...}"),
        ("augmentation={kind: flip}", "augmentation: found {'kind': 'flip'}; expected a list"),
        ("augmentation.0.axes=[up]", "augmentation.0.axes.0: found 'up'; expected one of left_right"),
        (
            "augmentation=[{kind: spatial, rotation_deg: x}]",
            "rotation_deg: found 'x'; expected a number or a list",
        ),
        ("augmentation=[{kind: spatial, rotation_deg: [1, 2]}]", "rotation_deg: found 2 entries; expected 3"),
        (
            "augmentation=[{kind: spatial, elastic: {point: 3}}]",
            "augmentation.0.elastic.point: unknown key (did you",
        ),
        ("labels={}", "labels: found {}; expected at least 1"),
        ("labels={1: 1}", "labels.1: found 1; expected text (in quotes)"),
        ("labels={a: 0}", "labels: a: 0 is background"),
        ("labels={a: 1, b: 1}", "labels: two structures have the same value"),
        ("labels={a/b: 1}", "labels: 'a/b': a structure's name has"),
        ("left_right_pairs=[[liver]]", "left_right_pairs.0: found 1 entries; expected 2"),
        ("left_right_pairs=[[liver, lung]]", "left_right_pairs: lung not in labels"),
        ("left_right_pairs=[[liver, liver]]", "left_right_pairs: a structure is there twice"),
        ("data.fold=7", "data: fold 7 is not one of 0 to 4"),
        ("data.held_out=1.5", "data: held_out 1.5: give a share below 1"),
        ("data.held_out=x", "data.held_out: found 'x'; expected a whole number or a number"),
        ("data.channels={ct: 3}", "data.channels.ct: found 3; expected text"),
        ("data=x", "data: found 'x'; expected a mapping of keys to values"),
        ("evaluation.metrics=[dise]", "evaluation.metrics.0: found 'dise'; expected one of dice"),
        ("inference.postprocessing.largest_component=[lung]", "largest_component: lung not in labels"),
        ("name=a b", "name: found 'a b'; expected letters, digits"),
        ("nmae=x", "nmae: unknown key (did you mean name?)"),
        ("trainng.stop.minutes=3", "trainng: unknown key (did you mean training?)"),
    ],
)
def test_errors_speak_of_the_file_and_not_of_pydantic(config: Path, override: str, told: str) -> None:
    lines = problems(config, override)
    assert lines[0].startswith(f"{config}: ") and told in lines[0]
    assert lines[-1].endswith("nothing was run")
    assert len(lines) == 2, lines
    text = "\n".join(lines).replace(str(config), "")
    assert not [word for word in INTERNALS if word in text]


def test_all_problems_at_once(config: Path) -> None:
    lines = problems(config, "model.chanels=[1]", "training.stop.epochs=0", "data.folds=1", "labels.liver=x")
    assert len(lines) == 5
    assert lines[-1] == f"{config}: 4 problems; nothing was run"


def test_a_key_of_another_kind_is_unknown(config: Path) -> None:
    assert "model.narrow_first: unknown key" in "\n".join(
        problems(config, "model={kind: vnet, narrow_first: true}")
    )


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["training.stop.minutes=20"], {"training.stop.minutes": 20}),
        (["data.cohort=../x/y"], {"data.cohort": "../x/y"}),
        (["augmentation.1.p=0.7"], {"augmentation.1.p": 0.7}),
        (["augmentation.1={kind: blur}"], {"augmentation.1.kind": "blur"}),
        (["augmentation=[]"], {"augmentation": ()}),
        (["sampling.patch_size.2=1", "sampling.patch_size.0=64"], {"sampling.patch_size": (64, 32, 1)}),
        (["data.channels.t2=*_t2*"], {"data.channels": {"t2": "*_t2*"}}),
        (["preprocessing.crop.above=-300"], {"preprocessing.crop.above": -300}),
        (["training.ema=null"], {"training.ema": None}),
        (["training.learning_rate=1e-4"], {"training.learning_rate": 1e-4}),
        (["labels.spleen=205"], {"labels": {"left_kidney": 1, "right_kidney": 7, "liver": 3, "spleen": 205}}),
        (["training.loss=focal"], {"training.loss.kind": "focal"}),
        (["description=a=b"], {"description": "a=b"}),
    ],
)
def test_overrides(config: Path, overrides: list[str], expected: dict[str, object]) -> None:
    experiment = load_experiment(config, overrides)
    for dotted, value in expected.items():
        found: object = experiment
        for part in dotted.split("."):
            found = found[int(part)] if part.isdigit() else getattr(found, part)  # type: ignore[index]
        assert found == value


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("training.stop.minutes", "write key=value"),
        ("=3", "write key=value"),
        ("augmentation.5.p=1", "'5' is not an entry of the list (0 to 1)"),
        ("augmentation.x.p=1", "'x' is not an entry of the list"),
        pytest.param(
            f"augmentation.{'9' * 5000}.p=1", "is not an entry of the list (0 to 1)", id="endless index"
        ),
        ("name.x=1", "name is a single value and has no keys"),
        ("name.x.y=1", "name.x is a single value and has no keys"),
        ("model=[", "--set model=["),
        ("model={kind: &a unet, plane: *a}", "anchors and aliases are not used"),
    ],
)
def test_overrides_that_cannot_be(config: Path, override: str, told: str) -> None:
    (line,) = problems(config, override)
    assert line.startswith(f"--set {override:.200}") and told in line


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["model={kind: vnet}", "training.loss={kind: tversky, alpha: 0.4}", "training.optimizer=sgd"],
        ["model={kind: unet, kernel: [[3, 3, 1], [3, 3, 3]], blocks: [1, 2], channels: [8, 16]}"],
        ["data.held_out=40", "data.channels={t2: '*t2*', adc: '*adc*'}", "training.workers=2"],
        ["preprocessing={intensity: [{kind: fitted}], spacing_mm: [1, 1, 2.5], crop: {above: -300}}"],
        ["augmentation=[{kind: spatial, rotation_deg: [1, 2, 3], elastic: {}}, {kind: ghosting}]"],
        [
            "left_right_pairs=[]",
            "inference.postprocessing={minimum_volume_ml: {liver: 3}}",
            "description=Çiçek 2016",
        ],
    ],
)
def test_dumped_and_loaded_again(tmp_path: Path, config: Path, overrides: list[str]) -> None:
    experiment = load_experiment(config, overrides)
    again = tmp_path / "again.yaml"
    again.write_text(dump_experiment(experiment), encoding="utf-8")
    assert load_experiment(again) == experiment
    assert list(load_experiment(again).labels) == list(experiment.labels)
    assert parse_experiment(json.loads(json.dumps(experiment.model_dump(mode="json"))), "json") == experiment


def test_the_order_of_labels_is_that_of_the_file(config: Path) -> None:
    assert load_experiment(config).class_pairs == ((1, 2),)
    swapped = load_experiment(config, ["labels={right_kidney: 1, liver: 2, left_kidney: 3}"])
    assert swapped.class_pairs == ((3, 1),)
    assert load_experiment(config, ["left_right_pairs=[]"]).class_pairs == ()


def test_json_schema_tells_editors_everything() -> None:
    schema = Experiment.model_json_schema()
    json.dumps(schema)
    assert schema["additionalProperties"] is False
    assert set(schema["required"]) >= {"name", "labels", "data", "model", "training"}
    kinds = schema["properties"]["model"]["discriminator"]["mapping"]
    assert set(kinds) == {"unet", "vnet", "segresnet", "swin_unetr", "monai"}
    assert "held_out" in schema["$defs"]["DataConfig"]["properties"]
    assert "final test" in schema["$defs"]["DataConfig"]["properties"]["held_out"]["description"]


def test_every_setting_of_the_data_is_explained() -> None:
    settings = Experiment.model_json_schema()["$defs"]["DataConfig"]["properties"]
    assert [name for name, value in settings.items() if "description" not in value] == []


def test_experiments_are_frozen(config: Path) -> None:
    experiment = load_experiment(config)
    with pytest.raises(ValueError, match="frozen"):
        experiment.name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[2] / "configs").glob("*.y*ml")), ids=lambda p: p.name
)
def test_shipped_configurations_load(path: Path) -> None:
    experiment = load_experiment(path)
    assert parse_experiment(yaml.safe_load(dump_experiment(experiment)), "dump") == experiment

"""medseg export"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medseg.cli.options import Json

if TYPE_CHECKING:
    from medseg.config import DataConfig
    from medseg.modelfile import ModelFile


def export(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A model at hand, a model file or a run folder.")
    ],
    to: Annotated[
        str | None, typer.Option(help="onnx or openvino: the network alone, for other runtimes.")
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            help="int8: a model file that medseg infer --precision int8 takes. fp16: one of half the size, "
            "computed with in the precision of the device."
        ),
    ] = None,
    calibrate: Annotated[
        str | None,
        typer.Option(
            metavar="CONFIG_OR_COHORT",
            help="int8: the experiment (a YAML file) or cohort that trained the model. Its training "
            "cases calibrate, its validation cases tell what int8 costs.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="The file to write. Default: beside the model.")
    ] = None,
    json: Json = False,
) -> int:
    """Write a model for other runtimes, for eight-bit integers, or at half the size.

    medseg export model.safetensors --to onnx

    medseg export model.safetensors --precision fp16

    medseg export model.safetensors --precision int8 --calibrate configs/prostate_ct.yaml

    An exported network is read back and compared with the model before it gets its name. int8 is faster
    where the processor has instructions for it, and costs a little accuracy: the Dice of both is printed,
    kept in the file, and told whenever int8 is used.
    """
    from medseg.errors import Code, UsageError
    from medseg.modelfile import load_model
    from medseg.shipped import find_model

    path = find_model(model)
    if (to is None) == (precision is None):
        raise UsageError(
            Code.OPTION, "export: give one of --to onnx, --to openvino, --precision int8 or fp16"
        )
    if to is not None:
        if to not in ("onnx", "openvino"):
            raise UsageError(Code.OPTION, f"--to {to}: give onnx or openvino")
        return _network(load_model(path), path, to, out, json)
    if precision == "fp16":
        return _half(load_model(path), path, out, json)
    if precision != "int8" or calibrate is None:
        raise UsageError(
            Code.OPTION,
            f"--precision {precision}: write --precision int8 --calibrate CONFIG, or --precision fp16",
        )
    return _int8(load_model(path), path, calibrate, out, json)


def _network(model: "ModelFile", path: Path, to: str, out: Path | None, json: bool) -> int:
    from medseg.cli.printing import print_json, say
    from medseg.inference.export import SUFFIX, export_network

    target: Any = to
    place = out or _beside(path).with_suffix(SUFFIX[target])
    parity = export_network(model, target, place)
    if json:
        told = {"difference": parity.difference, "allowed": parity.allowed, "runtime": parity.runtime}
        print_json({"file": str(place), **told})
    else:
        say(f"{parity}\n{model.experiment.name} -> {place}")
    return 0


def _int8(model: "ModelFile", path: Path, calibrate: str, out: Path | None, json: bool) -> int:
    from medseg.cli.display import Bars
    from medseg.cli.printing import print_json, say
    from medseg.inference.quantise import cost_line
    from medseg.modelfile import save_model
    from medseg.training.int8 import to_int8

    place = _another(path, "int8", out)
    with Bars() as bars:
        quantised = to_int8(model, _data(model, calibrate), bars.show)
    save_model(place, quantised)
    measured = quantised.quantisation["measured"]
    if json:
        print_json({"model": str(place), **measured})
        return 0
    say(cost_line(quantised.quantisation) or "")
    for name in model.experiment.labels:
        if name in measured["dice"]["fp32"]:
            fp32, int8 = measured["dice"]["fp32"][name], measured["dice"]["int8"][name]
            say(f"  {name}: {int8:.4f}, fp32 {fp32:.4f} ({int8 - fp32:+.4f})")
    say(f"{model.experiment.name} -> {place}")
    return 0


def _half(model: "ModelFile", path: Path, out: Path | None, json: bool) -> int:
    from medseg.cli.printing import print_json, say
    from medseg.modelfile import save_model

    place = _another(path, "fp16", out)
    save_model(place, model, half=True)
    before, after = path.stat().st_size, place.stat().st_size
    if json:
        print_json({"model": str(place), "bytes": after, "bytes_before": before})
    else:
        say(f"{model.experiment.name}: {after / 1e6:.1f} MB, {before / 1e6:.1f} MB before -> {place}")
    return 0


def _another(path: Path, precision: str, out: Path | None) -> Path:
    from medseg.errors import Code, UsageError

    beside = _beside(path)
    place = out or beside.with_name(f"{path.stem}_{precision}{path.suffix}")
    if place.resolve() == path.resolve():
        raise UsageError(Code.OPTION, f"--out {place}: is the model itself; give another name")
    return place


def _beside(path: Path) -> Path:
    """The model's own folder; for a model at hand the working folder: nothing is put into the package."""
    from medseg.shipped import is_shipped

    return Path(path.name) if is_shipped(path) else path


def _data(model: "ModelFile", calibrate: str) -> "DataConfig":
    """The cohort's settings: those of a configuration, or the model's own with another place."""
    from medseg.config import load_experiment

    if Path(calibrate).suffix.lower() in (".yaml", ".yml"):
        return load_experiment(Path(calibrate)).data
    return model.experiment.data.model_copy(update={"cohort": calibrate})

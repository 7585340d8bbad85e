"""A model's network for other runtimes: ONNX, or OpenVINO's files; read back and compared before it is kept.

Only the network goes out. What surrounds it (spacing, intensities, windows, blending) stays with medseg; what
a user of the file has to do is written into it, as ``medseg``.
"""

import json
import logging
import tempfile
import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float32
from torch import nn

from medseg.errors import Code, EnvironmentProblem, ModelFileError, UsageError
from medseg.files import write_bytes_atomically
from medseg.inference.openvino_graph import convert_network, failures, load_openvino, openvino_core
from medseg.inference.windows import Size, plan_windows
from medseg.modelfile import ModelFile, load_network

Target = Literal["onnx", "openvino"]
SUFFIX: dict[Target, str] = {"onnx": ".onnx", "openvino": ".xml"}

TOLERANCE = 1e-3
"""Largest difference of a logit, as a share of the largest logit, that rounding explains."""

_INPUT, _OUTPUT = "image", "logits"


@dataclass(frozen=True)
class Parity:
    """How the exported file differs from PyTorch on a window of noise."""

    difference: float
    largest: float
    runtime: str

    @property
    def allowed(self) -> float:
        return TOLERANCE * max(self.largest, 1.0)

    def __str__(self) -> str:
        return (
            f"largest difference of a logit to PyTorch {self.difference:.1e} (of logits up to "
            f"{self.largest:.3g}, allowed {self.allowed:.1e}), by {self.runtime}"
        )


def export_network(model: ModelFile, to: Target, out: Path) -> Parity:
    """Write the network of ``model`` to ``out`` (OpenVINO: and its weights beside it, as ``.bin``).

    It takes ``image``, (1, C, I, J, K) float32, of the model's window, and gives ``logits``, (1, L, I, J, K).

    Raises:
        UsageError: the name does not suit the format.
        ModelFileError: several networks, one that the format has no words for, or one that does not agree.
        EnvironmentProblem: a package is missing, or the place cannot be written.
    """
    if out.suffix.lower() != SUFFIX[to]:
        raise UsageError(Code.OPTION, f"{out}: give --out a name that ends in {SUFFIX[to]} for --to {to}")
    if model.members > 1:
        raise ModelFileError(
            Code.MODEL_UNSUPPORTED,
            f"model {model.experiment.name}: holds {model.members} networks, a file for others holds one: "
            "export the model of each fold",
        )
    network, window = load_network(model), plan_windows(model.experiment).size
    channels = model.experiment.channel_count
    with tempfile.TemporaryDirectory(prefix="medseg-") as folder:
        made = Path(folder) / f"network{SUFFIX[to]}"
        if to == "onnx":
            _write_onnx(network, channels, window, made)
        else:
            _write_openvino(network, channels, window, made, _notes(model))
        parity = compare(network, channels, window, made)
        if not parity.difference <= parity.allowed:  # so that NaN is refused, too
            raise ModelFileError(
                Code.MODEL_UNSUPPORTED,
                f"model {model.experiment.name}: the exported network does not agree with its own: {parity}; "
                "nothing was written: use medseg infer, and please report it",
            )
        _keep(made, out)
    return parity


def compare(network: nn.Module, channels: int, window: Size, path: Path) -> Parity:
    """Run the file at ``path`` and ``network`` on the same noise."""
    image = torch.randn((1, channels, *window), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = network(image).numpy()
    found, runtime = _run_file(path, image.numpy())
    difference = float(np.abs(found - expected).max()) if found.shape == expected.shape else float("inf")
    return Parity(difference, float(np.abs(expected).max()), runtime)


def _run_file(path: Path, image: Float32[np.ndarray, "1 C I J K"]) -> tuple[np.ndarray, str]:
    try:
        if path.suffix == SUFFIX["onnx"] and find_spec("onnxruntime") is not None:
            import onnxruntime  # noqa: PLC0415 - an optional extra

            session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
            return np.asarray(session.run([_OUTPUT], {_INPUT: image})[0]), "onnxruntime"
        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
        compiled = openvino_core().compile_model(str(path), "CPU", settings)
        return np.array(compiled({_INPUT: image})[_OUTPUT]), "OpenVINO"
    except failures() as error:
        raise ModelFileError(
            Code.MODEL_UNSUPPORTED,
            f"the exported network cannot be run ({type(error).__name__}): use medseg infer",
        ) from error


def _write_openvino(
    network: nn.Module, channels: int, window: Size, path: Path, notes: dict[str, Any]
) -> None:
    model = convert_network(network, channels, window, channels_last=False)
    model.inputs[0].get_tensor().set_names({_INPUT})
    model.outputs[0].get_tensor().set_names({_OUTPUT})
    model.set_rt_info(json.dumps(notes), ["medseg"])
    load_openvino().save_model(model, str(path), compress_to_fp16=False)


def _write_onnx(network: nn.Module, channels: int, window: Size, path: Path) -> None:
    if find_spec("onnxscript") is None:
        raise EnvironmentProblem(
            Code.DEVICE,
            "--to onnx: the package onnxscript is missing: install medseg[onnx], or use --to openvino",
        )
    example = torch.zeros((1, channels, *window))
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)  # it tells of packages that are not needed
    try:
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                network,
                (example,),
                str(path),
                input_names=[_INPUT],
                output_names=[_OUTPUT],
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    except (RuntimeError, torch.onnx.OnnxExporterError) as error:
        raise ModelFileError(
            Code.MODEL_UNSUPPORTED,
            f"network {type(network).__name__}: ONNX has no words for it; use --to openvino",
        ) from error
    finally:
        log.setLevel(level)


def _notes(model: ModelFile) -> dict[str, Any]:
    """What whoever runs the network has to know; nothing of any patient."""
    return {
        "name": model.experiment.name,
        "classes": list(model.classes),
        "channels": list(model.experiment.data.channels or ("image",)),
        "orientation": "axes run to the right, anterior and superior, unless preprocessing says otherwise",
        "preprocessing": model.experiment.preprocessing.model_dump(mode="json"),
        "fitted": model.fitted,
    }


def _keep(made: Path, out: Path) -> None:
    """The file that names the others gets its name last."""
    beside = [path for path in sorted(made.parent.iterdir()) if path != made]
    written: list[Path] = []
    try:
        for path in beside:
            target = out.with_suffix(path.suffix)
            existed = target.exists()
            write_bytes_atomically(target, path.read_bytes())
            written += [] if existed else [target]
        write_bytes_atomically(out, made.read_bytes())
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        raise

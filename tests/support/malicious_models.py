"""Malicious model files, checkpoints and cache entries."""

import json
from pathlib import Path
from typing import Any

from support.malicious import (
    Make,
    run_pickle,
    safetensors,
    tar_that_climbs,
    torch_checkpoint,
    with_metadata,
    with_tensors,
    written,
    zip_that_climbs,
)
from support.oracle import write_oracle

_NAME = "model.safetensors"


def _file(content: bytes, name: str = _NAME) -> Make:
    return lambda folder: written(folder, name, content)


def _table(tensors: dict[str, Any], data: bytes | None = None) -> Make:
    """The oracle's file with another table of tensors."""
    return lambda folder: written(
        folder, _NAME, with_tensors(write_oracle(folder / "oracle").read_bytes(), tensors, data)
    )


def _changed(*path: str, value: Any) -> Make:
    """The oracle's file with one value of its metadata changed, and its checksum made to fit."""

    def change(told: dict[str, Any]) -> None:
        for key in path[:-1]:
            told = told[key]
        told[path[-1]] = value

    return lambda folder: written(
        folder, _NAME, with_metadata(write_oracle(folder / "oracle").read_bytes(), change)
    )


def _tampered(folder: Path) -> Path:
    """Another configuration under the old checksum."""
    model = write_oracle(folder / "oracle").read_bytes()
    return written(
        folder, _NAME, with_metadata(model, lambda told: told["provenance"].update(a=1), resign=False)
    )


def _doubled(folder: Path) -> Path:
    """Two metadata, of which one program takes the first and another the last."""
    model = write_oracle(folder / "oracle").read_bytes()
    length = int.from_bytes(model[:8], "little")
    second = b'"__metadata__":' + json.dumps({"medseg": '{"format": 1}'}).encode() + b","
    return written(folder, _NAME, safetensors(b"{" + second + model[9 : 8 + length], model[8 + length :]))


def _tensor(shape: list[int], start: int, end: int, kind: str = "F32") -> dict[str, Any]:
    return {"dtype": kind, "shape": shape, "data_offsets": [start, end]}


MODELS: dict[str, Make] = {
    "pickle named .safetensors": _file(run_pickle()),
    "pickle named .pt": _file(run_pickle(), "model.pt"),
    "torch.save named .safetensors": _file(torch_checkpoint()),
    "zip with ../ as a model": _file(zip_that_climbs("../../evil", "/etc/evil")),
    "tar with ../ as a model": _file(tar_that_climbs("../../evil", "/etc/evil")),
    "pickle behind a safetensors header": _file(safetensors(b"{}" + run_pickle())),
    "header of 2^63 bytes": _file(safetensors("{}", length=2**63)),
    "header longer than the file": _file(safetensors("{}", length=5000)),
    "metadata that is no text": _file(safetensors({"__metadata__": {"medseg": [1, 2]}})),
    "metadata that is another's": _file(safetensors({"__metadata__": {"format": "pt"}})),
    "format of 400 digits": _file(safetensors({"__metadata__": {"medseg": '{"format": ' + "9" * 400 + "}"}})),
    "format true": _file(safetensors({"__metadata__": {"medseg": '{"format": true}'}})),
    "format NaN": _file(safetensors({"__metadata__": {"medseg": '{"format": NaN}'}})),
    "metadata twice": _doubled,
    "metadata tampered with": _tampered,
    "tensors that overlap": _table({"a": _tensor([4], 0, 16), "b": _tensor([4], 8, 24)}, bytes(24)),
    "tensor beyond the end": _table({"a": _tensor([1000], 0, 4000)}, bytes(16)),
    "hole between tensors": _table({"a": _tensor([1], 0, 4), "b": _tensor([1], 8, 12)}, bytes(12)),
    "negative shape": _table({"a": _tensor([-4], 0, 16)}, bytes(16)),
    "shape whose product overflows": _table({"a": _tensor([2**62, 8], 0, 16)}, bytes(16)),
    "offsets from end to start": _table({"a": _tensor([4], 16, 0)}, bytes(16)),
    "unknown type of numbers": _table({"a": _tensor([4], 0, 16, "PICKLE")}, bytes(16)),
    "weights of another network": _table({"a": _tensor([4], 0, 16)}, bytes(16)),
    "a billion networks": _changed("members", value=10**9),
    "networks true": _changed("members", value=True),
    "two networks with the weights of one": _changed("members", value=2),
    "name with a path": _changed("experiment", "name", value="../../evil"),
    "structure with a path": _changed("experiment", "labels", value={"../../evil": 1, "b": 2, "c": 3}),
    "unknown key in the configuration": _changed("experiment", "__class__", value="os.system"),
    "kind of network that is a module": _changed("experiment", "model", "kind", value="os.system"),
}

CHECKPOINTS: dict[str, Make] = {
    "pickle as a checkpoint": _file(run_pickle()),
    "torch.save as a checkpoint": _file(torch_checkpoint()),
}

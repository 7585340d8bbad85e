"""Small files that ask for much: memory, time, or a wait without end."""

import json
import os
from pathlib import Path

from support.malicious import (
    Make,
    endless_zeros,
    meta_header,
    nifti_header,
    nrrd_header,
    safetensors,
    with_metadata,
    written,
)
from support.oracle import write_oracle

GZIP, ZLIB = 31, 15
TEN_GB = 10_000_000_000
LARGE = (2000, 2000, 2500)  # 10^10 voxels of a byte


def _sparse(name: str, start: bytes, size: int) -> Make:
    """``start``, and a hole up to ``size``: no disk is used."""

    def make(folder: Path) -> Path:
        path = written(folder, name, start)
        os.truncate(path, size)
        return path

    return make


def _pipe(name: str, target: str = "") -> Make:
    """A named pipe, or a file of that name which points to one."""

    def make(folder: Path) -> Path:
        path = folder / name
        os.mkfifo(path)
        if not target:
            return path
        header = (
            nrrd_header("4 4 4", data_file=name) if target.endswith(".nhdr") else meta_header("4 4 4", name)
        )
        return written(folder, target, header)

    return make


def _link(name: str, target: str) -> Make:
    def make(folder: Path) -> Path:
        (folder / name).symlink_to(target)
        return folder / name

    return make


def _file(name: str, content: bytes) -> Make:
    return lambda folder: written(folder, name, content)


def _huge_network(folder: Path) -> Path:
    model = write_oracle(folder / "oracle").read_bytes()
    wide = {"channels": [4096, 4096, 4096], "kernel": 9}
    return written(
        folder,
        "model.safetensors",
        with_metadata(model, lambda told: told["experiment"]["model"].update(wide)),
    )


def _deep_network(folder: Path) -> Path:
    model = write_oracle(folder / "oracle").read_bytes()
    deep = {"blocks": 1_000_000}
    return written(
        folder,
        "model.safetensors",
        with_metadata(model, lambda told: told["experiment"]["model"].update(deep)),
    )


def _laughs() -> bytes:
    lines = ["a0: &a0 [lol]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    return "\n".join(lines).encode()


SCANS: dict[str, Make] = {
    "nii.gz of 1 MB declared, 10 GB inside": lambda folder: written(
        folder, "ct.nii.gz", endless_zeros(nifti_header((100, 100, 100)), TEN_GB, GZIP)
    ),
    "nii.gz of 10 GB declared and inside": lambda folder: written(
        folder, "ct.nii.gz", endless_zeros(nifti_header(LARGE), TEN_GB, GZIP)
    ),
    "mha of 10 GB declared and inside": lambda folder: written(
        folder,
        "ct.mha",
        meta_header("2000 2000 2500", "LOCAL", compressed=True) + endless_zeros(b"", TEN_GB, ZLIB),
    ),
    "nrrd of 10 GB declared and inside": lambda folder: written(
        folder, "ct.nrrd", nrrd_header("2000 2000 2500", "gzip") + endless_zeros(b"", TEN_GB, GZIP)
    ),
    "nii.gz of a thousand members": lambda folder: written(
        folder,
        "ct.nii.gz",
        endless_zeros(nifti_header((100, 100, 100)), 0, GZIP) + endless_zeros(b"", 10_000_000, GZIP) * 1000,
    ),
    "nii.gz with voxels behind 2 GB of nothing": lambda folder: written(
        folder, "ct.nii.gz", endless_zeros(nifti_header((10, 10, 10), offset=2.0**31 - 128), 2**31, GZIP)
    ),
    "nii of 32767 voxels a side in 352 bytes": _file("ct.nii", nifti_header((32767, 32767, 32767))),
    "nii with a hole of 17 TB": _sparse(
        "ct.nii", nifti_header((32767, 32767, 16384)), 352 + 32767 * 32767 * 16384
    ),
    "nrrd without an end of its header": _sparse("ct.nrrd", b"NRRD0004\n", 2_000_000_000),
    "mha without an end of its header": _sparse("ct.mha", b"ObjectType = Image\n", 2_000_000_000),
    "nhdr to /dev/zero": _file("ct.nhdr", nrrd_header("4 4 4", data_file="/dev/zero")),
    "nhdr to /etc/passwd": _file("ct.nhdr", nrrd_header("4 4 4", data_file="/etc/passwd")),
    "nhdr that climbs": _file("ct.nhdr", nrrd_header("4 4 4", data_file="../ct.nii.gz")),
    "nhdr to a pipe": _pipe("voxels.raw", "ct.nhdr"),
    "nhdr to a list": _file("ct.nhdr", nrrd_header("4 4 4", data_file="LIST") + b"/etc/passwd\n"),
    "mhd to /dev/zero": _file("ct.mhd", meta_header("4 4 4", "/dev/zero")),
    "mhd to /etc/passwd": _file("ct.mhd", meta_header("4 4 4", "/etc/passwd")),
    "mhd that climbs": _file("ct.mhd", meta_header("4 4 4", "sub/../../ct.nii.gz")),
    "mhd to a pipe": _pipe("voxels.raw", "ct.mhd"),
    "scan that is a pipe": _pipe("ct.nii.gz"),
    "scan that is /dev/zero": _link("ct.nii.gz", "/dev/zero"),
    "nhdr to a link to /dev/zero": lambda folder: (
        _link("voxels.raw", "/dev/zero")(folder),
        written(folder, "ct.nhdr", nrrd_header("4 4 4", data_file="voxels.raw")),
    )[1],
}
CONFIGS: dict[str, Make] = {
    "yaml of a billion laughs": _file("a.yaml", _laughs()),
    "yaml of 100 MB": _sparse("a.yaml", b"name: a\n", 100_000_000),
    "yaml 100,000 deep": _file("a.yaml", b"[" * 100_000),
    "yaml of 90,000 values": _file("a.yaml", b"[" + b"1," * 90_000 + b"]"),
    "yaml number in base 60": _file("a.yaml", b"a: 1" + b":59" * 60_000),
    "configuration that is a pipe": _pipe("a.yaml"),
    "configuration that is /dev/zero": _link("a.yaml", "/dev/zero"),
}
COHORTS: dict[str, Make] = {
    "dataset.json 100,000 deep": _file("dataset.json", b"[" * 100_000),
    "dataset.json of 2 GB": _sparse("dataset.json", b"{", 2_000_000_000),
    "csv of 2 GB": _sparse("cohort.csv", b"case,image,label\n", 2_000_000_000),
    "csv that is /dev/zero": _link("cohort.csv", "/dev/zero"),
    "csv that is a pipe": _pipe("cohort.csv"),
}
MODELS: dict[str, Make] = {
    "model with a header of empty lists": _file(
        "model.safetensors", safetensors(b'{"__metadata__": [' + b"[]," * 2_600_000 + b"[]]}")
    ),
    "model with a header 1,000,000 deep": _file(
        "model.safetensors", safetensors(b'{"__metadata__": ' + b"[" * 1_000_000)
    ),
    "model whose medseg header is 1,000,000 deep": _file(
        "model.safetensors", safetensors(json.dumps({"__metadata__": {"medseg": "[" * 1_000_000}}))
    ),
    "model of a network of 10^11 weights": _huge_network,
    "model of a network of a million layers": _deep_network,
    "model that is a hole of 10 TB": _sparse("model.safetensors", safetensors("{}"), 10**13),
    "model that is a pipe": _pipe("model.safetensors"),
    "model that is /dev/zero": _link("model.safetensors", "/dev/zero"),
}

"""What malicious files are made of: pickles that run a command, lying safetensors, zeros without end."""

import io
import json
import os
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

Make = Callable[[Path], Path]
"""Makes a malicious file in a folder, and returns what a user would be made to give to medseg."""

CANARY = "MEDSEG_CANARY"
"""The environment variable with the path that every piece of code hidden in a file tries to create."""


class _Touch:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f'touch "${CANARY}"',)


def run_pickle() -> bytes:
    """A pickle that runs a command when it is read."""
    return pickle.dumps({"weights": _Touch()})


def torch_checkpoint() -> bytes:
    """The same as ``torch.save`` writes it: a zip with a pickle."""
    content = io.BytesIO()
    torch.save({"state_dict": _Touch()}, content)
    return content.getvalue()


def object_array() -> bytes:
    """A .npy file whose array holds Python objects."""
    content = io.BytesIO()
    np.save(content, np.array([_Touch()], dtype=object), allow_pickle=True)
    return content.getvalue()


def zip_that_climbs(*names: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in names:
            archive.writestr(name, "out of the folder")
    return content.getvalue()


def tar_that_climbs(*names: str) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 3
            archive.addfile(member, io.BytesIO(b"out"))
        link = tarfile.TarInfo("scan.nii.gz")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return content.getvalue()


def safetensors(header: str | bytes | dict[str, Any], data: bytes = b"", length: int | None = None) -> bytes:
    """A file with this header and this tensor data; ``length`` is what it says of the header's length."""
    text = json.dumps(header) if isinstance(header, dict) else header
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


def with_tensors(model: bytes, tensors: dict[str, Any], data: bytes | None = None) -> bytes:
    """A real model file whose table of tensors is another; its metadata stays."""
    length = int.from_bytes(model[:8], "little")
    header = json.loads(model[8 : 8 + length])
    metadata = {"__metadata__": header["__metadata__"]}
    return safetensors(metadata | tensors, model[8 + length :] if data is None else data)


def with_metadata(model: bytes, change: Callable[[dict[str, Any]], object], *, resign: bool = True) -> bytes:
    """A real model file whose metadata are changed, and its checksum made to fit again."""
    from safetensors.torch import load, save

    from medseg.modelweights import checksum

    length = int.from_bytes(model[:8], "little")
    told = json.loads(json.loads(model[8 : 8 + length])["__metadata__"]["medseg"])
    told.pop("sha256")
    change(told)
    weights = load(model)
    if resign:
        told["sha256"] = checksum(told, weights)
    return save(weights, {"medseg": json.dumps(told)})


_BLOCK = 10_000_000


def endless_zeros(start: bytes, size: int, coding: int) -> bytes:
    """``start`` and ``size`` zeros, compressed to a thousandth.

    The same deflated block again and again, so that no one has to compress 10 GB; the checksum at the end is
    not theirs, but who comes to read it has already lost.
    """
    packer = zlib.compressobj(9, zlib.DEFLATED, coding)
    head = packer.compress(start) + packer.flush(zlib.Z_FULL_FLUSH)
    block = zlib.compressobj(9, zlib.DEFLATED, -15)
    zeros = block.compress(bytes(_BLOCK)) + block.flush(zlib.Z_FULL_FLUSH)
    return head + zeros * (size // _BLOCK) + packer.flush()


def nifti_header(shape: tuple[int, ...], code: int = 2, bits: int = 8, offset: float = 352.0) -> bytes:
    """The 352 bytes of a plain NIfTI-1 header of 1 mm voxels; ``code`` 2 is uint8."""
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, len(shape), *shape, *[1] * (7 - len(shape)))
    struct.pack_into("<2h", header, 70, code, bits)
    struct.pack_into("<8f", header, 76, *[1.0] * 8)
    struct.pack_into("<3f", header, 108, offset, 1.0, 0.0)
    header[123] = 2
    struct.pack_into("<h", header, 254, 1)
    for row in range(3):
        struct.pack_into("<4f", header, 280 + 16 * row, *[float(row == column) for column in range(4)])
    header[344:348] = b"n+1\0"
    return bytes(header)


def nrrd_header(sizes: str, encoding: str = "raw", **fields: str) -> bytes:
    lines = [
        "NRRD0004",
        "type: uint8",
        "dimension: 3",
        "space: left-posterior-superior",
        f"sizes: {sizes}",
        "space directions: (1,0,0) (0,1,0) (0,0,1)",
        "endian: little",
        f"encoding: {encoding}",
        "space origin: (0,0,0)",
        *(f"{key.replace('_', ' ')}: {value}" for key, value in fields.items()),
    ]
    return ("\n".join(lines) + "\n\n").encode()


def meta_header(sizes: str, data_file: str, *, compressed: bool = False) -> bytes:
    lines = [
        "ObjectType = Image",
        "NDims = 3",
        "BinaryData = True",
        "BinaryDataByteOrderMSB = False",
        f"CompressedData = {compressed}",
        "TransformMatrix = 1 0 0 0 1 0 0 0 1",
        "Offset = 0 0 0",
        "ElementSpacing = 1 1 1",
        f"DimSize = {sizes}",
        "ElementType = MET_UCHAR",
        f"ElementDataFile = {data_file}",
    ]
    return ("\n".join(lines) + "\n").encode()


def written(folder: Path, name: str, content: bytes | str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path

"""The header of a model file: found, bounded and parsed before anything else of the file is read."""

import json
from pathlib import Path
from typing import Any

from medseg.errors import Code, EnvironmentProblem, ModelFileError

FORMAT = 2
"""The newest that is read: 1 holds a network, 2 several. Raised when older versions could not read the file
rightly."""

KEY = "medseg"
MAX_HEADER_BYTES = 8_000_000
_MAX_NESTED = 500_000  # lists and objects; an empty one takes twenty times its bytes in memory
GIVE_OURS = "give a .safetensors file that medseg train wrote"
NOT_OURS = f"not a medseg model; {GIVE_OURS}"


def read_model_bytes(path: Path) -> tuple[bytes, dict[str, Any]]:
    """The whole file and its medseg header; nothing is read of a file whose header is not a model's."""
    if not path.is_file():
        found = "a folder" if path.is_dir() else "not a regular file" if path.exists() else "no such file"
        raise ModelFileError(Code.NO_MODEL_FILE, f"{path}: {found}; give the .safetensors file of a run")
    try:
        with path.open("rb") as file:
            start = file.read(8 + MAX_HEADER_BYTES)
            told = _read_header(path, start, path.stat().st_size)
            return start + file.read(), told
    except OSError as error:
        raise EnvironmentProblem(
            Code.CANNOT_READ, f"{path}: cannot be read ({error.strerror}); check the disk and permissions"
        ) from None
    except MemoryError:
        raise EnvironmentProblem(
            Code.MEMORY, f"{path}: no memory for a file of this size; free some"
        ) from None


def _read_header(path: Path, start: bytes, size: int) -> dict[str, Any]:
    """The JSON that medseg put into the header, its format checked.

    Args:
        start: the first bytes of the file, the header among them.
        size: of the file.
    """
    length = int.from_bytes(start[:8], "little")
    if size < 10 or start[8:9] != b"{":
        raise ModelFileError(Code.MODEL_FOREIGN, f"{path}: {NOT_OURS}")
    if length > MAX_HEADER_BYTES:
        raise ModelFileError(
            Code.MODEL_FOREIGN,
            f"{path}: header of {length} bytes, at most {MAX_HEADER_BYTES} are read; {GIVE_OURS}",
        )
    if size < 8 + length:
        raise ModelFileError(
            Code.MODEL_DAMAGED, f"{path}: truncated (ends within its header): copy or download it again"
        )
    text = start[8 : 8 + length]
    try:
        if text.count(b"[") + text.count(b"{") > _MAX_NESTED:
            raise ValueError("too many lists")
        header = json.loads(text, object_pairs_hook=_without_doubles)
        told = json.loads(header["__metadata__"][KEY], object_pairs_hook=_without_doubles)
        to_json(told)  # refuses what JSON has no number for
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ModelFileError(Code.MODEL_FOREIGN, f"{path}: {NOT_OURS}") from None
    if not isinstance(told, dict) or type(told.get("format")) is not int:
        raise ModelFileError(Code.MODEL_FOREIGN, f"{path}: {NOT_OURS}")
    if told["format"] > FORMAT:
        raise ModelFileError(
            Code.MODEL_NEWER,
            f"{path}: written by a newer medseg (file format {told['format']}; this one reads {FORMAT}): "
            "upgrade medseg",
        )
    return told


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found


def to_json(value: Any) -> str:
    """Strict JSON; ValueError for NaN and infinity."""
    return json.dumps(value, allow_nan=False)

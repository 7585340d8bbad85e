"""The files of a MONAI bundle, from its folder or from a zip archive of it, which is never unpacked."""

import json
import re
import shutil
import stat
import tempfile
import zipfile
import zlib
from contextlib import ExitStack
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from medseg.config.yaml_text import parse_yaml
from medseg.convert.monai_expressions import Expressions
from medseg.errors import Code, ConfigError, EnvironmentProblem, ModelFileError
from medseg.files import read_regular

MAX_CONFIG_BYTES = 1_000_000
MAX_WEIGHT_BYTES = 20_000_000_000
_CONFIGS = ("configs/inference.json", "configs/inference.yaml", "configs/inference.yml")
_METADATA = "configs/metadata.json"
_GIVE = "give the bundle's folder or its .zip, with configs/inference.json, configs/metadata.json and models/"


@dataclass(frozen=True, eq=False)
class Bundle:
    """``config`` and ``metadata`` are what the files of these names say; ``root`` is in the archive."""

    path: Path
    root: str
    names: frozenset[str]
    config: Expressions
    metadata: dict[str, Any]

    @property
    def name(self) -> str:
        """Of the folder or archive."""
        return self.root.strip("/") or re.sub(r"(_v[\d.]+)?\.zip$", "", self.path.resolve().name)

    def open(self, name: str) -> BufferedIOBase:
        """A file of the bundle, as a file of the system: one of an archive is copied to a nameless one.

        Raises:
            ModelFileError: no such file, or it is larger than weights are.
            EnvironmentProblem: it cannot be read, or the disk is full.
        """
        try:
            if self.path.is_dir():
                return (self.path / name).open("rb")
            return self._unpacked(name)
        except (FileNotFoundError, IsADirectoryError, KeyError):
            raise ModelFileError(
                Code.NO_MODEL_FILE,
                f"{self.path}: no {name} in it: download the bundle again, with its weights",
            ) from None
        except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, zlib.error) as error:
            raise _damaged(self.path, error) from None
        except OSError as error:
            raise EnvironmentProblem(
                Code.CANNOT_READ, f"{self.path}: {name} cannot be read ({error.strerror})"
            ) from None

    def _unpacked(self, name: str) -> BufferedIOBase:
        with zipfile.ZipFile(self.path) as archive:
            info = archive.getinfo(self.root + name)
            if info.file_size > MAX_WEIGHT_BYTES or info.file_size > (1 << 20) + 20 * info.compress_size:
                raise ModelFileError(
                    Code.MODEL_FOREIGN,
                    f"{self.path}: {name}: {info.file_size} bytes, packed {info.compress_size}: weights do "
                    f"not pack so well, and have at most {MAX_WEIGHT_BYTES} bytes; {_GIVE}",
                )
            with ExitStack() as unless_whole, archive.open(info) as packed:
                copy = unless_whole.enter_context(tempfile.TemporaryFile())
                shutil.copyfileobj(packed, copy, 1 << 20)
                copy.seek(0)
                unless_whole.pop_all()
            return cast(BufferedIOBase, copy)


def read_bundle(path: Path) -> Bundle:
    """Read what ``path`` says of network, preprocessing and labels.

    Raises:
        ModelFileError: no bundle, damaged, or an archive whose names lead out of it.
        EnvironmentProblem: it cannot be read.
    """
    if path.is_dir():
        names = frozenset(
            f"{folder}/{file.name}"
            for folder in ("configs", "models")
            if (path / folder).is_dir()
            for file in (path / folder).iterdir()
        )
        root = ""
    else:
        root, names = _archived(path)
    told = [name for name in _CONFIGS if name in names]
    if not told or _METADATA not in names:
        raise ModelFileError(
            Code.NO_MODEL_FILE,
            f"{path}: no {'metadata.json' if told else 'inference.json'} in configs: {_GIVE}",
        )
    config = _parsed(path, told[0], _text(path, root, told[0]))
    metadata = _parsed(path, _METADATA, _text(path, root, _METADATA))
    return Bundle(path, root, names, Expressions(config, f"{path}: {told[0]}"), metadata)


def is_torchscript(file: BufferedIOBase) -> bool:
    """Whether these weights come with code."""
    try:
        with zipfile.ZipFile(cast(BinaryIO, file)) as archive:
            return any(entry.endswith("/constants.pkl") for entry in archive.namelist())
    except zipfile.BadZipFile:
        return False


def _archived(path: Path) -> tuple[str, frozenset[str]]:
    """The folder of the archive that is the bundle, and the names of its files below it."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except FileNotFoundError:
        raise ModelFileError(Code.NO_MODEL_FILE, f"{path}: no such folder or file: {_GIVE}") from None
    except (zipfile.BadZipFile, EOFError, NotImplementedError, ValueError) as error:
        raise _damaged(path, error) from None
    except OSError as error:
        raise EnvironmentProblem(Code.CANNOT_READ, f"{path}: cannot be read ({error.strerror})") from None
    strange = [entry.filename for entry in entries if _leads_out(entry)]
    names = [entry.filename for entry in entries]
    if strange or len(set(names)) < len(names):
        raise ModelFileError(
            Code.MODEL_CONTENT,
            f"{path}: {strange[0] if strange else 'a name that is there twice'!r:.80}: an archive of bundles "
            "has no such entry, and this one is made to deceive: do not use it",
        )
    roots = {name.removesuffix(config) for name in names for config in _CONFIGS if name.endswith(config)}
    if len(roots) != 1:
        raise ModelFileError(Code.NO_MODEL_FILE, f"{path}: {len(roots)} bundles in it, one expected: {_GIVE}")
    root = roots.pop()
    return root, frozenset(name.removeprefix(root) for name in names if name.startswith(root))


def _leads_out(entry: zipfile.ZipInfo) -> bool:
    name = PurePosixPath(entry.filename)
    is_link = stat.S_ISLNK(entry.external_attr >> 16)
    return (
        is_link
        or name.is_absolute()
        or ".." in name.parts
        or bool(re.search(r"[\\:\x00-\x1f]", entry.filename))
    )


def _text(path: Path, root: str, name: str) -> str:
    try:
        if path.is_dir():
            data = read_regular(path / name, MAX_CONFIG_BYTES)
        else:
            with zipfile.ZipFile(path) as archive, archive.open(root + name) as file:
                data = file.read(MAX_CONFIG_BYTES + 1)
        if len(data) > MAX_CONFIG_BYTES:
            raise ModelFileError(
                Code.MODEL_FOREIGN, f"{path}: {name}: more than {MAX_CONFIG_BYTES} bytes: not a bundle's"
            )
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ModelFileError(
            Code.MODEL_DAMAGED, f"{path}: {name}: not UTF-8: download the bundle again"
        ) from None
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, zlib.error) as error:
        raise _damaged(path, error) from None
    except OSError as error:
        raise EnvironmentProblem(
            Code.CANNOT_READ, f"{path}: {name} cannot be read ({error.strerror})"
        ) from None


def _parsed(path: Path, name: str, text: str) -> dict[str, Any]:
    try:
        raw = json.loads(text) if name.endswith(".json") else parse_yaml(text, name)
    except (ValueError, RecursionError):
        raise ModelFileError(
            Code.MODEL_DAMAGED, f"{path}: {name}: not JSON: download the bundle again"
        ) from None
    except ConfigError as error:
        raise ModelFileError(Code.MODEL_FOREIGN, *error.problems).about(str(path)) from None
    if not isinstance(raw, dict):
        raise ModelFileError(Code.MODEL_FOREIGN, f"{path}: {name}: not what a bundle has: {_GIVE}")
    return raw


def _damaged(path: Path, error: Exception) -> ModelFileError:
    return ModelFileError(
        Code.MODEL_DAMAGED,
        f"{path}: not a zip archive, or damaged ({type(error).__name__}): download it again",
    )

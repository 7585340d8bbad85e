"""Disks that fill up and fail under a writer, and writers that write something else than they were given."""

import ctypes
import json
import os
import signal
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch

from medseg.config import parse_experiment
from medseg.data.cache import PreparedCache
from medseg.errors import EnvironmentProblem
from medseg.files import write_json_atomically
from medseg.io import read_volume, write_volume
from medseg.modelfile import ModelFile, load_model, save_model
from medseg.training.checkpoints import Checkpoints
from medseg.training.state import Learner, Progress
from medseg.volume import Geometry, Volume

_NEWNS = 0x00020000
_PRIVATE = 1 << 18 | 1 << 14  # MS_PRIVATE | MS_REC
_REMOUNT = 1 << 5


@dataclass(frozen=True)
class Writer:
    """``write(folder, n)`` stores content number ``n``; ``found(folder)`` is the number there, or None.

    ``found`` raises when what lies there is not whole.
    """

    name: str
    write: Callable[[Path, int], object]
    found: Callable[[Path], int | None]


def _noise(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(-20_000, 20_000, (64, 48, 16), dtype=np.int16)


def _number_of(array: np.ndarray) -> int:
    return next(number for number in (0, 1) if np.array_equal(array, _noise(number)))


def _volume_writer(suffix: str) -> Writer:
    geometry = Geometry((64, 48, 16), np.diag([-0.8, -0.7, 3.0, 1.0]))

    def found(folder: Path) -> int | None:
        path = folder / f"mask{suffix}"
        return _number_of(read_volume(path).array) if path.exists() else None

    return Writer(
        f"write_volume {suffix}",
        lambda folder, n: write_volume(Volume(_noise(n), geometry), folder / f"mask{suffix}"),
        found,
    )


def _json_writer() -> Writer:
    def found(folder: Path) -> int | None:
        path = folder / "manifest.json"
        if not path.exists():
            return None
        text = path.read_text(encoding="utf-8")
        return next(n for n in (0, 1) if text == _json_text(n))

    return Writer(
        "write_json_atomically",
        lambda folder, n: write_json_atomically(folder / "manifest.json", _json_value(n)),
        found,
    )


def _json_value(number: int) -> dict[str, list[int]]:
    return {"voxels": _noise(number)[:, :, 0].ravel().tolist()}


@cache
def _json_text(number: int) -> str:
    return json.dumps(_json_value(number), indent=2) + "\n"


def _model_writer() -> Writer:
    experiment = parse_experiment(
        {
            "name": "faults",
            "labels": {"organ": 1},
            "data": {"cohort": "none"},
            "preprocessing": {
                "spacing_mm": [2, 2, 2],
                "intensity": {"kind": "window", "center": 0, "width": 9},
            },
            "sampling": {"patch_size": [16, 16, 16]},
            "model": {"kind": "unet"},
            "training": {"stop": {"epochs": 1}},
        },
        "faults",
    )

    def write(folder: Path, number: int) -> None:
        weights = {"noise": torch.from_numpy(_noise(number))}
        save_model(folder / "model.safetensors", ModelFile(experiment, {}, {}, weights))

    def found(folder: Path) -> int | None:
        path = folder / "model.safetensors"
        return _number_of(load_model(path).weights["noise"].numpy()) if path.exists() else None

    return Writer(
        "save_model",
        write,
        found,
    )


def _checkpoint_writer() -> Writer:
    def learner(number: int) -> Learner:
        network = torch.nn.Linear(96, 256)
        with torch.no_grad():
            network.weight.copy_(torch.from_numpy(_noise(number).ravel()[: 96 * 256].reshape(256, 96)))
        return Learner(network, torch.optim.AdamW(network.parameters()), None)

    def found(folder: Path) -> int | None:
        into = learner(2)
        progress = Checkpoints(folder).restore(into, "faults")
        if progress is None:
            return None
        assert torch.equal(into.network.weight, learner(progress.step).network.weight)
        return progress.step

    return Writer(
        "checkpoint",
        lambda folder, n: Checkpoints(folder).write(learner(n), Progress(step=n), "faults"),
        found,
    )


def _cache_writer() -> Writer:
    keys = ("0" * 16, "1" * 16)

    def found(folder: Path) -> int | None:
        entries = [PreparedCache(folder).get(key) for key in keys]
        whole = [number for number, entry in enumerate(entries) if entry is not None]
        for number in whole:
            assert _number_of(entries[number]["image"]) == number
        return whole[-1] if whole else None

    return Writer(
        "PreparedCache.put",
        lambda folder, n: PreparedCache(folder).put(keys[n], {"image": _noise(n)}),
        found,
    )


WRITERS = (
    *(_volume_writer(suffix) for suffix in (".nii.gz", ".nrrd", ".mha")),
    _json_writer(),
    _model_writer(),
    _checkpoint_writer(),
    _cache_writer(),
)


def leftovers(folder: Path) -> list[str]:
    """Temporary files and folders that a writer did not clear away."""
    return [path.name for path in folder.rglob("*") if path.name.startswith((".medseg-", ".new-"))]


def refused(writer: Writer, folder: Path) -> EnvironmentProblem:
    """Write number 1 where it cannot be done; the error, after a look at what is left."""
    before = writer.found(folder)
    try:
        writer.write(folder, 1)
    except EnvironmentProblem as error:
        problem = error
    else:
        raise AssertionError("the writer did not notice")
    assert problem.exit_code == 4 and len(problem.problems) == 1 and "; " in str(problem), problem
    assert writer.found(folder) == before, "what was there has changed"
    assert not leftovers(folder), leftovers(folder)
    return problem


def bytes_needed(writer: Writer, folder: Path) -> int:
    """What number 1 takes in an empty ``folder``."""
    writer.write(folder, 1)
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def can_mount() -> bool:
    """Whether this process may have a file system of its own."""
    return hasattr(os, "fork") and _in_child(_own_mounts) == ""


def on_full_disk(writer: Writer, folder: Path, room: int, old: bool) -> str:
    """Write into a file system with ``room`` bytes left, then with enough; what went wrong, or ``""``."""

    def work() -> None:
        _own_mounts()
        _mount(folder, 0, "size=16m")
        if old:
            writer.write(folder, 0)
        taken = os.statvfs(folder)
        used = (taken.f_blocks - taken.f_bfree) * taken.f_frsize
        _mount(folder, _REMOUNT, f"size={used + max(room, taken.f_frsize)}")
        problem = refused(writer, folder)
        assert problem.code.name == "DISK_FULL", problem
        _mount(folder, _REMOUNT, "size=16m")
        writer.write(folder, 1)
        assert writer.found(folder) == 1

    return _in_child(work)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _own_mounts() -> None:
    libc = _libc()
    if libc.unshare(_NEWNS) or libc.mount(b"none", b"/", None, _PRIVATE, None):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _mount(folder: Path, flags: int, options: str) -> None:
    if _libc().mount(b"tmpfs", os.fsencode(folder), b"tmpfs", flags, options.encode()):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _in_child(work: Callable[[], None]) -> str:
    """Run ``work`` in a forked process, which needs no imports; what it raised, or ``""``."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        told = ""
        try:
            signal.alarm(60)
            work()
        except BaseException:  # noqa: BLE001 - a forked test must not go on as a second pytest
            told = traceback.format_exc()
        finally:
            with os.fdopen(writing, "w") as pipe:
                pipe.write(told)
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        told = pipe.read()
    _, status = os.waitpid(child, 0)
    return told or ("" if status == 0 else f"the process ended with status {status}")


@dataclass
class Failing:
    """Stands for a function of the system that fails with ``number`` at its ``when``-th call."""

    real: Callable[..., object]
    number: int
    when: int = 1

    def __call__(self, *arguments: object, **options: object) -> object:
        self.when -= 1
        if self.when == 0:
            raise OSError(self.number, os.strerror(self.number))
        return self.real(*arguments, **options)

"""What is done for one patient apart from the network: read and prepare its scan, write its mask.

Both run in a process of the patient's own (``serve``), or in the caller's; the result is the same.
"""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medseg.batch.channel import Channel
from medseg.batch.inputs import content_hash, file_hash, files_of, seen, seen_images
from medseg.config import parse_experiment
from medseg.config.data import Reading
from medseg.data import Case, load_images
from medseg.errors import Code, EnvironmentProblem, MedsegError, VolumeError
from medseg.inference.preparation import Preparation, PreparedScan
from medseg.inference.profile import Profile, profiled, stage
from medseg.inference.volumes import structure_volumes
from medseg.io import read_geometry, volume_stem, write_volume
from medseg.io.paths import volume_suffix
from medseg.transforms import Fitted, Prepared, single_thread
from medseg.volume import Geometry, Volume


@dataclass(frozen=True)
class Known:
    """What the record says of a patient whose mask may still hold: hashes of its images and of its mask."""

    inputs: tuple[str, ...]
    mask: str


@dataclass(frozen=True)
class ReadScan:
    """A patient's scan, read.

    ``inputs`` are the hashes of its images, ``seen`` tells later whether anybody wrote to them, ``why`` is
    the reason found for reading it; ``scan`` is None when the mask that is there holds.
    """

    inputs: tuple[str, ...]
    seen: str
    why: str = ""
    scan: PreparedScan | None = None


@dataclass(frozen=True)
class Written:
    """A mask's file: its hash and size, the volume (mL) of each structure, and what ``seen`` says of it."""

    sha256: str
    bytes: int
    volumes_ml: dict[str, float] = field(default_factory=dict)
    seen: str = ""


INPUT_CHANGED = "input changed"
MASK_CHANGED = "mask changed or truncated"


def read_scan(case: Case, preparation: Preparation, mask: Path, known: Known | None) -> ReadScan:
    """Hash the images of ``case``; unless they and ``mask`` are as ``known``, read and prepare them.

    Raises:
        VolumeError: an image is damaged, or somebody writes to it.
    """
    before = seen_images(case.images)
    with stage("reading"):
        inputs = tuple(content_hash(image) for image in case.images)
    why = ""
    if known is not None:
        why = INPUT_CHANGED if inputs != known.inputs else "" if _holds(mask, known.mask) else MASK_CHANGED
        if not why:
            return ReadScan(inputs, before)
    with single_thread():
        with stage("reading"):
            images = load_images(case)
        with stage("preparing"):
            scan = preparation(*images)
        del images
    if seen_images(case.images) != before:
        raise VolumeError(
            Code.STILL_WRITTEN,
            f"case {case.id}: its files changed while they were read: wait until they are copied, run again",
        )
    return ReadScan(inputs, before, why, scan)


def write_mask(mask: Volume, path: Path, labels: Mapping[str, int], ours: str | None) -> Written:
    """Write ``mask`` to ``path``; a file there whose hash is not ``ours`` is set aside, not overwritten."""
    if path.exists() and not _holds(path, ours):
        set_aside(path)
    digest = write_volume(mask, path)
    return Written(digest, path.stat().st_size, structure_volumes(mask, labels), seen([path]))


def set_aside(mask: Path) -> Path:
    """Move a mask that the record does not account for, perhaps corrected by hand, out of the way."""
    folder = mask.parent / ".medseg" / "replaced"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        number = 1
        while (target := folder / f"{volume_stem(mask)}.{number}{volume_suffix(mask)}").exists():
            number += 1
        mask.rename(target)
    except OSError as error:
        raise EnvironmentProblem(
            Code.CANNOT_WRITE, f"{mask}: cannot be moved ({error.strerror}); choose another output folder"
        ) from None
    return target


def voxel_count(case: Case) -> int:
    """About how many voxels the mask of ``case`` will have, from headers or sizes; 0 if they do not tell."""
    image = case.images[0]
    with suppress(MedsegError, OSError):
        if volume_suffix(image):
            return int(np.prod(read_geometry(image, geometry=case.reading.geometry).shape))
        return sum(file.stat().st_size for file in files_of(image)) // 2
    return 0


def serve(channel: Channel) -> None:
    """Do the one task that ``channel`` asks for, and answer."""
    try:
        torch.set_num_threads(1)
        order = channel.receive()
        with _collected_log() as records:
            match order["task"]:
                case "read":
                    _serve_read(channel, order, records)
                case "write":
                    _serve_write(channel, order, records)
                case _:
                    channel.send({"voxels": [voxel_count(case_from_json(told)) for told in order["cases"]]})
    except (EOFError, ConnectionError):
        os._exit(2)  # nobody listens
    except MedsegError as error:
        channel.send_error(error)
    except MemoryError:
        channel.send_error(EnvironmentProblem(Code.MEMORY, "no memory is left; close other programs"))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is this patient's alone
        channel.send_unexpected(error)


def _serve_read(channel: Channel, order: dict[str, Any], records: list[Any]) -> None:
    experiment = parse_experiment(order["experiment"], "the model's configuration")
    preparation = Preparation(experiment, Fitted.from_json(order["fitted"]))
    known = Known(tuple(order["known"]["inputs"]), order["known"]["mask"]) if order["known"] else None
    profile = Profile()
    with profiled(profile):
        found = read_scan(case_from_json(order["case"]), preparation, Path(order["mask"]), known)
    told = {"log": records, "seconds": profile.seconds}
    reply = {"inputs": found.inputs, "seen": found.seen, "why": found.why, **told}
    if found.scan is None:
        channel.send({**reply, "scan": None})
        return
    scan = found.scan
    grids = {name: grid_to_json(grid) for name, grid in _grids(scan).items()}
    channel.send({**reply, "scan": grids})
    channel.send_array(scan.prepared.image.numpy())


def _serve_write(channel: Channel, order: dict[str, Any], records: list[Any]) -> None:
    volume = Volume(channel.receive_array(), grid_from_json(order["grid"]))
    written = write_mask(volume, Path(order["path"]), order["labels"], order["ours"])
    channel.send({**asdict(written), "log": records})


def receive_scan(channel: Channel, reply: dict[str, Any]) -> ReadScan:
    """The caller's side of a task ``read``, after its first reply."""
    scan = None
    if reply["scan"] is not None:
        native, grid = (grid_from_json(reply["scan"][name]) for name in ("native", "prepared"))
        scan = PreparedScan(native, Prepared(torch.from_numpy(channel.receive_array()), None, grid))
    return ReadScan(tuple(reply["inputs"]), reply["seen"], reply["why"], scan)


def case_to_json(case: Case) -> dict[str, Any]:
    images = [os.fspath(image) for image in case.images]
    return {"id": case.id, "images": images, "reading": case.reading.model_dump(mode="json")}


def case_from_json(told: dict[str, Any]) -> Case:
    images = tuple(Path(image) for image in told["images"])
    return Case(told["id"], images, reading=Reading.model_validate(told["reading"]))


def grid_to_json(grid: Geometry) -> dict[str, Any]:
    return {"shape": grid.shape, "affine": grid.affine.tolist()}


def grid_from_json(told: dict[str, Any]) -> Geometry:
    i, j, k = told["shape"]
    return Geometry((i, j, k), np.array(told["affine"], dtype=np.float64))


def _grids(scan: PreparedScan) -> dict[str, Geometry]:
    return {"native": scan.native, "prepared": scan.prepared.geometry}


def _holds(mask: Path, sha256: str | None) -> bool:
    with suppress(VolumeError):
        return sha256 is not None and mask.is_file() and file_hash(mask) == sha256
    return False


class _Collector(logging.Handler):
    def __init__(self, records: list[tuple[str, int, str]]) -> None:
        super().__init__()
        self._records = records

    def emit(self, record: logging.LogRecord) -> None:
        self._records.append((record.name, record.levelno, record.getMessage()))


@contextmanager
def _collected_log() -> Iterator[list[tuple[str, int, str]]]:
    """What medseg logs meanwhile, for the caller to log: a leniency that was used must be told."""
    records: list[tuple[str, int, str]] = []
    logger, handler = logging.getLogger("medseg"), _Collector(records)
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield records
    finally:
        logger.removeHandler(handler)

"""What is fuzzed: whole files that medseg reads, each with the function that a user would reach it by."""

import gzip
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
import yaml
from torch import nn

from medseg.batch.record import Entry, Record
from medseg.config import DataConfig, dump_experiment, load_experiment
from medseg.data import find_cases, find_patients
from medseg.evaluation import CaseScore, FailedCase, StructureScore, write_cases_csv
from medseg.evaluation.files import read_cases_csv
from medseg.inference import Segmenter
from medseg.io import find_series, read_geometry, read_volume, write_volume
from medseg.training import RunFolder
from medseg.training.state import Learner, Progress, pack, unpack
from medseg.volume import Geometry, Volume
from support.dicom_fixture import write_dicom
from support.malicious import meta_header, nifti_header, nrrd_header, with_metadata
from support.oracle import write_oracle

SHIPPED = Path(__file__).resolve().parents[2] / "configs"


@dataclass(frozen=True)
class Target:
    """``use`` is given the mutated bytes of one of ``seeds``."""

    name: str
    seeds: Sequence[bytes]
    use: Callable[[bytes], object]
    share: float = 1.0
    """Of the time (or number) of its group."""


def _volume(shape: tuple[int, int, int] = (4, 3, 5)) -> Volume:
    values = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    return Volume(values, Geometry(shape, np.diag([2.0, 2.0, 3.0, 1.0])))


def header_targets(folder: Path) -> list[Target]:
    """NIfTI, NRRD and MetaImage."""
    seeds = {}
    for name in ("a.nii", "a.nii.gz", "a.nrrd", "a.mha"):
        write_volume(_volume(), folder / name)
        seeds[name] = (folder / name).read_bytes()
    plain = seeds["a.nii"]
    long = nib.Nifti2Image(_volume().array, _volume().geometry.affine).to_bytes()
    nifti = [plain, seeds["a.nii.gz"], nifti_header((4, 3, 5)) + bytes(60), long, gzip.compress(plain)]
    raw_nrrd, raw_mha = nrrd_header("4 3 5") + bytes(60), meta_header("4 3 5", "LOCAL") + bytes(60)
    (folder / "a.raw").write_bytes(bytes(60))
    detached = {
        ".nhdr": [nrrd_header("4 3 5", data_file="a.raw")],
        ".mhd": [meta_header("4 3 5", "a.raw")],
    }
    read = [
        ("nifti", ".nii.gz", nifti, 3.0),
        ("nrrd", ".nrrd", [seeds["a.nrrd"], raw_nrrd], 2.0),
        ("metaimage", ".mha", [seeds["a.mha"], raw_mha], 2.0),
        *((f"detached {suffix}", suffix, found, 0.5) for suffix, found in detached.items()),
    ]
    return [
        Target(name, found, _reader(folder / f"fuzzed{suffix}"), share) for name, suffix, found, share in read
    ]


def _reader(path: Path) -> Callable[[bytes], object]:
    def use(data: bytes) -> object:
        path.write_bytes(data)
        read_geometry(path)
        return read_volume(path)

    return use


def dicom_targets(folder: Path) -> list[Target]:
    """A series of three slices, one of which is damaged; and a lone file."""
    series = folder / "series"
    write_dicom(series, slices=3)
    seeds = [path.read_bytes() for path in sorted(series.iterdir())]

    def whole(data: bytes) -> object:
        (series / "1-1.dcm").write_bytes(data)
        find_series(series)
        return read_volume(series)

    alone = folder / "alone"
    alone.mkdir()
    return [
        Target("dicom series", [seeds[1], seeds[2]], whole, 2.0),
        Target("dicom file", seeds, _reader(alone / "one.dcm"), 1.0),
    ]


def text_targets(folder: Path) -> list[Target]:
    """Configurations, overrides, cohort tables and score tables."""
    configs = [path.read_bytes() for path in sorted(SHIPPED.glob("*.yaml"))]
    resolved = dump_experiment(load_experiment(SHIPPED / "prostate_ct.yaml")).encode()
    values = b"training.stop.minutes=20|labels={a: 1, b: 2}|model.channels.0=8|data.held_out=0.5|name=a"
    (folder / "ct.nii.gz").write_bytes(b"")
    table = b"case,image,label,patient,not_contoured\n" + b"".join(
        b'p%d,ct.nii.gz,"ct.nii.gz",q,organ;other\n' % n for n in range(3)
    )
    decathlon = {"channel_names": {"0": "CT"}, "training": [{"image": "./ct.nii.gz", "label": "./ct.nii.gz"}]}
    named = {"channel_names": {"0": "CT", "1": "T2"}, "file_ending": ".nii.gz", "labels": {"organ": 1}}
    pairs = {"modality": {"0": "CT"}, "dataset": {"p": {"images": ["ct.nii.gz"], "label": "ct.nii.gz"}}}
    json_seeds = [json.dumps(one).encode() for one in (decathlon, named, pairs)]
    return [
        Target("configuration", [*configs, resolved], _config(folder / "a.yaml"), 3.0),
        Target("overrides", [values], _overrides, 2.0),
        Target("cohort table", [table], _cohort(folder / "cohort.csv"), 1.0),
        Target("dataset.json", json_seeds, _cohort(folder / "dataset.json"), 1.0),
        Target("names", [b"p01", "é =1+1 nul.nii".encode()], _names(folder / "patients"), 0.5),
        Target("scores", [_scores(folder / "cases.csv")], _cases(folder / "cases.csv"), 1.0),
    ]


def _config(path: Path) -> Callable[[bytes], object]:
    def use(data: bytes) -> object:
        path.write_bytes(data)
        return dump_experiment(load_experiment(path))

    return use


def _overrides(data: bytes) -> object:
    told = data.decode("utf-8", "surrogateescape").split("|")
    return load_experiment(SHIPPED / "prostate_ct.yaml", told)


def _cohort(path: Path) -> Callable[[bytes], object]:
    one = DataConfig(cohort=str(path), folds=2)
    two = one.model_copy(update={"channels": {"CT": "*_0000.nii.gz", "T2": "*_0001.nii.gz"}})

    def use(data: bytes) -> object:
        path.write_bytes(data)
        config = two if data[-2:-1] < b"0" else one
        return find_cases(config, ("organ", "other"))

    return use


def _names(folder: Path) -> Callable[[bytes], object]:
    """Names of folders and files, mutated: what the search for patients makes of them."""

    def use(data: bytes) -> object:
        shutil.rmtree(folder, ignore_errors=True)
        name = data.replace(b"/", b"_").replace(b"\0", b"_")[:200] or b"a"
        place = Path(folder) / name.decode("utf-8", "surrogateescape")
        if name in (b".", b".."):
            return None
        place.mkdir(parents=True)
        (place / "ct.nii.gz").write_bytes(b"a")
        return find_patients(folder)

    return use


def _scores(path: Path) -> bytes:
    one = StructureScore("organ", "scored", 10.0, 11.0, {"dice": 0.5, "volume_error_ml": 1.0})
    write_cases_csv(
        path, [CaseScore("p1", "p1", (one,), {"pixel_accuracy": 0.9})], [FailedCase("p2", "p2", "x")]
    )
    return path.read_bytes()


def _cases(path: Path) -> Callable[[bytes], object]:
    def use(data: bytes) -> object:
        path.write_bytes(data)
        return read_cases_csv(path)

    return use


def record_targets(folder: Path) -> list[Target]:
    """Model files, checkpoints, and the records of runs and batches."""
    model = write_oracle(folder / "model.safetensors").read_bytes()
    network = nn.Linear(2, 1)
    learner = Learner(network, torch.optim.AdamW(network.parameters()), None)
    network(torch.ones(1, 2)).sum().backward()
    learner.optimizer.step()
    run = RunFolder(folder / "run")
    run.path.mkdir()
    history = b'{"step": 1, "loss": 0.5}\n{"step": 2, "validation_dice": 0.5}\n'
    manifest = json.dumps({"finished": True, "fingerprint": "a", "result": {"step": 1}}).encode()
    return [
        Target("model file", [model], _model(folder / "fuzzed.safetensors"), 2.0),
        Target("model metadata", [_metadata(model)], _signed(model, folder / "signed.safetensors"), 1.0),
        Target(
            "checkpoint",
            [pack(learner, Progress(), "m")],
            _checkpoint(folder / "c.safetensors", learner),
            2.0,
        ),
        Target("record of a run", [manifest, history], _run(run), 1.0),
        Target("record of a batch", _batch_seeds(folder / "seed"), _batch(folder / "batch"), 2.0),
    ]


def _model(path: Path) -> Callable[[bytes], object]:
    def use(data: bytes) -> object:
        path.write_bytes(data)
        return Segmenter.load(path, device="cpu")

    return use


def _metadata(model: bytes) -> bytes:
    """The metadata as YAML: a mutation of text leaves more of it whole."""
    told: dict[str, object] = {}
    with_metadata(model, told.update)
    return yaml.safe_dump(json.loads(json.dumps(told))).encode()


def _signed(model: bytes, path: Path) -> Callable[[bytes], object]:
    """The mutated metadata under a checksum that fits: past the first door."""

    def use(data: bytes) -> object:
        try:
            told = yaml.safe_load(data)
            json.dumps(told, allow_nan=False)
        except Exception:  # noqa: BLE001 - such metadata cannot be written
            return None
        if not isinstance(told, dict) or not all(isinstance(key, str) for key in told):
            return None

        def change(old: dict[str, object]) -> None:
            old.clear()
            old.update(told)

        path.write_bytes(with_metadata(model, change))
        return Segmenter.load(path, device="cpu")

    return use


def _checkpoint(path: Path, learner: Learner) -> Callable[[bytes], object]:
    def use(data: bytes) -> object:
        path.write_bytes(data)
        return unpack(path, learner, "m")

    return use


def _run(run: RunFolder) -> Callable[[bytes], object]:
    def use(data: bytes) -> object:
        run.manifest.write_bytes(data)
        run.metrics.write_bytes(data)
        return run.read_manifest(), run.read_history(), run.reported

    return use


def _batch_seeds(folder: Path) -> list[bytes]:
    folder.mkdir()
    record = Record(folder)
    (folder / ".medseg").mkdir(exist_ok=True)
    record.add(
        "p1", Entry(status="done", model="a", settings="b", inputs=["c"], volumes_ml={"organ": 1.5}), "1 2"
    )
    record.add("p2", Entry(status="failed", code="E406", problems=["p2: truncated; copy it anew"]))
    seeds = [(folder / ".medseg" / "journal.jsonl").read_bytes()]
    record.merge(["p1", "p2"], "a", {"device": "cpu"})
    return [*seeds, (folder / "manifest.json").read_bytes()]


def _batch(folder: Path) -> Callable[[bytes], object]:
    (folder / ".medseg").mkdir(parents=True)

    def use(data: bytes) -> object:
        (folder / ".medseg" / "journal.jsonl").write_bytes(data)
        (folder / "manifest.json").write_bytes(data)
        return Record(folder).entries

    return use

"""Where the time went: each second counted once, nothing of one run in another, nothing when nobody asks."""

import json
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from medseg.batch import BatchModel, BatchOptions, infer_patient, infer_patients
from medseg.data import find_patients
from medseg.errors import UsageError
from medseg.inference import profile as profiling
from medseg.inference.preparation import CT_BODY, recropped
from medseg.inference.profile import Profile, profiled, stage
from medseg.io import write_volume
from support.oracle import write_oracle
from support.short_memory import coded_scan


def test_a_stage_does_not_count_what_is_inside_it() -> None:
    profile = Profile()
    with profiled(profile), stage("reading"):
        time.sleep(0.02)
        with stage("preparing"):
            time.sleep(0.05)
    assert 0.02 <= profile.seconds["reading"] < 0.05 <= profile.seconds["preparing"]


def test_nothing_leaks_out_of_a_profile() -> None:
    first, second = Profile(), Profile()
    with profiled(first):
        with stage("network"):
            pass
        thread = threading.Thread(target=lambda: stage("writing").__enter__())
        thread.start()
        thread.join()
        with profiled(second), stage("summing"):
            pass
    with stage("reading"):
        pass
    assert set(first.seconds) == {"network"}
    assert set(second.seconds) == {"summing"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> BatchModel:
    path = write_oracle(tmp_path_factory.mktemp("model") / "oracle.safetensors", 3, overlap=0.0)
    return BatchModel.load(path, device="cpu", precision="fp32")


def test_one_scan(model: BatchModel, tmp_path: Path) -> None:
    write_volume(coded_scan((40, 31, 27), 3), tmp_path / "scan.nii.gz")
    (case,) = find_patients(tmp_path / "scan.nii.gz").cases
    profile, told = Profile(), []
    with profiled(profile):
        infer_patient(model.segmenter, case, tmp_path / "mask.nii.gz", told=told.append)
    expected = {"reading", "preparing", "network", "summing", "restoring", "postprocessing", "writing"}
    assert set(profile.seconds) == expected
    assert sum(profile.seconds.values()) <= profile.elapsed
    assert (profile.scans, profile.voxels) == (1, 40 * 31 * 27)
    assert profile.windows == 3 * 2 * 2
    assert told[0] == pytest.approx(profile.needed_bytes, rel=0.2)
    assert profile.needed_bytes > profiling.peak_rss_bytes() // 4 > 2**24


@pytest.mark.parametrize("workers", [0, 1])
def test_a_batch_counts_all_patients(model: BatchModel, tmp_path: Path, workers: int) -> None:
    for name in ("a", "b"):
        write_volume(coded_scan((24, 20, 18), 3), tmp_path / "in" / name / "ct.nii.gz")
    profile = Profile()
    options = BatchOptions(workers=workers, profile=profile)
    infer_patients(model, find_patients(tmp_path / "in"), tmp_path / "out", options)
    assert profile.scans == 2
    assert profile.beside == (workers > 0)
    assert {"reading", "preparing", "network", "writing"} <= set(profile.seconds)
    assert min(profile.seconds[name] for name in ("reading", "preparing", "network", "writing")) > 0


def test_crop_to_the_body_is_recorded_and_cuts_what_is_segmented(model: BatchModel, tmp_path: Path) -> None:
    scan = coded_scan((30, 30, 30), 3)
    air = np.full((60, 50, 40), -1000, dtype=np.int16)
    air[10:40, 10:40, 5:35] = np.maximum(scan.array, -100)
    volume = coded_scan((60, 50, 40), 3).with_array(air)
    cut = model.with_crop("body")
    assert cut.settings["crop"] == "body"
    assert "crop" not in model.settings
    prepared, whole = cut.preparation(volume).prepared, model.preparation(volume).prepared
    assert prepared.image.numel() < 0.6 * whole.image.numel()
    assert model.with_crop("body").with_crop("none").experiment.preprocessing.crop is None
    found, expected = cut.segmenter(volume).array, model.segmenter(volume).array
    assert np.mean(found != expected) < 0.01
    assert json.dumps(cut.settings)


def test_a_crop_that_would_change_intensities_is_refused(model: BatchModel) -> None:
    experiment = model.experiment
    update = {"intensity": [{"kind": "zscore"}]}
    changed = type(experiment.preprocessing).model_validate(
        {**experiment.preprocessing.model_dump(), **update}
    )
    zscore = experiment.model_copy(update={"preprocessing": changed})
    with pytest.raises(UsageError, match="--crop body: the model's intensities"):
        recropped(zscore, "body")
    assert recropped(zscore, "none") is zscore
    with pytest.raises(UsageError, match="--crop box: give model, body or none"):
        recropped(experiment, "box")
    assert recropped(experiment, "body").preprocessing.crop == CT_BODY

"""Every way of saving memory gives the same bits; what does not fit is refused before the work, by name."""

import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from scipy import ndimage

from medseg.config.inference import InferenceConfig, PostprocessingConfig
from medseg.errors import Code, EnvironmentProblem
from medseg.inference import Segmenter, memory, postprocess, segmenter, sums, workspace
from medseg.inference.workspace import WAYS, Way, Workspace
from medseg.volume import Geometry, Volume
from support.oracle import write_oracle
from support.short_memory import OutOfMemoryEngine, coded_scan


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Segmenter:
    path = write_oracle(tmp_path_factory.mktemp("model") / "oracle.safetensors", structures=4)
    return Segmenter.load(path, device="cpu", precision="fp32")


@pytest.fixture(scope="module")
def scan() -> Volume:
    return coded_scan((40, 31, 27), structures=4)


@pytest.mark.parametrize("way", WAYS[1:], ids=str)
@pytest.mark.parametrize("chunk", [1, 1 << 22])
def test_every_way_gives_the_same_labels(
    oracle: Segmenter, scan: Volume, way: Way, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = oracle(scan).array
    assert len(np.unique(expected)) == 5
    monkeypatch.setattr(sums, "TOUCHED_VALUES", chunk)
    monkeypatch.setattr(segmenter, "choose_way", lambda *_: way)
    np.testing.assert_array_equal(oracle.with_memory(1)(scan).array, expected)


def test_what_does_not_fit_is_refused_before_the_work(oracle: Segmenter, scan: Volume) -> None:
    held = psutil.Process().memory_info().rss
    began = time.perf_counter()
    with pytest.raises(EnvironmentProblem, match=r"needs \d+\.\d\d GiB .* raise --max-ram to") as refused:
        oracle.with_memory(held // 2)(scan, progress=lambda done, total: pytest.fail("the work began"))
    assert refused.value.code == Code.MEMORY
    assert time.perf_counter() - began < 10
    prepared = oracle.preparation(scan)
    with pytest.raises(EnvironmentProblem, match="raise --max-ram"):
        oracle.with_memory(held // 2).predict(prepared)


def test_the_quickest_way_that_fits_is_taken() -> None:
    held = psutil.Process().memory_info().rss
    needs = dict(zip(WAYS, (900 << 20, 600 << 20, 300 << 20), strict=True))
    spare = 100 << 20
    for way, need in needs.items():
        assert memory.choose_way(needs, held + need + spare, "scan") == way
    assert memory.choose_way(needs, None, "scan") == WAYS[0]


def test_need_grows_with_the_scan_and_hardly_with_the_classes(oracle: Segmenter, tmp_path: Path) -> None:
    small, large = coded_scan((64, 64, 64), 4).geometry, coded_scan((256, 256, 400), 4).geometry
    assert oracle.need_bytes(large) - oracle.need_bytes(small) > 4 * (256 * 256 * 400 - 64**3)
    long_ct = Geometry((512, 512, 1000), np.diag([0.8, 0.8, 1.0, 1.0]))
    needs = []
    for structures in (25, 104):
        path = write_oracle(tmp_path / "many.safetensors", structures, (1.5,) * 3, (96,) * 3)
        needs.append(Segmenter.load(path, device="cpu").need_bytes(long_ct))
    assert needs[1] < 1.1 * needs[0] < 4 * 2**30


@pytest.mark.parametrize(("most", "failures"), [(2, 0), (1, 0), (8, 1), (8, 2)])
def test_short_device_memory_takes_fewer_windows(
    oracle: Segmenter, scan: Volume, most: int, failures: int, caplog: pytest.LogCaptureFixture
) -> None:
    inference = InferenceConfig(batch_size=4)
    expected = oracle.with_inference(inference)(scan).array
    engine = OutOfMemoryEngine(oracle._engine, most, failures)
    short = Segmenter(oracle.experiment, oracle.fitted, engine, inference)
    np.testing.assert_array_equal(short(scan).array, expected)
    assert "short of memory" in caplog.text
    assert engine.refused > 0


def test_a_window_that_never_fits_is_refused(oracle: Segmenter, scan: Volume) -> None:
    short = Segmenter(oracle.experiment, oracle.fitted, OutOfMemoryEngine(oracle._engine, 0, 0))
    with pytest.raises(EnvironmentProblem, match="memory with one window of 16x16x16 voxels") as refused:
        short(scan)
    assert refused.value.code == Code.MEMORY


def test_failed_allocations_are_named() -> None:
    for error in (MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 8 EiB")):
        with pytest.raises(EnvironmentProblem, match="ran out") as named, memory.memory_named("segmenting"):
            raise error
        assert named.value.code == Code.MEMORY
    with pytest.raises(RuntimeError, match="something else"), memory.memory_named("segmenting"):
        raise RuntimeError("something else")


def test_files_keep_what_is_released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace.tempfile, "tempdir", str(tmp_path))
    place = Workspace(WAYS[-1])
    image = torch.rand(2, 5, 6, 7, generator=torch.Generator().manual_seed(1))
    copy = place.image(image, axis=2)
    array = place.zeros((3, 4), torch.device("cpu"))
    array[1] += 2
    place.release()
    assert torch.equal(copy, image)
    assert array.tolist() == [[0] * 4, [2] * 4, [0] * 4]
    assert list(tmp_path.iterdir()) == [], "no name is left behind"


def test_a_full_disk_is_told_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(workspace.os, "posix_fallocate", full)
    with pytest.raises(EnvironmentProblem, match="TMPDIR") as refused:
        Workspace(WAYS[-1]).zeros((3,), torch.device("cpu"))
    assert refused.value.code == Code.DISK_FULL


@pytest.mark.parametrize("seed", range(6))
def test_parts_found_slab_by_slab_are_those_of_the_whole(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(seed)
    labels = (random.random((13, 9, 8)) < 0.06 + 0.01 * seed).astype(np.uint8)
    parts, count = ndimage.label(labels, structure=np.ones((3, 3, 3)))
    sizes = np.bincount(parts.ravel())[1:]
    expected = {
        "largest": parts == 1 + int(np.argmax(sizes)),
        "minimum": np.isin(parts, 1 + np.flatnonzero(sizes >= 3)),
    }
    assert count > 2
    for thickness in (1, 2, 13):
        monkeypatch.setattr(sys.modules[postprocess.__module__], "SLAB_VOXELS", 72 * thickness)
        for name, config in (
            ("largest", PostprocessingConfig(largest_component=("a",))),
            ("minimum", PostprocessingConfig(minimum_volume_ml={"a": 3.0})),
        ):
            found = labels.copy()
            postprocess(found, config, {"a": 1}, 1.0)
            np.testing.assert_array_equal(found, expected[name])


def test_bytes_are_told_in_gib() -> None:
    assert workspace.gib(3 << 29) == "1.50 GiB"
    assert workspace.gib((3 << 29) + 1, up=True) == "1.51 GiB"

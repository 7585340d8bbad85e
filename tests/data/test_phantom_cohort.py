from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pytest

from medseg.data.phantom import PhantomPatient, pelvis_ct_cohort, phantom_patient
from medseg.data.phantom import cohort as cohort_module
from medseg.data.phantom.cohort import cohort_key, is_intact
from medseg.errors import EnvironmentProblem, UsageError
from medseg.io import read_label, read_volume
from medseg.volume import Geometry, Volume

COARSEN = 6.0


def make(cache: Path, count: int, **options: object) -> tuple:
    return pelvis_ct_cohort(count, 11, cache, coarsen=COARSEN, **options)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patients of random voxels: what is on disk is tested, not what is simulated."""

    def patient(seed: int, index: int, *, coarsen: float) -> PhantomPatient:
        rng = np.random.default_rng([seed, index])
        geometry = Geometry((9, 8, 7), np.eye(4))
        image = rng.integers(-1000, 1000, geometry.shape).astype(np.int16)
        return PhantomPatient(Volume(image, geometry), Volume((image > 0).astype(np.uint8), geometry))

    monkeypatch.setattr(cohort_module, "phantom_patient", patient)
    monkeypatch.setattr(cohort_module, "usable_cores", lambda: 1)


def stamps(cases: tuple) -> list[tuple[int, int]]:
    return [(c.images[0].stat().st_mtime_ns, c.label.stat().st_ino) for c in cases]


def test_files_hold_the_simulated_patients(tmp_path: Path) -> None:
    (case,) = make(tmp_path, 1)
    patient = phantom_patient(11, 0, coarsen=COARSEN)
    image, label = read_volume(case.images[0]), read_label(case.label)
    np.testing.assert_array_equal(image.array, patient.image.array)
    np.testing.assert_array_equal(label.array, patient.label.array)
    assert image.geometry.displacement_mm(patient.image.geometry) < 1e-3


def test_ids_and_progress(quick: None, tmp_path: Path) -> None:
    seen = []
    cases = make(tmp_path, 2, progress=lambda done, count: seen.append((done, count)))
    assert [case.id for case in cases] == ["pelvis_000", "pelvis_001"]
    assert seen == [(0, 2), (1, 2), (2, 2)]


def test_patients_are_made_once_and_a_larger_cohort_keeps_them(quick: None, tmp_path: Path) -> None:
    first = make(tmp_path, 2)
    before = stamps(first)
    seen = []
    assert stamps(make(tmp_path, 3, progress=lambda *p: seen.append(p))[:2]) == before
    assert seen == [(2, 3), (3, 3)]


def test_damaged_and_missing_files_are_made_again_with_the_same_bytes(quick: None, tmp_path: Path) -> None:
    cases = make(tmp_path, 3)
    whole = [case.images[0].read_bytes() for case in cases]
    cases[0].images[0].write_bytes(whole[0][: len(whole[0]) // 2])
    cases[1].label.unlink()
    assert not is_intact(cases[0].images[0].parent)
    untouched = stamps(cases[2:])
    again = make(tmp_path, 3)
    assert [case.images[0].read_bytes() for case in again] == whole
    assert stamps(again[2:]) == untouched


def test_an_interrupted_generation_is_completed(quick: None, tmp_path: Path) -> None:
    def stop(done: int, count: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(tmp_path, 3, progress=stop)
    folder = next((tmp_path / "phantom-pelvis-ct").iterdir())
    assert [path.name for path in folder.iterdir()] == ["pelvis_000"]
    assert len(make(tmp_path, 3)) == 3
    assert sorted(path.name for path in folder.iterdir()) == ["pelvis_000", "pelvis_001", "pelvis_002"]


def test_when_processes_break_the_rest_is_made_here(
    quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(jobs: list, workers: int):
        yield cohort_module.make_patient(*jobs[0])
        raise BrokenProcessPool

    monkeypatch.setattr(cohort_module, "_make_in_pool", broken)
    monkeypatch.setattr(cohort_module, "usable_cores", lambda: 2)
    cases = make(tmp_path, 5)
    assert all(is_intact(case.images[0].parent) for case in cases)


def test_the_key_depends_on_the_seed_and_not_on_the_count(tmp_path: Path) -> None:
    assert cohort_key(1) == cohort_key(1)
    assert cohort_key(1) != cohort_key(2)


def test_the_cache_follows_the_environment(
    quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDSEG_CACHE", str(tmp_path / "mine"))
    (case,) = pelvis_ct_cohort(1, coarsen=8.0)
    assert case.images[0].is_relative_to(tmp_path / "mine")


def test_impossible_requests_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="count 0"):
        pelvis_ct_cohort(0, cache=tmp_path)
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(EnvironmentProblem, match="MEDSEG_CACHE"):
        pelvis_ct_cohort(1, cache=blocked)

"""From files to the cache: side by side, once, and the same whatever happens."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from medseg.data import PreparedCache, find_cases, split_cases
from medseg.errors import ConfigError
from medseg.training import prepare
from medseg.training.prepare import open_prepared, prepare_cohort
from medseg.training.room import Room, SideBySide, case_bytes
from support.training_runs import tiny_experiment


def cohort(tiny_cohort: Path, **preprocessing: object):
    plain = tiny_experiment(tiny_cohort)
    told = plain.preprocessing.model_dump() | preprocessing
    experiment = type(plain).model_validate({**plain.model_dump(), "preprocessing": told})
    return experiment, split_cases(find_cases(experiment.data, tuple(experiment.labels)), experiment.data)


def test_the_number_of_workers_changes_nothing(tiny_cohort: Path, tmp_path: Path) -> None:
    experiment, split = cohort(tiny_cohort, spacing_mm=None, intensity=({"kind": "fitted"},))
    made = []
    for workers in (1, 3):
        cache = PreparedCache(tmp_path / str(workers))
        made.append((prepare_cohort(experiment, split, cache, workers=workers), cache))
    assert made[0][0] == made[1][0]
    for case in made[0][0].train:
        first, second = (open_prepared(case, cache) for _, cache in made)
        assert first.image.equal(second.image) and first.geometry == second.geometry
        assert first.label is not None and second.label is not None and first.label.equal(second.label)


def test_nothing_is_read_twice(tiny_cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment, split = cohort(tiny_cohort, intensity=({"kind": "fitted"},))
    cache = PreparedCache(tmp_path / "cache")
    first = prepare_cohort(experiment, split, cache)
    monkeypatch.setattr(prepare, "load_case", lambda *_: pytest.fail("read again"))
    assert prepare_cohort(experiment, split, PreparedCache(cache.folder)) == first
    arrays = cache.get(first.train[0].key)
    assert arrays is not None
    label, rows = arrays["label"], np.asarray(arrays["foreground"])
    assert len(rows) and np.array_equal(label[tuple(rows[:, 1:].T)], rows[:, 0])


def test_arguments_are_tried_before_anything_is_read(tiny_cohort: Path, tmp_path: Path) -> None:
    experiment, split = cohort(tiny_cohort)
    wrong = {"kind": "torchio", "name": "RandomBlur", "arguments": {"std": "much"}}
    told = type(experiment).model_validate({**experiment.model_dump(), "augmentation": [wrong]})
    with pytest.raises(ConfigError, match="TorchIO refuses RandomBlur"):
        prepare_cohort(told, split, PreparedCache(tmp_path / "cache"))
    assert not (tmp_path / "cache").exists()


def test_room_is_not_exceeded_and_one_always_gets_in() -> None:
    room, inside, most = Room(100), [], []
    lock = threading.Lock()

    def work(needed: int) -> None:
        with room.taken(needed):
            with lock:
                inside.append(needed)
                most.append(sum(inside))
            time.sleep(0.005)
            with lock:
                inside.remove(needed)

    threads = [threading.Thread(target=work, args=(needed,)) for needed in (40, 60, 50, 500, 30, 70, 20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(most) == 7 and sorted(most)[-1] == 500 and sorted(most)[-2] <= 100


def test_results_come_in_order_and_few_wait(tiny_cohort: Path) -> None:
    _, split = cohort(tiny_cohort)
    cases = [*split.train, *split.validation] * 4
    begun: list[int] = []
    with SideBySide(2) as pool:
        for number, (case, result) in enumerate(pool.each(cases, lambda case: begun.append(0) or case.id)):
            assert case is cases[number] and result == case.id
            assert len(begun) <= number + 1 + 4
    assert case_bytes(cases[0]) > 1000

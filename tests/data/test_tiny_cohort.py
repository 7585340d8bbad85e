"""The way of a cohort from files to a split in memory, on a cohort that lies whole on the disk."""

from pathlib import Path

from medseg.config import DataConfig
from medseg.data import PreparedCache, find_cases, find_patients, load_case, split_cases
from medseg.data.subject import geometry_of, to_subject

LABELS = {"bright": 1, "dark": 2}


def test_found_parted_loaded_and_kept(tiny_cohort: Path, tmp_path: Path) -> None:
    config = DataConfig(cohort=str(tiny_cohort), held_out=1, folds=2)
    split = split_cases(find_cases(config, tuple(LABELS)), config)
    assert (len(split.train), len(split.validation), len(split.test)) == (2, 3, 1)
    cache = PreparedCache(tmp_path / "cache")
    for case in (*split.train, *split.validation, *split.test):
        loaded = load_case(case, LABELS)
        assert loaded.label is not None and loaded.known == (True, True, True)
        image, label = loaded.images[0].array, loaded.label.array
        assert image[label == 1].mean() > 130 and image[label == 2].mean() < -100
        assert geometry_of(to_subject(loaded.images, loaded.label)["image"]).axis_codes == "LPS"
        cache.put(cache.key(case, "{}"), {"image": image, "label": label})
    keys = {cache.key(case, "{}") for case in split.train}
    assert len(keys) == 2 and all(cache.get(key) for key in keys)


def test_the_same_patients_are_found_for_inference(tiny_cohort: Path) -> None:
    found = find_patients(tiny_cohort)
    assert [case.id for case in found.cases] == ["p0", "p1", "p2", "p3", "p4", "p5"]
    assert found.problems == () and all(case.images[0].name == "ct.nii.gz" for case in found.cases)

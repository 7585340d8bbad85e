"""Loading: one grid, class indices, and what is known of a case."""

import logging
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from medseg.config import DataConfig
from medseg.data import Case, find_cases, load_case, load_images
from medseg.data.loading import to_class_indices
from medseg.errors import CohortError, GridMismatchError, VolumeError
from medseg.io import write_volume
from medseg.volume import Geometry, Volume

SHAPE = (5, 4, 3)
GRID = Geometry(SHAPE, np.diag([1.0, 1.0, 2.0, 1.0]))
LABELS = {"bladder": 205, "prostate": 1}


def save(path: Path, array: np.ndarray, geometry: Geometry = GRID) -> Path:
    write_volume(Volume(array, geometry), path)
    return path


@pytest.fixture
def case(tmp_path: Path) -> Case:
    image = np.arange(60, dtype=np.int16).reshape(SHAPE)
    label = np.zeros(SHAPE, dtype=np.uint8)
    label[0], label[1], label[2] = 1, 205, 9
    image_path, label_path = save(tmp_path / "ct.nii.gz", image), save(tmp_path / "label.nii.gz", label)
    return Case("p1", (image_path,), label_path)


def test_values_become_class_indices(case: Case, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "medseg"):
        loaded = load_case(case, LABELS)
    assert loaded.label is not None and loaded.label.array.dtype == np.uint8
    assert [int(plane.max()) for plane in loaded.label.array] == [2, 1, 0, 0, 0]
    assert loaded.known == (True, True, True)
    assert loaded.images[0].geometry == GRID
    assert [record.message for record in caplog.records] == [
        "case p1: label values 9 are not in the configuration and count as background"
    ]


def test_what_is_known(case: Case) -> None:
    labels = {**LABELS, "rectum": 7}
    assert load_case(case, labels).known == (True, True, True, True)
    assert load_case(case, labels, "not_contoured").known == (True, True, True, False)
    told = Case("p1", case.images, case.label, not_contoured=frozenset({"prostate"}))
    assert load_case(told, labels).known == (True, True, False, True)
    unlabelled = load_case(Case("p1", case.images, not_contoured=frozenset({"rectum"})), labels)
    assert unlabelled.label is None
    assert unlabelled.known == (True, True, True, False)


def test_label_on_another_grid_is_refused(case: Case, tmp_path: Path) -> None:
    assert case.label is not None
    moved = GRID.affine.copy()
    moved[2, 3] = 2.0
    save(case.label, np.zeros(SHAPE, dtype=np.uint8), Geometry(SHAPE, moved))
    with pytest.raises(GridMismatchError, match=r"case p1: image and label are 2 mm apart"):
        load_case(case, LABELS)
    save(case.label, np.zeros((5, 4, 2), dtype=np.uint8), Geometry((5, 4, 2), GRID.affine))
    with pytest.raises(GridMismatchError, match="case p1: image and label are not on the same grid"):
        load_case(case, LABELS)


def test_channels_on_other_grids_are_refused(case: Case, tmp_path: Path) -> None:
    spread = np.diag([2.0, 1.0, 2.0, 1.0])
    second = save(tmp_path / "t2.nii.gz", np.zeros(SHAPE, dtype=np.int16), Geometry(SHAPE, spread))
    with pytest.raises(GridMismatchError, match=r"case p1: channels 1 \(ct.nii.gz\) and 2 \(t2.nii.gz\)"):
        load_images(Case("p1", (case.images[0], second)))


def test_damaged_files_name_the_case(case: Case) -> None:
    case.images[0].write_bytes(case.images[0].read_bytes()[:40])
    with pytest.raises(VolumeError, match="case p1: "):
        load_case(case, LABELS)


def test_fractions_are_no_label(case: Case) -> None:
    assert case.label is not None
    save(case.label, np.full(SHAPE, 0.5, dtype=np.float32))
    with pytest.raises(VolumeError, match="case p1: label: "):
        load_case(case, LABELS)


def test_more_classes_than_fit(case: Case) -> None:
    with pytest.raises(CohortError, match="256 structures, at most 255"):
        load_case(case, {f"s{n}": n for n in range(1, 257)})


dtypes = st.sampled_from(["u1", "i1", "u2", "i2", "i4", "u4", "i8"])


@given(st.data(), dtypes, st.booleans())
def test_mapping_is_that_of_the_definition(data: st.DataObject, dtype: str, fortran: bool) -> None:
    array = data.draw(npst.arrays(dtype, (3, 2, 4)))
    values = data.draw(st.lists(st.sampled_from(sorted({*array.ravel().tolist(), 1, 2, 300}))))
    values = [value for value in dict.fromkeys(values) if value != 0]
    labels = {f"s{value}": value for value in values}
    array = np.asfortranarray(array) if fortran else array
    classes, counts = to_class_indices(array, labels, "case")
    expected = [
        [values.index(v) + 1 if v in values else 0 for v in row] for row in array.reshape(1, -1).tolist()
    ]
    assert classes.ravel().tolist() == expected[0]
    assert counts == tuple(expected[0].count(index) for index in range(len(values) + 1))


def test_head_and_neck_knows_what_was_not_contoured(shared_data: Path) -> None:
    labels = {"brainstem": 1, "cord": 2, "parotid_right": 3, "parotid_left": 4, "mandible": 7}
    config = DataConfig(cohort=str(shared_data / "head_neck_ct"), missing_structures="not_contoured")
    cases = find_cases(config, tuple(labels))[:12]
    known = [load_case(case, labels, config.missing_structures).known for case in cases]
    assert all(flags[0] for flags in known)
    assert any(not all(flags) for flags in known)

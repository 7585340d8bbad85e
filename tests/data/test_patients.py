"""Finding patients to infer: no labels, and one bad patient stops no other."""

from pathlib import Path

import pytest

from medseg.data import Case, find_patients
from medseg.errors import Code, CohortError


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def dicom_folder(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "1.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\0" * 64)
    return folder


def test_one_file_or_one_series(tmp_path: Path) -> None:
    touch(tmp_path, "scan.nii.gz")
    series = dicom_folder(tmp_path / "series")
    assert find_patients(tmp_path / "scan.nii.gz").cases == (Case("scan", (tmp_path / "scan.nii.gz",)),)
    assert find_patients(series).cases == (Case("series", (series,)),)


def test_a_flat_folder(tmp_path: Path) -> None:
    touch(tmp_path, "a.nii.gz", "b.nrrd", "b_seg.nii.gz", "readme.txt", "._a.nii.gz", "segal.nii.gz")
    dicom_folder(tmp_path / "c")
    found = find_patients(tmp_path)
    assert [case.id for case in found.cases] == ["a", "b", "c", "segal"]
    assert found.problems == ()


def test_only_files_named_like_labels_are_scans_after_all(tmp_path: Path) -> None:
    touch(tmp_path, "a_mask.nii.gz", "b_mask.nii.gz")
    assert [case.id for case in find_patients(tmp_path).cases] == ["a_mask", "b_mask"]


def test_folders_of_patients(tmp_path: Path) -> None:
    touch(tmp_path, "p1/ct.nii.gz", "p1/organs.nii.gz", "p2/odd.nii.gz", "p3/ct.nii.gz", "p3/dose.nii.gz")
    touch(tmp_path, "p4/before/ct.nii.gz", "p4/after/ct.nii.gz")
    series = dicom_folder(tmp_path / "p5/study/ct")
    found = find_patients(tmp_path)
    assert [case.id for case in found.cases] == ["p1", "p2", "p3", "p4-after", "p4-before", "p5-study"]
    assert found.cases[-1].images == (series,)
    assert {case.patient for case in found.cases} == {"p1", "p2", "p3", "p4", "p5"}
    assert found.problems == ()


def test_bad_patients_do_not_stop_the_others(tmp_path: Path) -> None:
    touch(tmp_path, "p1/ct.nii.gz", "p2/notes.txt", "p3/t1.nii.gz", "p3/t2.nii.gz")
    found = find_patients(tmp_path)
    assert [case.id for case in found.cases] == ["p1"]
    assert [(problem.id, problem.told, problem.code) for problem in found.problems] == [
        ("p3", "2 scans could be the image (t1.nii.gz, t2.nii.gz): leave one in the folder", Code.CHANNELS),
        ("p2", "no volume file and no DICOM series in it", Code.NO_SCAN),
    ]


def test_channels_of_patient_folders(tmp_path: Path) -> None:
    touch(tmp_path, "p1/x_t2.nii.gz", "p1/x_adc.nii.gz", "p2/x_t2.nii.gz")
    found = find_patients(tmp_path, {"t2": "*_t2*", "adc": "*_adc*"})
    assert [path.name for path in found.cases[0].images] == ["x_t2.nii.gz", "x_adc.nii.gz"]
    assert [problem[:3] for problem in found.problems] == [
        (
            "p2",
            "no image of channel adc ('*_adc*'): exactly one each is needed (found x_t2.nii.gz)",
            Code.CHANNELS,
        ),
    ]


def test_channels_in_a_flat_folder(tmp_path: Path) -> None:
    touch(tmp_path, "a_0000.nii.gz", "a_0001.nii.gz", "b_0001.nii.gz")
    found = find_patients(tmp_path, {"t2": "*_0000.nii.gz", "adc": "*_0001.nii.gz"})
    assert [case.id for case in found.cases] == ["a"]
    assert [problem.id for problem in found.problems] == ["b"]
    with pytest.raises(CohortError, match="one image, and the model needs 2 channels"):
        find_patients(tmp_path / "a_0000.nii.gz", {"t2": "*_0000.nii.gz", "adc": "*_0001.nii.gz"})


def test_a_pattern_for_one_channel_settles_ambiguity(tmp_path: Path) -> None:
    touch(tmp_path, "p1/t1.nii.gz", "p1/t2.nii.gz", "p2/scan.nii.gz")
    found = find_patients(tmp_path, {"image": "t2*"})
    assert [case.images[0].name for case in found.cases] == ["t2.nii.gz", "scan.nii.gz"]


def test_results_never_overwrite_each_other(tmp_path: Path) -> None:
    touch(tmp_path, "a.nii.gz", "a.nrrd", "A.mha")
    found = find_patients(tmp_path)
    assert len(found.cases) == 1
    assert len(found.problems) == 2
    assert all("has the same name as" in problem.told for problem in found.problems)


@pytest.mark.parametrize(
    ("name", "told"), [("gone", "not found"), ("", "no volume file"), ("x.txt", "neither")]
)
def test_nothing_there(tmp_path: Path, name: str, told: str) -> None:
    touch(tmp_path, "x.txt")
    with pytest.raises(CohortError, match=told):
        find_patients(tmp_path / name)


def test_real_scans(shared_data: Path) -> None:
    series = shared_data / "dicom" / "torso_ct_jpeg2000"
    assert [case.id for case in find_patients(series).cases] == ["torso_ct_jpeg2000"]
    assert len(find_patients(shared_data / "hippocampus_mr" / "images").cases) == 200
    assert [case.id for case in find_patients(shared_data / "torso_ct").cases] == [
        "example_ct",
        "example_mr_sm",
    ]
    assert len(find_patients(shared_data / "head_neck_ct").cases) == 110

"""Cohorts as folders: patient folders, and images/ with labels/."""

from pathlib import Path

import pytest

from medseg.config import DataConfig
from medseg.data import Case, find_cases
from medseg.errors import CohortError

STRUCTURES = ("bladder", "prostate")


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def dicom_folder(folder: Path, slices: int = 2) -> Path:
    """What every DICOM file starts with is enough to be found."""
    folder.mkdir(parents=True)
    for number in range(slices):
        (folder / f"{number:03d}.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\0" * 64)
    return folder


def find(root: Path, **config: object) -> tuple[Case, ...]:
    return find_cases(DataConfig.model_validate({"cohort": str(root), **config}), STRUCTURES)


def problems(root: Path, **config: object) -> str:
    with pytest.raises(CohortError) as caught:
        find(root, **config)
    assert all("\n" not in problem for problem in caught.value.problems)
    return str(caught.value)


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("ct.nii.gz", "organs.nii.gz"),
        ("ct.nii.gz", "ct_seg.nii.gz"),
        ("image.nrrd", "label.nrrd"),
        ("planning_ct.nii", "tumour.nii"),
        ("T1.mha", "mask.mha"),
        ("p1.nii.gz", "gtv.nii.gz"),
        ("lowdosect.nii.gz", "Segmentation.nii.gz"),
        ("scan.nii.gz", "contours.nii.gz"),
    ],
)
def test_usual_names_need_no_patterns(tmp_path: Path, image: str, label: str) -> None:
    touch(tmp_path, f"p1/{image}", f"p1/{label}", f"p2/{image}", f"p2/{label}")
    first, second = find(tmp_path)
    assert first == Case("p1", (tmp_path / "p1" / image,), tmp_path / "p1" / label, "p1")
    assert second.id == "p2"


def test_cases_come_sorted_and_hidden_files_are_left_out(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "b/ct.nii.gz",
        "b/label.nii.gz",
        "a/ct.nii.gz",
        "a/label.nii.gz",
        "a/._ct.nii.gz",
        ".x/ct.nii.gz",
    )
    touch(tmp_path, "__MACOSX/a/ct.nii.gz")
    assert [case.id for case in find(tmp_path)] == ["a", "b"]


def test_deeper_folders_are_cases_of_the_patient_on_top(tmp_path: Path) -> None:
    for place in ("p1/before", "p1/after", "p2/before"):
        touch(tmp_path, f"{place}/ct.nii.gz", f"{place}/label.nii.gz")
    assert [(case.id, case.patient) for case in find(tmp_path)] == [
        ("p1-after", "p1"),
        ("p1-before", "p1"),
        ("p2-before", "p2"),
    ]


def test_one_folder_around_all_is_told(tmp_path: Path) -> None:
    touch(tmp_path, *(f"data/p{n}/{name}.nii.gz" for n in range(3) for name in ("ct", "label")))
    assert f"all 3 cases lie in data: set data.cohort to {tmp_path / 'data'}" in problems(tmp_path)


def test_patterns_choose_channels_and_label(tmp_path: Path) -> None:
    names = ("x_t2.nii.gz", "x_adc.nii.gz", "x_zones.nii.gz", "x_other.nii.gz")
    touch(tmp_path, *(f"{p}/{name}" for p in ("p1", "p2") for name in names))
    cases = find(tmp_path, channels={"adc": "*_adc*", "t2": "*_t2*"}, label="*_zones*")
    assert [path.name for path in cases[0].images] == ["x_adc.nii.gz", "x_t2.nii.gz"]
    assert cases[0].label == tmp_path / "p1/x_zones.nii.gz"


def test_a_wide_image_pattern_does_not_take_the_label(tmp_path: Path) -> None:
    touch(tmp_path, "p1/a.nii.gz", "p1/a_seg.nii.gz", "p2/a.nii.gz", "p2/a_seg.nii.gz")
    cases = find(tmp_path, channels={"ct": "*.nii.gz"}, label="*_seg.nii.gz")
    assert [path.name for path in cases[0].images] == ["a.nii.gz"]


def test_patterns_with_folders_are_counted_from_the_patient(tmp_path: Path) -> None:
    touch(
        tmp_path,
        *(f"{p}/{name}" for p in ("p1", "p2") for name in ("img/s.nii.gz", "seg/s.nii.gz", "x/y.nii.gz")),
    )
    cases = find(tmp_path, channels={"ct": "img/*.nii.gz"}, label="seg/*.nii.gz")
    assert [case.id for case in cases] == ["p1", "p2"]
    assert cases[0].label == tmp_path / "p1/seg/s.nii.gz"


def test_a_dicom_series_is_an_image_wherever_it_lies(tmp_path: Path) -> None:
    touch(tmp_path, "p1/label.nii.gz", "p2/label.nii.gz", "p3/label.nii.gz")
    near = dicom_folder(tmp_path / "p1/series")
    deep = dicom_folder(tmp_path / "p2/study/1.2.3")
    dicom_folder(tmp_path / "x").rename(tmp_path / "p3/ct")
    first, second, _ = find(tmp_path)
    assert (first.images, second.images) == ((near,), (deep,))


def test_slices_beside_their_label(tmp_path: Path) -> None:
    for name in ("p1", "p2"):
        touch(dicom_folder(tmp_path / name), "label.nii.gz")
    first, _ = find(tmp_path)
    assert first.images == (tmp_path / "p1",)
    assert first.label == tmp_path / "p1/label.nii.gz"


def test_ambiguity_names_the_candidates_and_the_key(tmp_path: Path) -> None:
    touch(tmp_path, "p1/t1.nii.gz", "p1/t2.nii.gz", "p1/label.nii.gz")
    told = problems(tmp_path)
    assert "case p1: 2 files could be the image (t1.nii.gz, t2.nii.gz): name one by data.channels" in told
    touch(tmp_path, "p2/ct.nii.gz", "p2/label.nii.gz", "p2/seg.nii.gz")
    assert (
        "case p2: 2 files could be the label (label.nii.gz, seg.nii.gz): name one by data.label"
        in problems(tmp_path)
    )


def test_all_problems_are_told_together(tmp_path: Path) -> None:
    touch(tmp_path, "p1/ct.nii.gz", "p2/label.nii.gz", "p3/ct.nii.gz", "p3/label.nii.gz", "p4/notes.txt")
    told = problems(tmp_path)
    assert "case p1: no label (found ct.nii.gz; looked for label*" in told
    assert "case p2: no image" in told
    assert "folder p4: no scan in it" in told
    assert "p3" not in told


def test_at_most_twenty_problems_and_how_many_more(tmp_path: Path) -> None:
    touch(tmp_path, *(f"p{n:02d}/ct.nii.gz" for n in range(33)))
    lines = problems(tmp_path).splitlines()
    assert len(lines) == 21
    assert lines[-1] == "and 13 more problems of this cohort"


def test_loose_scans_are_not_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, "p1/ct.nii.gz", "p1/label.nii.gz", "stray.nii.gz")
    assert "stray.nii.gz lie beside the patient folders" in problems(tmp_path)


def test_missing_and_empty_places(tmp_path: Path) -> None:
    (tmp_path / "hippocampus").mkdir()
    assert f"did you mean {tmp_path / 'hippocampus'}?" in problems(tmp_path / "hipocampus")
    assert "no case found; give a folder of patient folders" in problems(tmp_path / "hippocampus")
    touch(tmp_path, "ct.nii.gz")
    assert "a file of this kind is not a cohort" in problems(tmp_path / "ct.nii.gz")


def test_a_table_in_an_empty_folder_is_hinted_at(tmp_path: Path) -> None:
    touch(tmp_path, "cohort.csv")
    assert f"did you mean {tmp_path / 'cohort.csv'}?" in problems(tmp_path)


def test_links_in_circles_end(tmp_path: Path) -> None:
    touch(tmp_path, "p1/ct.nii.gz", "p1/label.nii.gz", "p2/ct.nii.gz", "p2/label.nii.gz")
    (tmp_path / "p1/again").symlink_to(tmp_path, target_is_directory=True)
    assert [case.id for case in find(tmp_path)] == ["p1", "p2"]


def test_names_that_are_no_file_names_are_made_safe(tmp_path: Path) -> None:
    touch(tmp_path, "a\nb/ct.nii.gz", "a\nb/label.nii.gz", "c:d/ct.nii.gz", "c:d/label.nii.gz")
    assert [case.id for case in find(tmp_path)] == ["a_b", "c_d"]


@pytest.mark.parametrize("folders", [("images", "labels"), ("imagesTr", "labelsTr")])
def test_images_and_labels(tmp_path: Path, folders: tuple[str, str]) -> None:
    images, labels = folders
    touch(tmp_path, f"{images}/a.nii.gz", f"{images}/b.nii.gz", f"{labels}/a.nii.gz", f"{labels}/b.nii.gz")
    assert find(tmp_path) == (
        Case("a", (tmp_path / images / "a.nii.gz",), tmp_path / labels / "a.nii.gz"),
        Case("b", (tmp_path / images / "b.nii.gz",), tmp_path / labels / "b.nii.gz"),
    )


@pytest.mark.parametrize(
    ("image", "label", "case"),
    [
        ("a_0000.nii.gz", "a.nii.gz", "a"),
        ("a.nii.gz", "a_seg.nii.gz", "a"),
        ("a.nii.gz", "a-label.nrrd", "a"),
        ("a_ct.nii.gz", "a_mask.nii.gz", "a_ct"),
        ("case_0001.nii.gz", "case_0001.nii.gz", "case_0001"),
    ],
)
def test_names_that_belong_together(tmp_path: Path, image: str, label: str, case: str) -> None:
    touch(tmp_path, f"images/{image}", f"labels/{label}")
    assert find(tmp_path) == (Case(case, (tmp_path / "images" / image,), tmp_path / "labels" / label),)


def test_numbered_cases_are_not_channels(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{place}/case_{n:04d}.nii.gz" for place in ("images", "labels") for n in range(3)))
    assert [case.id for case in find(tmp_path)] == ["case_0000", "case_0001", "case_0002"]


def test_several_channels_by_pattern(tmp_path: Path) -> None:
    touch(tmp_path, "images/a_0000.nii.gz", "images/a_0001.nii.gz", "labels/a.nii.gz")
    assert 'name them by data.channels, as in {c0000: "*_0000.*"' in problems(tmp_path)
    (case,) = find(tmp_path, channels={"adc": "*_0001.nii.gz", "t2": "*_0000.nii.gz"})
    assert [path.name for path in case.images] == ["a_0001.nii.gz", "a_0000.nii.gz"]
    touch(tmp_path, "images/b_0000.nii.gz", "labels/b.nii.gz")
    told = problems(tmp_path, channels={"adc": "*_0001.nii.gz", "t2": "*_0000.nii.gz"})
    assert "case b: no image of channel adc" in told
    assert "fits none of 3 files" in problems(tmp_path, channels={"adc": "*_adc.nii.gz"})
    assert "a * is needed" in problems(tmp_path, channels={"adc": "adc.nii.gz"})


def test_image_without_label_and_label_without_image(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.nii.gz", "images/b.nii.gz", "labels/b.nii.gz", "labels/c.nii.gz")
    told = problems(tmp_path)
    assert "case a: no label" in told
    assert "label c.nii.gz: no image of that name" in told


def test_two_labels_and_two_images_of_a_case(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.nii.gz", "labels/a_seg.nii.gz", "labels/a_mask.nii.gz")
    assert "2 files could be the label (a_mask.nii.gz, a_seg.nii.gz)" in problems(tmp_path)
    touch(tmp_path, "images/a.nrrd")
    assert "2 files could be the image (a.nii.gz, a.nrrd)" in problems(tmp_path)


def test_mixed_forms_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.nii.gz", "labels/a.nii.gz", "p7/ct.nii.gz")
    assert "two forms of a cohort at once (images/, labels/ and p7/)" in problems(tmp_path)


def test_names_that_differ_in_case_only_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.nii.gz", "labels/a.nii.gz", "images/A.nii.gz", "labels/A.nii.gz")
    assert "2 scans have this name" in problems(tmp_path)


def test_dicom_folders_among_images(tmp_path: Path) -> None:
    touch(tmp_path, "labels/a.nii.gz")
    dicom_folder(tmp_path / "images/a")
    assert find(tmp_path)[0].images == (tmp_path / "images/a",)


@pytest.mark.parametrize(
    ("name", "count"), [("hippocampus_mr", 200), ("head_neck_ct", 110), ("sarcoma_ct", 21)]
)
def test_real_cohorts(shared_data: Path, name: str, count: int) -> None:
    cases = find(shared_data / name)
    assert len(cases) == count
    assert all(case.label is not None and case.label != case.images[0] for case in cases)

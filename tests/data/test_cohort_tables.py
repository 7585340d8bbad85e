"""Cohorts as tables: CSV, dataset.json, and the names of phantoms."""

import json
from pathlib import Path

import pytest

from medseg.config import DataConfig
from medseg.data import Case, find_cases
from medseg.errors import CohortError

STRUCTURES = ("brainstem", "mandible")


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def find(root: Path | str, **config: object) -> tuple[Case, ...]:
    return find_cases(DataConfig.model_validate({"cohort": str(root), **config}), STRUCTURES)


def problems(root: Path | str, **config: object) -> str:
    with pytest.raises(CohortError) as caught:
        find(root, **config)
    return str(caught.value)


def table(folder: Path, *lines: str) -> Path:
    touch(folder, "a.nii.gz", "a_l.nii.gz", "b.nii.gz", "b_l.nii.gz")
    path = folder / "cohort.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8-sig")
    return path


def test_table(tmp_path: Path) -> None:
    path = table(
        tmp_path,
        "case, image,label,patient,not_contoured,age",
        "s2,b.nii.gz,b_l.nii.gz,doe,,70",
        "",
        's1,a.nii.gz,"a_l.nii.gz",doe,brainstem; mandible,71',
    )
    first, second = find(path)
    assert first == Case(
        "s1", (tmp_path / "a.nii.gz",), tmp_path / "a_l.nii.gz", "doe", frozenset({"brainstem", "mandible"})
    )
    assert (second.id, second.patient, second.not_contoured) == ("s2", "doe", frozenset())


def test_channels_of_a_table(tmp_path: Path) -> None:
    path = table(tmp_path, "case,image,image2,label", "a,a.nii.gz,b.nii.gz,a_l.nii.gz")
    (case,) = find(path, channels={"t2": "*", "adc": "*"})
    assert [image.name for image in case.images] == ["a.nii.gz", "b.nii.gz"]
    assert "2 image columns (image, image2); data.channels is not set" in problems(path)
    path = table(tmp_path, "case,adc,t2,label", "a,a.nii.gz,b.nii.gz,a_l.nii.gz")
    (case,) = find(path, channels={"t2": "*", "adc": "*"})
    assert [image.name for image in case.images] == ["b.nii.gz", "a.nii.gz"]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("a,a.nii.gz,,", "line 3: case a: no label: give its path"),
        ("a,gone.nii.gz,a_l.nii.gz,", "gone.nii.gz does not exist"),
        ("a,cohort.csv,a_l.nii.gz,", "neither a volume file nor a DICOM folder"),
        (",a.nii.gz,a_l.nii.gz,", "line 3: column case is empty"),
        ("../../a,a.nii.gz,a_l.nii.gz,", "is not a safe file name"),
        ("b,a.nii.gz,a_l.nii.gz,", "line 3: case b is already on line 2"),
        (
            "a,a.nii.gz,a_l.nii.gz,brainstm",
            "not_contoured 'brainstm' is not one of the labels (did you mean brainstem?)",
        ),
        ("a,a.nii.gz,a_l.nii.gz,,x", "line 3: 5 values for 4 columns"),
        ('a,"a.nii.gz,a_l.nii.gz,', "cannot be read as CSV"),
    ],
)
def test_errors_of_a_table_name_the_line(tmp_path: Path, line: str, told: str) -> None:
    path = table(tmp_path, "case,image,label,not_contoured", "b,b.nii.gz,b_l.nii.gz,", line)
    assert told in problems(path)
    assert str(path) in problems(path)


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("case,image", "no column label"),
        ("name,image,label", "no column case"),
        ("case,image,label,not_contured", "did you mean not_contoured?"),
        ("case;image;label", "not parted by commas"),
        ("case,image,label,label", "column label is there twice"),
    ],
)
def test_errors_of_a_header(tmp_path: Path, header: str, told: str) -> None:
    assert told in problems(table(tmp_path, header, "a,a.nii.gz,a_l.nii.gz"))


def test_not_text(tmp_path: Path) -> None:
    (tmp_path / "cohort.csv").write_bytes(b"\xff\xfe\x00case")
    assert "cannot be read as CSV in UTF-8" in problems(tmp_path / "cohort.csv")


def write_json(folder: Path, content: object) -> Path:
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder


def test_decathlon(tmp_path: Path) -> None:
    touch(tmp_path, "imagesTr/h_1.nii.gz", "labelsTr/h_1.nii.gz", "imagesTs/h_2.nii.gz")
    entry = {"image": "./imagesTr/h_1.nii.gz", "label": "./labelsTr/h_1.nii.gz"}
    write_json(tmp_path, {"modality": {"0": "MRI"}, "training": [entry], "test": ["./imagesTs/h_2.nii.gz"]})
    expected = (Case("h_1", (tmp_path / "imagesTr/h_1.nii.gz",), tmp_path / "labelsTr/h_1.nii.gz"),)
    assert find(tmp_path) == find(tmp_path / "dataset.json") == expected


def test_decathlon_problems(tmp_path: Path) -> None:
    touch(tmp_path, "imagesTr/a.nii.gz")
    write_json(
        tmp_path,
        {"training": [{"image": "imagesTr/a.nii.gz", "label": "labelsTr/a.nii.gz"}, "b", {"image": 3}]},
    )
    told = problems(tmp_path)
    assert "case a: label" in told
    assert told.count("write it as {image: path, label: path}") == 2


def test_nnunet_1_lists_names_without_their_channel(tmp_path: Path) -> None:
    touch(tmp_path, "imagesTr/a_0000.nii.gz", "imagesTr/a_0001.nii.gz", "labelsTr/a.nii.gz")
    entry = {"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}
    write_json(tmp_path, {"modality": {"0": "T2", "1": "ADC"}, "training": [entry]})
    (case,) = find(tmp_path, channels={"adc": "*", "t2": "*"})
    assert [image.name for image in case.images] == ["a_0001.nii.gz", "a_0000.nii.gz"]
    (case,) = find(tmp_path, channels={"t2": "*"})
    assert [image.name for image in case.images] == ["a_0000.nii.gz"]


def test_nnunet_2(tmp_path: Path) -> None:
    touch(tmp_path, "imagesTr/a_0000.nrrd", "imagesTr/a_0001.nrrd", "labelsTr/a.nrrd")
    write_json(
        tmp_path, {"channel_names": {"0": "T2", "1": "ADC"}, "file_ending": ".nrrd", "labels": {"x": 1}}
    )
    (case,) = find(tmp_path, channels={"T2": "*", "ADC": "*"})
    assert case == Case(
        "a",
        (tmp_path / "imagesTr/a_0000.nrrd", tmp_path / "imagesTr/a_0001.nrrd"),
        tmp_path / "labelsTr/a.nrrd",
    )
    assert "2 channels (T2, ADC): name those to use in data.channels" in problems(tmp_path)
    touch(tmp_path, "labelsTr/b.nrrd")
    assert "label b.nrrd: no image" in problems(tmp_path, channels={"T2": "*"})


def test_nnunet_2_with_listed_files(tmp_path: Path) -> None:
    touch(tmp_path, "x/1.nii.gz", "x/2.nii.gz")
    dataset = {"a": {"images": ["x/1.nii.gz"], "label": "x/2.nii.gz"}}
    write_json(tmp_path, {"channel_names": {"0": "CT"}, "file_ending": ".nii.gz", "dataset": dataset})
    assert find(tmp_path) == (Case("a", (tmp_path / "x/1.nii.gz",), tmp_path / "x/2.nii.gz"),)
    write_json(
        tmp_path, {"channel_names": {"0": "CT"}, "dataset": {"a": {"images": [], "label": "x/2.nii.gz"}}}
    )
    assert "dataset: a: 0 images" in problems(tmp_path)


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"a": 1}', '{"modality": ["CT"], "training": []}', "[" * 100_000]
)
def test_json_that_is_no_dataset(tmp_path: Path, text: str) -> None:
    (tmp_path / "dataset.json").write_text(text)
    assert "dataset.json" in problems(tmp_path)


@pytest.mark.parametrize(
    ("cohort", "told"),
    [
        ("phantom:pelvis_mr", "use phantom:pelvis_ct"),
        ("phantom:pelvis_ct?patients=0", "with whole numbers"),
        ("phantom:pelvis_ct?patient=3", "with whole numbers"),
        ("phantom:pelvis_ct?seed=x", "with whole numbers"),
    ],
)
def test_phantoms_that_are_none(cohort: str, told: str) -> None:
    assert told in problems(cohort)

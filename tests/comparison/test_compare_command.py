"""medseg evaluate, twice, on real hippocampus masks; then medseg compare."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, binary_erosion

from medseg.cli.app import app
from medseg.io import read_label, write_volume

CASES = 7


def medseg(*arguments: object) -> object:
    return app([str(argument) for argument in arguments], standalone_mode=False)


@pytest.fixture(scope="module")
def scores(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Masks that are a voxel too thin, and ones that are nearly right: evaluated by the command line."""
    place = tmp_path_factory.mktemp("hippocampus")
    paths = sorted((shared_data / "hippocampus_mr" / "labels").glob("*.nii.gz"))[:CASES]
    for number, path in enumerate(paths):
        truth = read_label(path)
        write_volume(truth, place / "references" / path.name)
        inside = truth.array > 0
        thin = np.where(binary_erosion(inside), truth.array, 0)
        other = np.where(binary_dilation(inside) & (number < 2), np.maximum(truth.array, 1), truth.array)
        for run, array in (("thin", thin), ("close", other)):
            if (run, number) != ("thin", 6):
                write_volume(truth.with_array(array.astype(np.uint8)), place / "masks" / run / path.name)
    for run in ("thin", "close"):
        code = medseg("evaluate", place / "masks" / run, place / "references", "-o", place / run,
                      "--labels", "anterior=1,posterior=2", "--lesions", "anterior",
                      "--lesion-match", "any", "--lesion-minimum-mm3", "2")  # fmt: skip
        assert code == (3 if run == "thin" else 0), "one mask is missing, and counts as failed"
    return place


def test_the_better_masks_are_found(scores: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = scores / "out"
    code = medseg("compare", scores / "thin", scores / "close", "-o", out, "--metric", "dice", "--metric",
                  "hd95", "--metric", "lesion_f1")  # fmt: skip
    said = capsys.readouterr()
    assert code == 0, "the failed case is paired by its reference"
    assert "close against thin" in said.out
    assert "failed" in said.out
    told = json.loads((out / "comparison.json").read_text(encoding="utf-8"))
    rows = {(row["metric"], row["structure"]): row for row in told["pairs"][0]["rows"]}
    assert set(rows) >= {("dice", "anterior"), ("dice", "mean of structures"), ("lesion_f1", "anterior")}
    assert all(rows["dice", name]["cases"] == CASES for name in ("anterior", "posterior"))
    assert (rows["dice", "anterior"]["wins"], rows["dice", "anterior"]["losses"]) == (5, 2)
    assert rows["dice", "posterior"]["wins"] == CASES
    assert rows["dice", "posterior"]["test"]["p"] == pytest.approx(2 * 0.5**CASES)
    assert rows["hd95", "posterior"]["difference"] < 0
    assert rows["lesion_f1", "posterior"]["cases"] == 0, "its parts are not counted"
    worst = max(
        told["pairs"][0]["cases"],
        key=lambda each: each["metric"] == "dice" and each["other"] - each["baseline"],
    )
    assert worst["baseline_status"] == "failed"


def test_json_on_standard_output(scores: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert medseg("compare", scores / "close" / "cases.csv", scores / "thin", "-o", tmp_path, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["report"].endswith("comparison.html")
    assert told["metrics"] == ["dice"]
    assert list(told["evaluations"]) == ["close", "thin"]


def test_other_lesions_are_other_rules(scores: Path, tmp_path: Path) -> None:
    from medseg.errors import CohortError

    masks = (scores / "masks" / "close", scores / "references")
    lesions = ("--lesions", "anterior", "--lesion-match", "0.5")
    medseg("evaluate", *masks, "-o", tmp_path / "again", "--labels", "anterior=1,posterior=2", *lesions)
    pair = (scores / "close", tmp_path / "again", "-o", tmp_path / "out")
    with pytest.raises(CohortError, match="lesion_f1 by different rules"):
        medseg("compare", *pair, "--metric", "lesion_f1")
    assert medseg("compare", *pair) == 0


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--lesions", "tumour"), "tumour not in labels"),
        (("--lesion-match", "any"), "add --lesions"),
        (("--lesions", "a", "--lesion-match", "2"), "give any, or an IoU"),
    ],
)
def test_options_of_lesions(scores: Path, tmp_path: Path, options: tuple[str, ...], told: str) -> None:
    from medseg.errors import MedsegError

    with pytest.raises(MedsegError, match=told):
        medseg(
            "evaluate",
            scores / "masks" / "close",
            scores / "references",
            "-o",
            tmp_path,
            "--labels",
            "a=1",
            *options,
        )


def test_a_case_without_partner_ends_with_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from support.compared import scored, structure, write

    both = [scored(case, structure("a", 0.8)) for case in ("c1", "c2")]
    folders = (write(tmp_path / "one", *both), write(tmp_path / "two", *both[:1]))
    assert medseg("compare", *folders, "-o", tmp_path / "out", "--json") == 3
    said = capsys.readouterr()
    assert "not paired: case c2: not in two" in said.err
    assert json.loads(said.out)["pairs"][0]["left_out"][0]["case"] == "c2"

"""``medseg reproduce``: the same bits again, also of a run that a clock ended; what differs is named."""

import gzip
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from medseg.cli import main
from medseg.errors import Code, UsageError
from medseg.io import read_label, write_volume
from medseg.modelfile import load_model, save_model
from medseg.reproduction import compare_runs, differences, read_recorded
from medseg.reproduction.differences import Now
from medseg.training import RunFolder
from support.training_runs import quick_experiment, write_config


def medseg(*arguments: object) -> int:
    """The command line in this process; its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["medseg", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
    return int(str(ended.value.code))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, write_tiny_cohort: Callable[..., Path]) -> Path:
    """A cohort, and a run on it that the clock ended, its learning rate a function of time."""
    folder = tmp_path_factory.mktemp("place")
    cohort = write_tiny_cohort(folder / "cohort")
    stop = {"epochs": None, "minutes": 0.03}
    config = write_config(folder / "quick.yaml", quick_experiment(cohort, stop=stop))
    assert medseg("train", config, "-o", folder / "run") == 0
    return folder


@pytest.fixture(scope="module")
def now(place: Path) -> Now:
    return Now.of(read_recorded(place / "run").experiment, 1)


def edited(place: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """A copy of the run whose manifest tells something else."""
    run = tmp_path / "run"
    shutil.copytree(place / "run", run)
    told = json.loads((run / "manifest.json").read_text())
    change(told)
    (run / "manifest.json").write_text(json.dumps(told))
    return run


def differing(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What counts, as ``kind: what``."""
    found = json.loads(capsys.readouterr().out)["differences"]
    return [f"{each['kind']}: {each['what']}" for each in found if each["counts"]]


@pytest.mark.long
def test_a_run_that_a_clock_ended_comes_out_again_bit_for_bit(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert medseg("reproduce", place / "run", "-o", tmp_path / "again", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["answer"] == "identical"
    assert told["bitwise"]
    assert told["masks"]["cases"] == 1
    assert told["weights"]["differing"] == 0
    assert told["first_step"] is None
    assert json.loads((tmp_path / "again" / "reproduction.json").read_text()) == told
    rates = [read_recorded(folder).rates for folder in (place / "run", tmp_path / "again")]
    assert rates[0] == rates[1]
    assert len(set(rates[0])) > 3


def test_nothing_differs(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert medseg("reproduce", place / "run", "--check-only", "--json") == 0
    assert differing(capsys) == []


@pytest.mark.parametrize(("patient", "file", "role"), [("p0", "ct", "image"), ("p4", "label", "label")])
def test_one_voxel_is_named_by_case_and_file(
    patient: str, file: str, role: str, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cohort = tmp_path / "moved"
    shutil.copytree(place / "cohort", cohort)
    path = cohort / patient / f"{file}.nii.gz"
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[-2] ^= 1
    path.write_bytes(gzip.compress(bytes(content)))
    assert medseg("reproduce", place / "run", "--cohort", cohort, "--check-only", "--json") == 3
    assert differing(capsys) == [f"data: case {patient}: content of {role} ({path})"]


def test_a_patient_that_is_gone_and_one_that_is_new(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cohort = tmp_path / "cohort"
    shutil.copytree(place / "cohort", cohort)
    (cohort / "p5").rename(cohort / "p6")
    assert medseg("reproduce", place / "run", "--cohort", cohort, "--check-only", "--json") == 3
    assert {"data: case p5", "data: case p6"} <= set(differing(capsys))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda told: told["packages"].update(numpy="1.0"), "library: numpy"),
        (lambda told: told.update(python="3.0"), "library: python"),
        (lambda told: told["code"].update({"medseg/training": "0"}), "code: medseg/training"),
        (lambda told: told["hardware"].update(processor="another"), "machine: processor"),
        (lambda told: told["hardware"].update(threads=10_000), "machine: threads"),
        (lambda told: told["computing"].update(precision="bf16"), "machine: precision"),
        (lambda told: told["variables"].update(MKL_CBWR="AVX2"), "machine: MKL_CBWR"),
        (
            lambda told: told["starts"].append({"environment": "another"}),
            "history: the run was interrupted and went on elsewhere",
        ),
    ],
)
def test_what_differs_is_named(
    change: Callable[[dict[str, Any]], object], expected: str, place: Path, tmp_path: Path, now: Now
) -> None:
    recorded = read_recorded(edited(place, tmp_path, change))
    assert [f"{each.kind}: {each.what}" for each in differences(recorded, now) if each.counts] == [expected]


def test_a_configuration_that_was_edited_is_named(place: Path, tmp_path: Path, now: Now) -> None:
    run = edited(place, tmp_path, lambda told: told)
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(text.replace("learning_rate: 0.01", "learning_rate: 0.02"))
    (found,) = differences(read_recorded(run), now)
    assert str(found) == "configuration: training.learning_rate: 0.01 then, 0.02 now"


def test_git_and_what_shows_are_of_no_weight(place: Path, tmp_path: Path, now: Now) -> None:
    def other(told: dict[str, Any]) -> None:
        told["git"] = "0" * 40
        told["code"]["medseg/cli"] = "0"

    found = differences(read_recorded(edited(place, tmp_path, other)), now)
    assert [(each.what, each.counts) for each in found] == [
        ("medseg/cli", False),
        ("git, working folder", False),
    ]


def test_other_results_are_different(place: Path, tmp_path: Path) -> None:
    """One bit of a weight, one voxel of a mask, one figure: each is told, and none of it is identical."""
    run = edited(place, tmp_path, lambda told: told)
    then, now = RunFolder(place / "run"), RunFolder(run)
    assert compare_runs(then, now, bitwise=True).answer == "identical"
    model = load_model(now.model)
    name, tensor = next((name, t) for name, t in model.weights.items() if t.is_floating_point())
    model.weights[name] = torch.nextafter(tensor, torch.full_like(tensor, 9.0))
    save_model(now.model, model)
    found = compare_runs(then, now, bitwise=True)
    assert (found.answer, found.weights.differing) == ("different", 1)
    assert 0 < (found.weights.relative or 0) < 1e-5
    assert "it should be the same bit for bit" in str(found)
    assert compare_runs(then, now, bitwise=False).answer == "within tolerance"
    (path,) = now.predictions.glob("*_seg.nii.gz")
    mask = read_label(path)
    array = mask.array.copy()
    array[0, 0, 0] = 3 - max(1, array[0, 0, 0])
    write_volume(mask.with_array(array), path)
    found = compare_runs(then, now, bitwise=True)
    assert found.masks.differing == (path.name.removesuffix("_seg.nii.gz"),)
    assert 0 <= (found.masks.lowest_dice or 0) < 1
    table = now.cases.read_text().splitlines()
    columns = table[0].split(",")
    cells = table[1].split(",")
    dice = float(cells[columns.index("dice")])
    cells[columns.index("dice")] = repr(dice / 2 - 0.1)
    now.cases.write_text("\n".join([table[0], ",".join(cells), *table[2:]]) + "\n")
    found = compare_runs(then, now, bitwise=False)
    assert found.answer == "different"
    assert found.metrics.largest == pytest.approx(dice / 2 + 0.1)


def test_a_record_with_a_gap_is_refused(place: Path, tmp_path: Path) -> None:
    run = edited(place, tmp_path, lambda told: told)
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join(lines[1:]))
    with pytest.raises(UsageError, match="learning rates of a run are needed") as caught:
        read_recorded(run)
    assert caught.value.code == Code.RUN_FOLDER
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="give the folder of a run"):
        read_recorded(tmp_path / "empty")
    unfinished = edited(place, tmp_path / "more", lambda told: told.update(finished=False))
    with pytest.raises(UsageError, match="not finished"):
        read_recorded(unfinished)

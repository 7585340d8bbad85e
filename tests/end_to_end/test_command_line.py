"""The command line from a configuration to a report: train, infer, evaluate, check.

Each command is a process of its own, forked from one that has imported what takes long; test_g29 starts each
verb from nothing.
"""

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from medseg.cli import main
from medseg.io import read_label, read_volume
from support.warm_start import WarmStart

CONFIG = {
    "name": "tiny",
    "labels": {"bright": 10, "dark": 205},
    "data": {"cohort": "cohort", "held_out": 2, "folds": 2},
    "preprocessing": {"spacing_mm": [2, 2, 3], "intensity": {"kind": "window", "center": 0, "width": 600}},
    "augmentation": [{"kind": "noise", "p": 0.3}],
    "sampling": {"patch_size": [16, 16, 8]},
    "model": {"kind": "unet", "channels": [8, 16, 16]},
    "training": {
        "stop": {"epochs": 30},
        "steps_per_epoch": 4,
        "learning_rate": 0.01,
        "validate_every": 20,
        "workers": 0,
    },
}


class Workplace:
    """A folder with a config, a cohort whose labels are 10 and 205, and one trained run."""

    def __init__(self, folder: Path, warm: WarmStart) -> None:
        self.folder = folder
        self._warm = warm

    def __truediv__(self, name: str) -> Path:
        return self.folder / name

    def medseg(self, *arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return self._warm.run(*arguments, cwd=cwd or self.folder)


@pytest.fixture(scope="module")
def workplace(
    tmp_path_factory: pytest.TempPathFactory, write_tiny_cohort: Callable[..., Path], warm: WarmStart
) -> Workplace:
    place = Workplace(tmp_path_factory.mktemp("workplace"), warm)
    write_tiny_cohort(place / "cohort", (10, 205))
    (place / "tiny.yaml").write_text(yaml.safe_dump(CONFIG))
    done = place.medseg("train", "tiny.yaml", "-o", "runs/tiny")
    assert done.returncode == 0, done.stderr
    return place


@pytest.mark.long
def test_train_leaves_a_whole_run_folder(workplace: Workplace) -> None:
    run = workplace / "runs" / "tiny"
    for name in (
        "config.yaml",
        "manifest.json",
        "metrics.jsonl",
        "model.safetensors",
        "report.html",
        "cases.csv",
    ):
        assert (run / name).is_file(), name
    assert list((run / "tensorboard").glob("events*"))
    summary = json.loads((run / "summary.json").read_text())
    assert summary["cases"]["predicted"] == 2
    assert summary["mean"]["dice"]["mean"] > 0.8
    masks = sorted((run / "predictions").glob("*_seg.nii.gz"))
    assert len(masks) == 2
    for mask in masks:
        scan = workplace / "cohort" / mask.name.removesuffix("_seg.nii.gz") / "ct.nii.gz"
        assert read_volume(mask).geometry.displacement_mm(read_volume(scan).geometry) < 1e-3


def test_infer_one_scan_with_the_newest_run(workplace: Workplace) -> None:
    done = workplace.medseg("infer", "cohort/p0/ct.nii.gz", "--json")
    assert done.returncode == 0, done.stderr
    assert "runs/tiny/model.safetensors" in done.stderr
    (result,) = json.loads(done.stdout)
    mask = read_label(workplace / "cohort/p0/ct_seg.nii.gz")
    assert set(np.unique(mask.array)) == {0, 10, 205}
    assert result["volumes_ml"]["bright"] == pytest.approx((mask.array == 10).sum() * 0.012)
    (workplace / "cohort/p0/ct_seg.nii.gz").unlink()


def test_infer_a_folder_with_broken_patients_finishes_the_others(
    workplace: Workplace, tmp_path: Path
) -> None:
    patients = tmp_path / "patients"
    shutil.copytree(workplace / "cohort", patients, ignore=shutil.ignore_patterns("label*"))
    scan = (patients / "p1" / "ct.nii.gz").read_bytes()
    (patients / "p1" / "ct.nii.gz").write_bytes(scan[: len(scan) // 2])
    (patients / "p4" / "ct.nii.gz").write_bytes(b"this is no scan")
    done = workplace.medseg("infer", patients, "-o", tmp_path / "masks")
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(p.name for p in (tmp_path / "masks").glob("*.nii.gz")) == [
        f"p{patient}_seg.nii.gz" for patient in (0, 2, 3, 5)
    ]
    failures = json.loads((tmp_path / "masks" / "failures.json").read_text())
    assert [(failure["patient"], failure["code"]) for failure in failures] == [("p1", "E406"), ("p4", "E405")]
    with (tmp_path / "masks" / "summary.csv").open() as file:
        rows = {row["patient"]: row for row in csv.DictReader(file)}
    assert [rows[f"p{n}"]["status"] for n in range(6)] == ["done", "failed", "done", "done", "failed", "done"]
    assert float(rows["p0"]["bright_ml"]) > 0
    page = tmp_path / "masks" / "report.html"
    assert f"report: {page}" in done.stderr
    told = page.read_text(encoding="utf-8")
    assert "6 patients" in told and "E406" in told and ">shard<" not in told
    workplace.medseg("infer", patients, "-o", tmp_path / "masks")
    assert page.read_text(encoding="utf-8") == told


def test_evaluate_gives_the_report_and_the_same_numbers(workplace: Workplace, tmp_path: Path) -> None:
    cohort = workplace / "cohort"
    for name in ("masks", "references"):
        (tmp_path / name).mkdir()
    for patient in ("p2", "p3"):
        shutil.copy(cohort / patient / "label.nii.gz", tmp_path / "references" / f"{patient}.nii.gz")
    workplace.medseg("infer", cohort / "p2" / "ct.nii.gz", "-o", tmp_path / "masks" / "p2_seg.nii.gz")
    assert (tmp_path / "masks" / "p2_seg.nii.gz").is_file()
    done = workplace.medseg(
        "evaluate", "masks", "references", "-o", "out", "--config", workplace / "tiny.yaml", cwd=tmp_path
    )
    assert done.returncode == 3, "one reference has no prediction"
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["cases"] == {"expected": 2, "predicted": 1, "failed": 1, "failed_without_reference": 0}
    dice = summary["structures"][0]["metrics"]["dice"]
    assert dice["n"] == 2
    assert dice["minimum"] == 0, "a missing prediction counts as a miss"
    assert (tmp_path / "out" / "report.html").is_file()


def test_check_tells_cases_and_cost_and_draws_a_preview(workplace: Workplace) -> None:
    done = workplace.medseg("check", "tiny.yaml", "--preview", "preview.png", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["cases"], found["test"]) == (6, 2)
    assert (workplace / "preview.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["train", "tiny.yml"], "tiny.yml: no such file (did you mean tiny.yaml?)"),
        (["train", "tiny.yaml", "--set", "training.stop.epoch=3"], "unknown key (did you mean epochs?)"),
        (["train", "tiny.yaml", "--set", "data.cohort=nowhere"], "nowhere"),
        (
            ["train", "tiny.yaml", "--set", "labels.third=7"],
            "no training case has a voxel of third (value 7)",
        ),
        (["train", "tiny.yaml", "-o", "runs/tiny"], "holds a run already: add --resume"),
        (["infer", "cohort/p9"], "p9"),
        (["infer", "cohort/p0/ct.nii.gz", "--model", "tiny.yaml"], "tiny.yaml"),
        (["infer", "cohort/p0/ct.nii.gz", "--device", "tpu"], "tpu"),
        (["evaluate", "cohort/p0/ct.nii.gz", "nowhere"], "nowhere"),
    ],
)
def test_mistakes_give_one_line_and_exit_code_2(
    arguments: list[str],
    expected: str,
    workplace: Workplace,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In this process: to start one for each would take a minute."""
    monkeypatch.chdir(workplace.folder)
    monkeypatch.setattr(sys, "argv", ["medseg", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr().err
    assert ended.value.code == 2, told
    assert "Traceback" not in told
    assert expected in told


def started(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """From nothing, as a shell does."""
    command = [sys.executable, "-m", "medseg", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=240, check=False)


def test_a_mistake_in_a_process_of_its_own(workplace: Workplace) -> None:
    done = started("split", "tiny.yml", cwd=workplace.folder)  # of the quickest to start
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "tiny.yml: no such file (did you mean tiny.yaml?)" in done.stderr


def test_help_teaches_and_starts_without_heavy_libraries(workplace: Workplace) -> None:
    done = started("--help", cwd=workplace.folder)
    assert done.returncode == 0
    for verb in ("train", "infer", "evaluate", "check"):
        assert verb in done.stdout
    script = (
        "import sys, medseg.cli; print([m for m in ('torch', 'numpy', 'monai', 'rich') if m in sys.modules])"
    )
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


def test_python_interface(workplace: Workplace, tmp_path: Path) -> None:
    import medseg as package

    scan = package.read_volume(workplace / "cohort/p3/ct.nii.gz")
    segmenter = package.Segmenter.load(workplace / "runs/tiny/model.safetensors")
    mask = segmenter(scan)
    assert mask.geometry == scan.geometry
    package.write_volume(mask, tmp_path / "mask.nrrd")
    again = package.read_label(tmp_path / "mask.nrrd")
    np.testing.assert_array_equal(again.array, mask.array)

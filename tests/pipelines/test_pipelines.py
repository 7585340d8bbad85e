"""The workflows: planned as jobs of a cluster, run on this machine; killed and completed at night."""

import csv
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from medseg.cli.app import app
from medseg.config import load_experiment
from support.training_runs import quick_experiment, wait_for, write_config
from support.warm_start import open_door

ROOT = Path(__file__).resolve().parents[2]
PIPELINES = ROOT / "pipelines"
MEDSEG = f"{sys.executable} -m medseg"

needs_snakemake = pytest.mark.skipif(
    importlib.util.find_spec("snakemake") is None,
    reason="snakemake is not installed: pip install 'medseg[pipelines]'",
)


@pytest.fixture
def place(tmp_path: Path, tiny_cohort: Path) -> Path:
    """A folder with a configuration of a training of seconds, its cohort, and a list of experiments."""
    write_config(tmp_path / "quick.yaml", quick_experiment(tiny_cohort, stop={"epochs": 6}))
    told = {
        "experiments": {
            "one": {"config": "quick.yaml"},
            "two": {"config": "quick.yaml", "set": ["training.seed=1"]},
        },
        "comparisons": {"seeds": ["one", "two"]},
    }
    (tmp_path / "list.yaml").write_text(yaml.safe_dump(told))
    return tmp_path


SETTINGS = {
    "cross_validation": {"config": "quick.yaml", "out": "cv", "folds": "2", "held_out": "1"},
    "cohort_inference": {
        "model": "cv/ensemble.safetensors",
        "cohort": "scans",
        "out": "masks",
        "shards": "2",
    },
    "reproduce": {"list": "list.yaml", "out": "experiments"},
}  # fmt: skip
JOBS = {
    "cross_validation": {
        "folds": 1, "train": 2, "infer": 2, "pooled_report": 1, "postprocessing": 1, "ensemble": 1,
        "held_out_masks": 1, "held_out_report": 1, "all": 1,
    },
    "cohort_inference": {"shard": 2, "merge": 1, "all": 1},
    "reproduce": {"train": 2, "compare": 1, "all": 1},
}  # fmt: skip


def command(name: str, *more: str, profile: str = "laptop", medseg: str = MEDSEG) -> list[str]:
    settings = [f"{key}={value}" for key, value in SETTINGS[name].items()]
    return [
        *(sys.executable, "-m", "snakemake", "-s", str(PIPELINES / f"{name}.smk")),
        *("--profile", str(PIPELINES / "profiles" / profile)),
        *more,
        *("--config", *settings, f"medseg={medseg}"),
    ]


def run(name: str, place: Path, *more: str, **how: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(name, *more, **how),
        cwd=place,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


@needs_snakemake
@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_dry_run(name: str, place: Path) -> None:
    """As jobs of a cluster; with the laptop's profile each runs below."""
    pytest.importorskip("snakemake_executor_plugin_slurm", reason="needs the extra pipelines")
    done = run(name, place, "-n", profile="slurm")
    assert done.returncode == 0, done.stdout + done.stderr
    told = done.stdout + done.stderr
    table = told[told.rindex("Job stats:") :].partition("total")[0]
    rows = (line.split() for line in table.splitlines())
    assert {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdecimal()} == JOBS[name]


def rule_commands(name: str) -> list[str]:
    """What follows ``{MEDSEG}`` in the shell lines of a workflow."""
    text = (PIPELINES / f"{name}.smk").read_text()
    return [part.split('"')[0] for part in text.split("{MEDSEG} ")[1:]]


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_rules_call_verbs_that_exist(name: str) -> None:
    verbs = {each.callback.__name__ for each in app.registered_commands if each.callback}
    called = [line.split()[0] for line in rule_commands(name)]
    assert len(called) == (PIPELINES / f"{name}.smk").read_text().count("    shell:\n")
    assert set(called) <= verbs


@pytest.mark.parametrize("profile", ["laptop", "slurm"])
def test_profiles_go_on_after_a_kill(profile: str) -> None:
    told = yaml.safe_load((PIPELINES / "profiles" / profile / "config.yaml").read_text())
    assert told["rerun-incomplete"] is True
    assert told["nolock"] is True


def test_the_listed_experiments_can_be_loaded() -> None:
    told = yaml.safe_load((PIPELINES / "experiments.yaml").read_text())
    for each in told["experiments"].values():
        load_experiment(ROOT / each["config"], each.get("set", ()))
    for names in told["comparisons"].values():
        assert set(names) <= told["experiments"].keys()


def kill_when(
    process: subprocess.Popen[bytes],
    what: Callable[[Path], object],
    runs: list[Path],
    number: int,
    group: bool,
) -> None:
    """As soon as ``what`` holds for one of ``runs``: the workflow alone, or all that it started."""
    wait_for(lambda: any(map(what, runs)) or process.poll() is not None, 300)
    assert process.poll() is None, "it ended before it could be killed"
    if group:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    process.wait(120)


def cross_validated(place: Path, **how: str) -> None:
    """Every patient of the folds has one row in the pooled table, and all that follows from it is there."""
    done = run("cross_validation", place, **how)
    assert done.returncode == 0, done.stdout + done.stderr
    with (place / "cv" / "folds.csv").open(newline="") as file:
        folds = {row["case"]: row["fold"] for row in csv.DictReader(file)}
    with (place / "cv" / "out_of_fold" / "cases.csv").open(newline="") as file:
        pooled = [row["case"] for row in csv.DictReader(file) if row["structure"] == "bright"]
    assert sorted(pooled) == sorted(name for name, fold in folds.items() if fold != "held out")
    assert json.loads((place / "cv" / "postprocessing.json").read_text())["postprocessing"]
    assert (place / "cv" / "held_out" / "summary.json").is_file()


@needs_snakemake
@pytest.mark.timeout(900)
def test_each_runs_from_end_to_end(place: Path, tiny_cohort: Path) -> None:
    with open_door(place) as medseg:
        cross_validated(place, medseg=medseg)
        (place / "scans").mkdir()
        for patient in tiny_cohort.iterdir():
            os.link(patient / "ct.nii.gz", place / "scans" / f"{patient.name}.nii.gz")
        assert run("cohort_inference", place, medseg=medseg).returncode == 0
        with (place / "masks" / "summary.csv").open(newline="") as file:
            assert [row["patient"] for row in csv.DictReader(file)] == [f"p{n}" for n in range(6)]
        done = run("reproduce", place, medseg=medseg)
        assert done.returncode == 0, done.stdout + done.stderr
        assert (place / "experiments" / "comparisons" / "seeds" / "comparison.json").is_file()


@needs_snakemake
@pytest.mark.nightly
@pytest.mark.timeout(3000)
def test_killed_three_times_and_completed(place: Path) -> None:
    """Snakemake alone, all that it started, and Ctrl-C: each time the same command goes on."""

    def start() -> subprocess.Popen[bytes]:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen(command("cross_validation"), cwd=place, start_new_session=True, **quiet)

    runs = [place / "cv" / f"fold_{fold}" for fold in range(2)]
    kill_when(start(), lambda run: (run / "metrics.jsonl").exists(), runs, signal.SIGKILL, False)
    kill_when(start(), lambda run: (run / "model.safetensors").exists(), runs, signal.SIGKILL, True)
    kill_when(start(), lambda run: (run / "summary.json").exists(), runs, signal.SIGINT, True)
    time.sleep(1)
    cross_validated(place)

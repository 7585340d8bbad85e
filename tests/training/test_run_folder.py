"""Run folders: found newest first, records read back, damage borne."""

import json
import os
from pathlib import Path

import pytest

from medseg.allocator import keep_freed_memory
from medseg.errors import Code, ModelFileError, UsageError
from medseg.training import RunFolder, find_runs, new_run_folder
from medseg.training.environment import environment


def test_runs_are_found_newest_first(tmp_path: Path) -> None:
    for age, name in enumerate(["new", "old"]):
        config = tmp_path / name / "config.yaml"
        config.parent.mkdir()
        config.write_text("name: x")
        os.utime(config, (1e9 - age, 1e9 - age))
    (tmp_path / "no_run").mkdir()
    assert [run.path.name for run in find_runs(tmp_path)] == ["new", "old"]
    assert find_runs(tmp_path / "nowhere") == []


def test_new_names_are_never_taken(tmp_path: Path) -> None:
    first = new_run_folder("x", tmp_path)
    first.mkdir()
    assert new_run_folder("x", tmp_path) != first


def test_a_history_cut_by_a_crash_is_read_up_to_the_cut(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert run.read_history() == []
    run.metrics.write_text('{"step": 1}\n{"step": 2}\n{"ste')
    assert run.read_history() == [{"step": 1}, {"step": 2}]


def test_manifests_are_strict_json_and_missing_ones_are_empty(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert run.read_manifest() == {}
    run.write_manifest({"a": 1})
    assert json.loads(run.manifest.read_text()) == {"a": 1}
    with pytest.raises(ValueError, match="JSON"):
        run.write_manifest({"a": float("nan")})


def test_usable_folders(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.require_usable(resume=False)
    run.require_usable(resume=True)
    run.config.parent.mkdir()
    run.config.write_text("name: x")
    run.require_usable(resume=True)
    with pytest.raises(UsageError, match="holds a run already"):
        run.require_usable(resume=False)
    run.write_manifest({"finished": True})
    with pytest.raises(ModelFileError, match="finished, and its checkpoints were removed") as gone:
        run.require_usable(resume=True)
    assert gone.value.code == Code.NO_CHECKPOINT


def test_the_environment_names_versions_and_hardware() -> None:
    record = environment()
    assert record["packages"]["torch"]
    assert record["hardware"]["cores"] >= 1
    json.dumps(record)


def test_keeping_freed_memory_is_possible_or_declined() -> None:
    assert keep_freed_memory() in (True, False)

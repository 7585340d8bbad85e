"""Checkpoints: the last two, verified; a damaged one costs an interval, and says so."""

import json
import logging
import multiprocessing
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from medseg.errors import Code, EnvironmentProblem, ModelFileError, TrainingError
from medseg.files import write_bytes_atomically
from medseg.modelfile import load_model
from medseg.training import RunFolder, Silent, Step
from medseg.training.train import train
from support.training_runs import Ending, differences, ending, plain_rows, quick_experiment

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("annotations_at_rest")]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory, write_tiny_cohort: Callable[..., Path]) -> Path:
    return write_tiny_cohort(tmp_path_factory.mktemp("checkpoints") / "cohort")


@pytest.fixture(scope="module")
def whole(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Ending:
    run = RunFolder(tmp_path_factory.mktemp("whole") / "run")
    train(quick_experiment(cohort), run)
    return ending(run)


class Fall(Exception):  # noqa: N818
    """What stands for a power cut: nothing is saved on the way out."""


class FallAt(Silent):
    def __init__(self, step: int) -> None:
        self.at = step

    def stepped(self, step: Step) -> None:
        if step.step == self.at:
            raise Fall


@pytest.fixture(scope="module")
def fell(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = RunFolder(tmp_path_factory.mktemp("fell") / "run")
    with pytest.raises(Fall):
        train(quick_experiment(cohort), run, listener=FallAt(25))
    return run.path


@pytest.fixture
def fallen(fell: Path, tmp_path: Path) -> RunFolder:
    """A copy of a run that ended without notice at step 25; it validates every 9 steps."""
    run = RunFolder(shutil.copytree(fell, tmp_path / "run"))
    assert [path.name for path in run.checkpoints.files()] == [
        "step-00000018.safetensors",
        "step-00000009.safetensors",
    ]
    return run


def test_goes_on_from_the_last(fallen: RunFolder, cohort: Path, whole: Ending) -> None:
    train(quick_experiment(cohort), fallen, resume=True)
    assert differences(whole, ending(fallen)) == []


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped bit", "flipped bit in the header"])
def test_a_damaged_one_costs_an_interval(
    damage: str, fallen: RunFolder, cohort: Path, whole: Ending, caplog: pytest.LogCaptureFixture
) -> None:
    newest = fallen.checkpoints.files()[0]
    content = bytearray(newest.read_bytes())
    if damage == "cut":
        del content[len(content) // 2 :]
    elif damage == "empty":
        content.clear()
    else:
        place = len(content) - 9 if damage == "flipped bit" else content.index(b"best_step") + 15
        content[place] ^= 1
    newest.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        train(quick_experiment(cohort), fallen, resume=True)
    assert "step-00000018.safetensors: damaged checkpoint" in caplog.text
    assert "going on from step-00000009.safetensors" in caplog.text
    assert differences(whole, ending(fallen)) == []


def test_when_none_is_whole_nothing_is_guessed(fallen: RunFolder, cohort: Path) -> None:
    for path in fallen.checkpoints.files():
        path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ModelFileError, match="damaged checkpoint") as error:
        train(quick_experiment(cohort), fallen, resume=True)
    assert error.value.code == Code.CHECKPOINT_DAMAGED
    assert len(error.value.problems) == 2


def test_one_of_another_format_is_not_taken_for_damaged(fallen: RunFolder, cohort: Path) -> None:
    newest = fallen.checkpoints.files()[0]
    newest.write_bytes(newest.read_bytes().replace(b'"format":"2"', b'"format":"9"'))
    with pytest.raises(ModelFileError, match="not a checkpoint of this version") as error:
        train(quick_experiment(cohort), fallen, resume=True)
    assert error.value.code == Code.CHECKPOINT_OTHER


def test_killed_before_the_first_starts_anew(cohort: Path, tmp_path: Path, whole: Ending) -> None:
    run = RunFolder(tmp_path / "run")
    with pytest.raises(Fall):
        train(quick_experiment(cohort), run, listener=FallAt(5))
    assert run.checkpoints.files() == []
    with pytest.raises(ModelFileError, match="changed since"):
        train(quick_experiment(cohort, learning_rate=0.5), run, resume=True)
    train(quick_experiment(cohort), run, resume=True)
    assert differences(whole, ending(run)) == []


def test_what_killed_processes_leave_behind_is_cleared(
    fallen: RunFolder, cohort: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "replace", killed)
        patch.setattr(Path, "unlink", killed)
        write_bytes_atomically(fallen.checkpoints.folder / "step-00000020.safetensors", b"half a checkpoint")
    assert list(fallen.checkpoints.folder.glob(".*"))
    train(quick_experiment(cohort), fallen, resume=True)
    assert not list(fallen.checkpoints.folder.glob(".*"))


@pytest.mark.parametrize("torn", ["in a row", "after the checkpoint", "away"])
def test_the_log_is_cut_back_to_the_checkpoint(
    torn: str, fallen: RunFolder, cohort: Path, whole: Ending, caplog: pytest.LogCaptureFixture
) -> None:
    text = fallen.metrics.read_text()
    if torn == "in a row":
        fallen.metrics.write_text(text[:-10])
    elif torn == "after the checkpoint":
        fallen.metrics.write_text(text + '{"step": 26, "loss"')
    else:
        fallen.metrics.unlink()
    train(quick_experiment(cohort), fallen, resume=True)
    if torn == "away":
        assert "rows before step 18 are missing" in caplog.text
        assert plain_rows(fallen) == [row for row in whole.rows if row["step"] > 18]
    else:
        assert differences(whole, ending(fallen)) == []


def test_one_process_at_a_time(cohort: Path, tmp_path: Path) -> None:
    first, second = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "run")
    told = rf"in use by process {os.getpid()} on \S+: wait for it"
    with first.lock(), pytest.raises(EnvironmentProblem, match=told) as refused:
        train(quick_experiment(cohort), second)
    assert (refused.value.code, refused.value.exit_code) == (Code.LOCKED, 4)
    assert not first.config.exists()
    with first.lock(), first.lock():
        pass  # its holder may take it again, as the command line and train() do
    with second.lock():
        pass


def test_the_model_file_tells_nothing_of_patients(cohort: Path, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    train(quick_experiment(cohort), run, command="medseg train /home/someone/x.yaml")
    manifest, origin = run.read_manifest(), load_model(run.model).provenance
    assert manifest["command"] == "medseg train /home/someone/x.yaml"
    ids = {case for cases in manifest["data"].values() for case in cases}
    assert ids == {f"p{n}" for n in range(6)}
    assert origin["data"]["train"] == {"cases": 2, "keys": sorted(manifest["data"]["train"].values())}
    assert origin["data"]["test"] == {"cases": 1}
    assert "command" not in origin
    assert not any(f'"{case}"' in json.dumps(origin) for case in ids)


@pytest.mark.parametrize("workers", [0, 1])
def test_what_goes_wrong_in_a_worker_is_told_as_it_is(
    workers: int, cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The DataLoader alone would lose the message of an error that has a code."""
    monkeypatch.setenv("MEDSEG_CACHE", str(tmp_path / "cache"))  # others use the tests' own meanwhile

    class Emptied(Silent):
        def started(self, plan: object) -> None:
            for array in tmp_path.joinpath("cache").rglob("image.npy"):
                array.unlink()

    with pytest.raises(TrainingError, match="its preprocessed copy vanished"):
        train(quick_experiment(cohort, workers=workers), RunFolder(tmp_path / "run"), listener=Emptied())
    assert multiprocessing.active_children() == [], "workers do not heed TERM: Python would wait for them"

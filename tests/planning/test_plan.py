"""``medseg plan``: from a cohort to a configuration that trains as it stands."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medseg.cli.app import app
from medseg.config import DataConfig, Experiment, load_experiment
from medseg.errors import Code, CohortError, EnvironmentProblem, MedsegError, UsageError
from medseg.io import write_volume
from medseg.planning import Budget, Naming, Subject, look_at_cohort, make_plan, plan_text
from medseg.planning.cost import network_cost, step_bytes, training_bytes
from medseg.volume import Geometry, Volume

GIB = 2**30
SHAPE = (24, 20, 16)


def budget(memory: float = 8, hours: float = 1, device: str = "cpu") -> Budget:
    return Budget(int(memory * GIB), hours, device, "fp32", 2)


def subject_of(cohort: Path, **naming: Any) -> Subject:
    return look_at_cohort(DataConfig(cohort=str(cohort)), Naming(**naming))


def write_cohort(
    root: Path, labels: list[list[int]], spacing: tuple[float, float, float] = (1, 1, 1), scale: float = 1.0
) -> Path:
    """A folder with images/ and labels/: noise, and a box for each value."""
    random = np.random.default_rng(0)
    for case, values in enumerate(labels):
        image = (random.normal(50, 10, SHAPE) * scale * 10 ** (case % 3)).astype(np.float32)
        label = np.zeros(SHAPE, np.uint8)
        for place, value in enumerate(values):
            label[4:12, 4:12, 2 + 5 * place : 6 + 5 * place] = value
        for folder, array in (("images", np.abs(image)), ("labels", label)):
            (root / folder).mkdir(parents=True, exist_ok=True)
            geometry = Geometry(SHAPE, np.diag([*spacing, 1.0]))
            write_volume(Volume(array, geometry), root / folder / f"p{case}.nii.gz")
    return root


def run(*arguments: object) -> int:
    return int(app([str(argument) for argument in arguments], standalone_mode=False))


def test_a_plan_is_a_file_with_reasons_that_trains(
    tiny_cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("plan", tiny_cohort, "--no-measure", "--labels", "bright=1", "--labels", "dark=2") == 0
    told = capsys.readouterr()
    for text in ("6 of 6 patients", "ct (files are called as ct)", "bright", "dark", "2x2x3 mm"):
        assert text in told.out, text
    text = Path("tiny_cohort.yaml").read_text()
    assert all(len(line) <= 110 or "[[" in line for line in text.splitlines())
    for key in ("spacing_mm", "patch_size", "channels", "kernel", "intensity", "stop", "folds"):
        (at,) = [n for n, line in enumerate(text.splitlines()) if line.strip().startswith(f"{key}:")]
        assert "#" in text.splitlines()[at] or text.splitlines()[at - 1].strip().startswith("#"), key
    short = [
        "training.stop={epochs: 1}", "training.steps_per_epoch=1", "training.validate_every=1",
        "training.workers=0", "model.channels=[4, 8]", "model.strides=null",
    ]  # fmt: skip
    assert run("train", "tiny_cohort.yaml", "-o", "run", *[w for s in short for w in ("--set", s)]) == 0
    assert Path("run/model.safetensors").is_file()
    with pytest.raises(UsageError, match="--force"):
        run("plan", tiny_cohort, "--no-measure")


def test_the_file_is_the_plan(tiny_cohort: Path, tmp_path: Path) -> None:
    subject = subject_of(tiny_cohort)
    made = make_plan(subject, budget())
    (tmp_path / "plan.yaml").write_text(plan_text(made, ("a plan",)))
    assert load_experiment(tmp_path / "plan.yaml") == made.experiment
    assert list(made.experiment.labels) == ["structure_1", "structure_2"]
    assert made.experiment.preprocessing.intensity[0].kind == "fitted"


def test_names_come_from_dataset_json(tmp_path: Path) -> None:
    cohort = write_cohort(tmp_path / "c", [[1, 2]] * 4)
    training = [{"image": f"./images/p{n}.nii.gz", "label": f"./labels/p{n}.nii.gz"} for n in range(4)]
    told = {"modality": {"0": "CT"}, "labels": {"0": "background", "1": "liver", "2": "a/b"}}
    (cohort / "dataset.json").write_text(json.dumps({**told, "training": training}))
    subject = subject_of(cohort)
    assert [(one.name, one.value) for one in subject.found.structures] == [("liver", 1), ("a_b", 2)]
    assert subject.found.modality == "ct"
    assert subject_of(cohort, modality="mr").found.modality == "mr"


def test_scans_without_a_common_scale_are_scaled_each_by_itself(tmp_path: Path) -> None:
    found = subject_of(write_cohort(tmp_path, [[1]] * 4)).found
    assert found.modality == "mr"
    made = make_plan(Subject("a", found, DataConfig(cohort="c")), budget())
    assert made.experiment.preprocessing.intensity[0].kind == "zscore"
    assert "-fold" in made.reasons["preprocessing.intensity"]
    assert any(one.kind == "bias_field" for one in made.experiment.augmentation)


@pytest.mark.parametrize(
    ("labels", "code", "words"),
    [
        ([[1], [1], [255]], Code.MIXED_LABELS, "1 (as case p0); 255 (as case p2)"),
        ([[1]], Code.TOO_FEW_CASES, "two patients"),
        ([[], []], Code.NOTHING_TO_LEARN, "empty"),
    ],
    ids=["mixed values", "one case", "nothing drawn"],
)
def test_cohorts_that_cannot_be_planned_for(
    tmp_path: Path, labels: list[list[int]], code: Code, words: str
) -> None:
    with pytest.raises(CohortError) as caught:
        subject_of(write_cohort(tmp_path, labels))
    assert caught.value.code == code
    assert words in str(caught.value)


def test_values_that_are_linked_by_others_are_one_way_of_drawing(tmp_path: Path) -> None:
    found = subject_of(write_cohort(tmp_path, [[1], [1, 2], [2]])).found
    assert [one.present_in for one in found.structures] == [2, 2]
    assert sum("has no voxel in 1 of 3" in warning for warning in found.warnings) == 2


def test_mixed_values_are_fine_once_they_are_named(tmp_path: Path) -> None:
    cohort = write_cohort(tmp_path, [[1], [1], [255]])
    found = subject_of(cohort, labels={"a": 1, "b": 255}).found
    assert [one.value for one in found.structures] == [1, 255]
    with pytest.raises(CohortError, match=r"c \(7\).*values found: 1, 255"):
        subject_of(cohort, labels={"c": 7})


def test_unreadable_cases_are_told_together(tmp_path: Path) -> None:
    cohort = write_cohort(tmp_path, [[1]] * 4)
    for case in ("p1", "p3"):
        (cohort / "images" / f"{case}.nii.gz").write_bytes(b"no scan")
    with pytest.raises(CohortError) as caught:
        subject_of(cohort)
    assert [line[:8] for line in caught.value.problems] == ["case p1:", "case p3:"]


def test_a_smaller_budget_never_makes_a_larger_plan(tiny_cohort: Path) -> None:
    subject = subject_of(tiny_cohort)
    plans = [make_plan(subject, budget(hours=hours)) for hours in (0.001, 1, 10_000)]
    costs = [network_cost(plan.experiment).multiplications for plan in plans]
    assert costs == sorted(costs)
    assert costs[0] < costs[-1]
    large, small = (make_plan(subject, budget(memory=m, hours=10_000)) for m in (8, 0.55))
    assert small.memory <= 0.55 * GIB < large.memory
    with pytest.raises(EnvironmentProblem, match="--max-ram"):
        make_plan(subject, budget(memory=0.1))


def test_measured_time_decides(tiny_cohort: Path) -> None:
    subject = subject_of(tiny_cohort)

    def slow(experiment: Experiment) -> float:
        return network_cost(experiment).multiplications / 1e6

    def fast(experiment: Experiment) -> float:
        return network_cost(experiment).multiplications / 1e12

    channels = [make_plan(subject, budget(), time).experiment.model for time in (slow, fast)]
    first, second = (getattr(model, "channels", ())[0] for model in channels)
    assert first < second


def test_thin_stacks_get_a_slice_network(tmp_path: Path) -> None:
    found = subject_of(write_cohort(tmp_path, [[1]] * 4)).found
    thin = replace(found, spacing_mm=(1.0, 1.0, 4.0))
    made = make_plan(Subject("thin", thin, DataConfig(cohort="c")), budget())
    model = made.experiment.model
    assert (model.spatial_dims, model.plane) == (2, "axial")
    assert made.experiment.preprocessing.keep_spacing == ("k",)
    assert made.experiment.sampling.patch_size[2] == 1


def test_arithmetic_agrees_with_the_network(tiny_cohort: Path) -> None:
    subject = subject_of(tiny_cohort)
    thin = replace(subject.found, spacing_mm=(1.0, 1.0, 9.0))
    for one in (subject, replace(subject, found=thin)):
        made = make_plan(one, budget())
        counted = network_cost(made.experiment)
        assert made.memory == training_bytes(counted, made.experiment.training.batch_size, "fp32")


def test_memory_grows_with_batch_and_network(tiny_cohort: Path) -> None:
    made = make_plan(subject_of(tiny_cohort), budget())
    cost = network_cost(made.experiment)
    one, two, four = (step_bytes(cost, batch, "fp32") for batch in (1, 2, 4))
    assert one == two < four
    assert step_bytes(cost, 4, "bf16", "cuda") < step_bytes(cost, 4, "fp32", "cuda")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--modality", "pet"),
        ("--missing", "maybe"),
        ("--channels", "t2"),
        ("--labels", "a"),
        ("--max-ram", "lots"),
    ],
)
def test_wrong_options_are_told(tiny_cohort: Path, arguments: tuple[str, str]) -> None:
    with pytest.raises(MedsegError) as caught:
        run("plan", tiny_cohort, "--no-measure", *arguments)
    assert caught.value.code == Code.OPTION


def test_shared_cohorts(shared_data: Path, tmp_path: Path) -> None:
    def few(cohort: str, names: Callable[[Path], list[Path]]) -> Path:
        (tmp_path / cohort).mkdir()
        for path in names(shared_data / cohort):
            (tmp_path / cohort / path.name).symlink_to(path)
        return tmp_path / cohort

    sarcoma = subject_of(few("sarcoma_ct", lambda root: sorted(p for p in root.iterdir() if p.is_dir())[:3]))
    assert sarcoma.found.modality == "ct"
    assert 3 < sarcoma.found.anisotropy < 4
    made = make_plan(Subject("s", sarcoma.found, DataConfig(cohort="c")), budget(hours=10_000))
    assert getattr(made.experiment.model, "kernel", 3) != 3 or made.experiment.preprocessing.spacing_mm != (
        sarcoma.found.spacing_mm
    )

"""What is recorded of the environment of a run."""

import re
from importlib.metadata import version

from medseg.training.environment import code_parts, environment, environment_lock, environment_mark, read_lock


def test_all_that_computes_has_a_version() -> None:
    packages = environment()["packages"]
    assert packages["numpy"] == version("numpy")
    assert {"medseg", "torch", "openvino", "scipy", "torchio", "monai", "SimpleITK"} <= packages.keys()


def test_the_lock_names_everything_and_pip_can_read_it() -> None:
    text = environment_lock()
    found = read_lock(text)
    assert found["torch"] == version("torch")
    assert found["pytest"] == version("pytest")
    for line in text.splitlines():
        assert re.fullmatch(r"#.*|--extra-index-url https://\S+|[A-Za-z0-9._-]+==\S+", line), line
    assert "medseg==" in text


def test_code_is_marked_part_by_part() -> None:
    parts = code_parts()
    assert {"medseg/training", "medseg/io", "medseg/volume.py"} <= parts.keys()
    assert len(set(parts.values())) == len(parts)


def test_the_mark_of_an_environment_changes_with_it() -> None:
    told = environment()
    assert environment_mark(told) == environment_mark(environment())
    assert environment_mark(told) != environment_mark({**told, "python": "0"})

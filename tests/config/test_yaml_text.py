"""Text that is no configuration, and files that are not there."""

from pathlib import Path

import pytest

from medseg.config import load_experiment
from medseg.errors import ConfigError


def problems(path: Path) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load_experiment(path)
    return caught.value.problems


def bomb(levels: int = 9) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (bomb(), "line 2, column 10: YAML anchors and aliases are not used here"),
        ("a: 1\nb: [", "line 2"),
        ("a: b: c", "line 1, column 5: mapping values are not allowed here"),
        (
            "model: {kind: unet}\n" + "model: {kind: vnet}\n",
            "line 2, column 1: model: this key is there twice",
        ),
        ("- a", "a mapping of keys is expected"),
        ("", "a mapping of keys is expected"),
        ("a: !!python/object/apply:os.system [echo]", "could not determine a constructor"),
        ("[" * 5000, "nested too deeply"),
        ("a: 2020-13-45", "not YAML"),
        ("a: \x07", "not YAML"),
        ("x" * 1_000_001, "a configuration has at most"),
    ],
)
def test_text_that_is_no_configuration(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    (line,) = problems(path)
    assert line.startswith(str(path)) and told in line


def test_files_that_are_not_there(tmp_path: Path) -> None:
    config = tmp_path / "trial.yaml"
    config.touch()
    assert f"did you mean {config}?" in problems(tmp_path / "trail.yaml")[0]
    assert "and no folder" in problems(tmp_path / "x" / "trial.yaml")[0]
    assert "cannot be read as text" in problems(tmp_path)[0]
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
    assert "cannot be read as text" in problems(tmp_path / "b.yaml")[0]

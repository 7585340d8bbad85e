"""What the documentation tells to type is what the command line takes; the site builds; nothing is stale."""

import itertools
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from medseg.cli.app import app
from medseg.config import load_experiment

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:^ {4}medseg .*\n(?: {8,}.*\n)*)", re.MULTILINE)
INLINE = re.compile(r"`(medseg [a-z]+ [^`]*)`")
PLACEHOLDERS = ("...", "VERB", "NAME")


def commands(page: Path) -> list[list[str]]:
    """The words of every ``medseg`` command of a page: fenced, indented, or in a line of text."""
    text = page.read_text(encoding="utf-8")
    blocks = [body for kind, body in FENCE.findall(text) if kind in ("bash", "text", "sh", "")]
    blocks += [block.replace("    ", "") for block in INDENTED.findall(FENCE.sub("", text))]
    found = []
    for block in blocks:
        joined = re.sub(r"\s*\\\n\s*", " ", block)
        for line in joined.splitlines():
            parts = (part.strip() for part in line.split("&&"))
            found += [shlex.split(part, comments=True) for part in parts if part.startswith("medseg ")]
    found += [shlex.split(match) for match in INLINE.findall(text) if " " in match]
    return [words for words in found if not any(mark in words for mark in PLACEHOLDERS)]


ALL = [(page, words) for page in PAGES for words in commands(page)]


def parsed(words: list[str]) -> str:
    """What the command line has against a command before it runs: nothing, or the kind of its complaint."""
    verb: Any = typer.main.get_command(app)
    rest = words[1:]
    while hasattr(verb, "commands"):
        assert rest[0] in verb.commands, f"there is no {shlex.join(words)}"
        verb, rest = verb.commands[rest[0]], rest[1:]
    try:
        verb.make_context(shlex.join(words), list(rest))
    except Exception as error:  # noqa: BLE001 - typer carries its own copy of click, whose exceptions have no public name
        kind = type(error).__name__
        return "" if kind == "Exit" else f"{kind}: {error}"
    return ""


def test_there_are_commands_in_the_documentation() -> None:
    assert len(ALL) > 40
    assert {words[1] for _, words in ALL} >= {
        "train",
        "infer",
        "evaluate",
        "check",
        "plan",
        "convert",
        "export",
    }


@pytest.mark.parametrize(
    ("page", "words"), ALL, ids=[f"{page.name}: {shlex.join(words)[:60]}" for page, words in ALL]
)
def test_the_command_line_takes_it(page: Path, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    complaint = parsed(words)
    if complaint.startswith("MissingParameter"):
        assert len(words) <= 6, "only a command that is merely named may lack its arguments"
        return
    assert not complaint
    config = next((Path(word) for word in words if word.startswith("configs/")), None)
    if config is not None:
        changes = [after for word, after in itertools.pairwise(words) if word == "--set"]
        load_experiment(ROOT / config, changes)


def test_the_reference_is_that_of_the_schema() -> None:
    told = subprocess.run([sys.executable, ROOT / "scripts" / "make_reference.py", "--check"], check=False)
    assert told.returncode == 0, "docs/reference.md is out of date: python scripts/make_reference.py"


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("material", reason="mkdocs-material is not installed (extra docs)")
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "-q",
        "-d",
        str(tmp_path / "site"),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "site" / "tutorial.html").read_text(encoding="utf-8")
    fetched = re.findall(r'(?:src|href)="(?:https?:)?//[^"]+\.(?:js|css|woff2?)[^"]*"', page)
    assert not fetched, "the site is read offline"


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_the_tutorial_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line of its bash blocks, in order; trainings are cut short."""
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    text = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    short = [f"training.{key}" for key in ("stop.minutes=0.2", "validate_every=1000")]
    for kind, body in FENCE.findall(text):
        if kind != "bash":
            continue
        for line in body.splitlines():
            words = shlex.split(line, comments=True)
            if words[1] == "train":
                words += [word for change in short for word in ("--set", change)]
            done = subprocess.run(
                [sys.executable, "-m", *words], cwd=tmp_path, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{line}\n{done.stderr}"
    assert (tmp_path / "runs" / "plain" / "report.html").is_file()

"""G27: names of patients, cells of tables, pages and folders that would do something.

Verdicts, written down first. A patient's name: the patient is segmented, its mask lies in the output folder
under a name that is safe everywhere, and no control character reaches the terminal. A text in a report: it
stands there as text. A formula in a table: it is text. A folder that one works in: nothing of it runs.
"""

import csv
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from medseg.evaluation import CaseScore, FailedCase, StructureScore, summarise, write_cases_csv
from medseg.evaluation.files import inert_text, read_cases_csv
from medseg.io import write_volume
from medseg.report import Origin, write_report
from medseg.training.environment import environment
from medseg.volume import Geometry, Volume
from support.malicious import CANARY
from support.oracle import write_oracle
from support.warm_start import WarmStart
from support.world import World

NAMES: tuple[bytes, ...] = (
    b"new\nline",
    b"tab\there",
    b"title\x1b]0;owned\x07",
    b"colour\x1b[31mred",
    "left\u202egnp.exe".encode(),
    b"\xff\xfe no text",
    b"=cmd|'C calc'!A0",
    b"@SUM(1+1)*cmd",
    b"+1+1",
    b"-rf",
    b"<script>alert(1)<script>",
    b"{{7*7}}{% raise %}",
    b"[bold red]markup[link=x]",
    b"$(touch canary)",
    b"`touch canary`",
    b"; touch canary #",
    b"evil..\\..\\evil",
    b"dots...",
    b"CON",
    b"nul.nii",
    b"~root",
    b"%s%n%x",
    b"*",
    b"x" * 255,
)
TEXTS = (
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</title></style></svg><iframe src=//evil>",
    "javascript:alert(1)",
    "{{7*7}}{{ cycler.__init__.__globals__ }}",
    "<!--<svg/onload=alert(1)>",
)
FORMULAS = ("=1+1", "+1+1", "-1+1", "@SUM(1)", "\t=1+1", "\r=1+1", " =1+1", "＝1+1", "'=1+1")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    root = Path(tempfile.mkdtemp(prefix="world-"))
    monkeypatch.setenv(CANARY, str(root / "canary"))
    yield World(root)
    shutil.rmtree(root)


def write_scan(path: Path) -> None:
    write_volume(
        Volume(np.full((6, 6, 6), 200, dtype=np.int16), Geometry((6, 6, 6), np.diag([2.0, 2, 2, 1]))), path
    )


@pytest.mark.row("G27")
def test_names_of_patients(world: World, warm: WarmStart, counts: Callable[[int], None]) -> None:
    scan = world.place / "scan.nii.gz"
    write_scan(scan)
    patients = os.fsencode(world.place / "patients")
    for name in NAMES:
        os.makedirs(os.path.join(patients, name))  # noqa: PTH103, PTH118 - names of bytes
        shutil.copy(scan, os.path.join(patients, name, b"ct.nii.gz"))  # noqa: PTH118
    write_oracle(world.place / "model.safetensors")
    world.mark()
    command = ("infer", "patients", "-o", world.out, "--model", "model.safetensors")
    told_to_it = {CANARY: str(world.canary), "MEDSEG_CACHE": str(world.out / "cache")}
    done = warm.run(*command, cwd=world.place, **told_to_it)
    told = done.stdout + done.stderr
    assert done.returncode == 0, told[-3000:]
    world.require_untouched()
    assert all(character.isprintable() or character == "\n" for character in told.replace("\r\n", "\n"))
    masks = [path.name for path in world.out.iterdir() if path.name.endswith(".nii.gz")]
    assert len(masks) == len(NAMES)
    assert all(name.isprintable() and not re.search(r'[/\\:*?"<>|]', name) for name in masks)
    assert all(len(name.encode()) < 200 and name[0] not in ". " for name in masks)
    assert not {"con", "nul"} & {re.split(r"[._]", name.lower())[0] for name in masks}
    with (world.out / "summary.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(NAMES)
    assert not [cell for row in rows for cell in row.values() if is_formula(cell)]
    counts(len(NAMES))


def is_formula(cell: str) -> bool:
    """What a spreadsheet would run: everything that starts like one, and is no number."""
    if re.fullmatch(r"[-+]?[0-9.]+(e[-+]?[0-9]+)?", cell):
        return False
    return cell.lstrip().startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠"))


class _Page(HTMLParser):
    """What a browser would run or fetch, and the text it would show."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts = 0
        self.risky: list[str] = []
        self.shown: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        if tag in ("iframe", "object", "embed", "base", "form", "foreignobject"):
            self.risky.append(tag)
        for name, value in attributes:
            address = (value or "").strip().lower()
            if name.startswith("on") or name in ("style", "srcdoc"):
                self.risky.append(f"{tag} {name}={value}")
            if name in ("href", "src", "xlink:href") and not address.startswith(("#", "data:")):
                self.risky.append(f"{tag} {name}={value}")

    def handle_data(self, data: str) -> None:
        self.shown.append(data)


def read_page(text: str) -> _Page:
    page = _Page()
    page.feed(text)
    page.close()
    return page


def score_of(text: str) -> tuple[CaseScore, FailedCase]:
    """A case and a failure that carry ``text`` wherever a text may stand."""
    values = {"dice": 0.5, "volume_error_ml": 1.0, "volume_error_relative": 0.1}
    one = StructureScore(text, "scored", 10.0, 11.0, values)
    return (
        CaseScore(text, text, (one,), {"pixel_accuracy": 0.9}),
        FailedCase(f"2 {text}", text, f"{text} [E406]", (StructureScore(text, "missed", 9.0, None, values),)),
    )


@pytest.mark.row("G27")
@pytest.mark.parametrize("text", TEXTS)
def test_texts_in_a_report(text: str, tmp_path: Path) -> None:
    score, failure = score_of(text)
    path = write_report(
        tmp_path / "report.html",
        title=text,
        summary=summarise([score], [failure], resamples=10),
        scores=[score],
        failed=[failure],
        origin=Origin(
            [{"step": 1, "loss": 0.5}, {"step": 2, "validation_dice": 0.5, f"validation_dice/{text}": 0.5}],
            notes=[text],
            configuration=f"name: {text}",
            provenance={"command": text, text: [text]},
        ),
    )
    page = read_page(path.read_text(encoding="utf-8"))
    assert page.scripts == 1 and page.risky == []
    assert sum(text in shown for shown in page.shown) >= 5, "it stands there as it is"
    assert not any("49" in shown for shown in page.shown)


def test_a_careless_page_would_be_caught() -> None:
    for text in TEXTS[:5]:
        page = read_page(f"<title>a</title><p class='{text}'>{text}</p><script>ours</script>")
        assert page.scripts > 1 or page.risky, text


@pytest.mark.row("G27")
@pytest.mark.parametrize("text", FORMULAS)
def test_formulas_in_tables(text: str, tmp_path: Path) -> None:
    score, failure = score_of(text)
    write_cases_csv(tmp_path / "cases.csv", [score], [failure])
    with (tmp_path / "cases.csv").open(newline="", encoding="utf-8") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not [cell for cell in cells if is_formula(cell)]
    assert not is_formula(inert_text(text))
    scores, failed = read_cases_csv(tmp_path / "cases.csv")
    assert (scores[0].case, failed[0].patient) == (text, text), "and it is read back as it was"


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.mark.row("G27")
@pytest.mark.skipif(shutil.which("git") is None, reason="git is not there")
@pytest.mark.parametrize("key", ["core.fsmonitor", "filter.evil.clean", "core.pager", "alias.rev-parse"])
def test_a_working_folder_whose_git_runs_programs(
    key: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(world.place, "init", "-q")
    (world.place / ".gitattributes").write_text("*.csv filter=evil\n")
    table = world.place / "cohort.csv"
    table.write_text("case,image,label\n")
    git(world.place, "add", "-A")
    git(world.place, "commit", "-q", "-m", "data")
    git(world.place, "config", key, f'touch "${CANARY}"; cat')
    os.utime(table, (1, 1))
    monkeypatch.chdir(world.place)
    world.mark()
    assert re.fullmatch(r"[0-9a-f]{40}\+", str(environment()["git"]))
    world.require_untouched()


@pytest.mark.row("G27")
def test_results_do_not_follow_links_that_wait_for_them(world: World) -> None:
    """Verdict: the link is replaced, and what it points to stays as it is."""
    thesis = world.root / "home" / "documents" / "thesis.txt"
    for name in ("cases.csv", "report.html", "mask.nii.gz", "summary.json"):
        (world.out / name).symlink_to(thesis)
    score, failure = score_of("a")
    summary = summarise([score], [failure], resamples=10)
    world.mark()
    write_cases_csv(world.out / "cases.csv", [score], [failure])
    write_report(world.out / "report.html", title="a", summary=summary, scores=[score])
    write_scan(world.out / "mask.nii.gz")
    world.require_untouched()
    assert not (world.out / "mask.nii.gz").is_symlink()
    assert thesis.read_text() == "mine: documents/thesis.txt"

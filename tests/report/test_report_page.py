"""report.html as a file: what it says, what it may do, and how it is written."""

import csv
import json
import re
import statistics
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from html import escape, unescape
from pathlib import Path

import pytest

from medseg.errors import EnvironmentProblem
from medseg.evaluation import CaseScore, FailedCase, MetricSummary, StructureScore, summarise
from medseg.report import write_report
from medseg.report.words import format_interval, format_spread, format_value


@pytest.fixture(scope="module")
def page(evaluated, tmp_path_factory: pytest.TempPathFactory) -> str:
    return evaluated.write(tmp_path_factory.mktemp("report") / "report.html").read_text(encoding="utf-8")


def plain(page: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page)).split())


def test_says_what_must_be_said(page: str) -> None:
    text = plain(page)
    for told in (
        "Not for clinical use.",
        "The cohort is a simulation",
        "Missed (the reference has it",
        "bootstrap",
    ):
        assert told in text
    for column in ("Expected", "Predicted", "Failed", "Missed", "False positive", "Not contoured"):
        assert f'<th scope="col">{column}</th>' in page


def test_worst_cases_come_first(page: str) -> None:
    body = page[page.index('<table class="sortable">') :]
    order = [body.index(name) for name in ("p_failed", "p_missed", "document.title", "p_good")]
    assert order == sorted(order)


def test_only_its_own_style_and_script_may_run(page: str) -> None:
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    assert policy.group(1).startswith("default-src 'none'; img-src data:;") and "unsafe" not in policy.group(
        1
    )
    for tag in ("style", "script"):
        content = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)  # data blocks have a type
        assert len(content) == 1
        digest = b64encode(sha256(content[0].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy.group(1)
    assert not re.search(r"\sstyle=|\son\w+=\"|https?://", page.partition("<main")[0])


def test_nothing_is_loaded_from_elsewhere(page: str) -> None:
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert sources and all(source.startswith(("data:", "#")) for source in sources)


def test_names_stay_text(page: str) -> None:
    outside = re.sub(r"<(style|script)( type=\"[a-z/]+\" id=\"[-\w]+\")?>.*?</\1>", "", page, flags=re.DOTALL)
    assert "<script" not in outside and "<img src=x" not in outside and "<b>y" not in outside
    assert "{{ 7*7 }}" in unescape(outside) and escape("<script>") in outside


def test_data_blocks_are_inert_and_cannot_be_left(page: str, evaluated) -> None:
    blocks = re.findall(r"<script type=\"([a-z/]+)\" id=\"([-\w]+)\">([^<]*)</script>", page)
    assert {kind for kind, _, _ in blocks} == {"application/json", "text/plain"}
    facts = json.loads(next(text for _, name, text in blocks if name == "viewer-facts"))
    assert {case["name"] for case in facts["cases"]} == set(evaluated.views)
    assert [each["name"] for each in facts["structures"]][2] == 'x"><b>y</b>'
    carried = {name for _, name, _ in blocks} - {"viewer-facts"}
    assert carried == {f"{case['anchor']}-{part}" for case in facts["cases"] for part in ("image", "labels")}


def test_provenance_is_told_in_rows(page: str) -> None:
    rows = dict(re.findall(r"<dt>([^<]*)</dt><dd>([^<]*)</dd>", page))
    assert rows["seed"] == "3" and rows["packages, torch"] == "2.0"
    assert rows["data, train"] == "9 entries with their hashes"


def test_a_page_says_who_has_no_viewer(evaluated, tmp_path: Path) -> None:
    page = evaluated.write(tmp_path / "report.html", page_bytes=1).read_text(encoding="utf-8")
    assert "The 1 worst cases have a viewer; 2 have none" in plain(page)
    assert page.count('-labels">') == 1


def test_what_is_plotted_follows_from_the_table_of_cases(evaluated, tmp_path: Path) -> None:
    """Bland and Altman's numbers and the medians of the page, from cases.csv and nothing else."""
    page = evaluated.write(tmp_path / "report.html").read_text(encoding="utf-8")
    with (tmp_path / "cases.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for structure in ("prostate", "bladder"):
        ours = [row for row in rows if row["structure"] == structure and row["outcome"] == "predicted"]
        differences = [float(row["prediction_ml"]) - float(row["reference_ml"]) for row in ours]
        bias, spread = statistics.fmean(differences), 1.96 * statistics.stdev(differences)
        drawing = page[page.index(f'aria-label="{structure}: difference of volumes') :]
        told = re.search(r"bias (\S+) mL, limits (\S+) to (\S+), n = (\d+)", unescape(drawing))
        assert told is not None and int(told[4]) == len(ours)
        read = [float(each.replace("\N{MINUS SIGN}", "-")) for each in told.groups()[:3]]
        assert read == pytest.approx([bias, bias - spread, bias + spread], rel=0.006, abs=1e-9)
        dice = [float(row["dice"]) for row in rows if row["structure"] == structure]
        spread_row = page[page.index('aria-label="Dice of every case') :]
        assert f"median {statistics.median(dice):.3f}, middle half" in spread_row


def test_counts_of_not_contoured_and_missed(page: str) -> None:
    table = page.partition("Cases by structure</caption>")[2].partition("</table>")[0]
    rows = re.findall(r"<tr>(.*?)</tr>", table)
    numbers = [re.findall(r"<td[^>]*>(\d+)</td>", row) for row in rows]
    assert numbers[-3:] == [
        ["4", "3", "1", "3", "0", "0", "0", "0"],
        ["4", "3", "1", "2", "1", "0", "0", "0"],
        ["4", "3", "1", "0", "0", "0", "0", "3"],
    ]


def test_bare_minimum_is_a_page(tmp_path: Path) -> None:
    failed = (FailedCase("p1", "", "no scan"),)
    path = write_report(tmp_path / "new" / "report.html", title="t", summary=summarise([], failed), scores=[])
    page = path.read_text(encoding="utf-8")
    assert "no scan" in plain(page) and ">Viewer<" not in page and ">Origin<" not in page


def test_many_structures_fold_into_the_lowest(tmp_path: Path) -> None:
    names = [f"organ{number}" for number in range(30)]
    scored = [
        StructureScore(name, "scored", 1.0, 1.0, {"dice": 0.5 + at / 100}) for at, name in enumerate(names)
    ]
    missed = replace(scored[7], status="missed", values={"dice": 0.0})
    score = CaseScore("p1", "p1", (*scored[:7], missed, *scored[8:]), {})
    path = write_report(tmp_path / "report.html", title="t", summary=summarise([score]), scores=[score])
    text = plain(path.read_text(encoding="utf-8"))
    assert "Lowest structure" in text and "organ7 0.000" in text and "organ7: missed" in text


def test_a_failed_write_leaves_the_old_report(evaluated, tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(EnvironmentProblem, match="disk is full"):
        evaluated.write(path)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_same_evaluation_same_bytes(evaluated, tmp_path: Path) -> None:
    paths = [evaluated.write(tmp_path / name) for name in ("a.html", "b.html")]
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        ("dice", 0.87654, "0.877"),
        ("dice", None, "–"),
        ("hd95", 4.256, "4.26"),
        ("volume_error_ml", -3.456, "−3.46"),
        ("volume_error_ml", 1234.5, "+1234"),
        ("volume_error_relative", 0.1234, "+12.3"),
    ],
)
def test_numbers_read_like_the_field_writes_them(metric: str, value: float | None, text: str) -> None:
    assert format_value(metric, value) == text


def test_spread_and_interval() -> None:
    one = MetricSummary(0.8, 0.7, 0.9, 0.1, 0.8, 0.1, 0.7, 0.9, 3)
    assert format_spread("dice", one) == "0.800 ± 0.100"
    assert format_interval("dice", one) == "0.700 to 0.900"
    assert format_spread("dice", replace(one, sd=None)) == "0.800"
    assert format_interval("dice", replace(one, low=None)) == format_spread("dice", None) == "–"

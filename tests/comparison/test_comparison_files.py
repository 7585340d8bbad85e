"""The files of a comparison: nothing run, nothing lost, every number found again from the pairs."""

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import wilcoxon

from medseg.comparison import compare, read_evaluations, write_comparison
from support.browser import chromium, opened, require_accessible, require_both_themes, require_no_sideways
from support.compared import failed, scored, structure, write

HOSTILE = "=1+<script>document.title='taken'</script>\"'&<img src=x onerror=alert(1)>{{ 7*7 }}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("comparison")
    random = np.random.default_rng(3)
    runs: dict[str, list[Any]] = {"one": [], "two": []}
    for number in range(18):
        name = HOSTILE if number == 4 else f"c{number:02d}"
        level = random.beta(8, 2, 2)
        for run, cases in runs.items():
            values = np.clip(level + random.normal(0.04 * (run == "two"), 0.03, 2), 0, 1)
            parts = [
                structure(each, float(value)) for each, value in zip(("a", HOSTILE), values, strict=True)
            ]
            lost = [structure(part.structure, None, "missed") for part in parts]
            gone = run == "two" and number == 9
            cases.append(failed(name, *lost) if gone else scored(name, *parts, patient=f"p{number // 2}"))
    runs["one"].pop()
    folders = [write(place / run, *cases) for run, cases in runs.items()]
    found = compare(read_evaluations(folders), ("dice", "hd95"))
    assert write_comparison(place / "out", found) == place / "out" / "comparison.html"
    return place / "out"


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_number_follows_from_the_pairs(folder: Path) -> None:
    pairs = rows(folder / "comparison_cases.csv")
    told = rows(folder / "comparison.csv")
    assert len(told) == 6
    for row in told:
        mine = [p for p in pairs if (p["metric"], p["structure"]) == (row["metric"], row["structure"])]
        differences = [float(p["other_value"]) - float(p["baseline_value"]) for p in mine]
        by_patient: dict[str, list[float]] = {}
        for p, difference in zip(mine, differences, strict=True):
            by_patient.setdefault(p["patient"], []).append(difference)
        means = np.round([np.mean(each) for each in by_patient.values()], 10)
        assert int(row["cases"]) == len(mine) == 17
        assert int(row["patients"]) == len(by_patient) == 9
        assert float(row["difference"]) == pytest.approx(np.mean(differences), abs=1e-9)
        assert float(row["median_difference"]) == pytest.approx(np.median(means), abs=1e-9)
        assert float(row["p"]) == pytest.approx(wilcoxon(means).pvalue)
        assert float(row["cohen_dz"]) == pytest.approx(means.mean() / means.std(ddof=1))
        better = np.array(differences) * (1 if row["metric"] == "dice" else -1)
        assert [int(row[key]) for key in ("wins", "ties", "losses")] == [
            (better > 0).sum(), (better == 0).sum(), (better < 0).sum()
        ]  # fmt: skip
    lost = [p for p in pairs if p["left_out"]]
    assert [(p["case"], p["left_out"]) for p in lost] == [("c17", "not in one")]


def test_json_says_the_same_and_is_strict(folder: Path) -> None:
    text = (folder / "comparison.json").read_text(encoding="utf-8")
    told = json.loads(text, parse_constant=pytest.fail)
    (pair,) = told["pairs"]
    assert [row["p_holm"] for row in pair["rows"]] == [
        float(r["p_holm"]) for r in rows(folder / "comparison.csv")
    ]
    assert len(pair["cases"]) == 17 * 3 * 2
    largest = [abs(each["other"] - each["baseline"]) for each in pair["cases"] if each["metric"] == "dice"]
    assert largest == sorted(largest, reverse=True)
    assert told["rules"]


def test_no_cell_starts_a_formula(folder: Path) -> None:
    for name in ("comparison.csv", "comparison_cases.csv"):
        cells = [cell for row in rows(folder / name) for cell in row.values()]
        texts = [cell for cell in cells if not re.fullmatch(r"-?[\d.e+-]+", cell)]
        assert any(text.startswith("'=1+") for text in texts)
        assert not [text for text in texts if text.startswith(("=", "+", "-", "@"))]


@pytest.fixture(scope="module")
def page(folder: Path) -> Iterator[Any]:
    with chromium() as browser, opened(browser, folder / "comparison.html") as shown:
        yield shown


def test_the_page_shows_names_as_text_and_sorts(page: Any) -> None:
    assert page.title() == "two against one"
    assert page.locator("main script, main img").count() == 0
    assert "default-src 'none'" in page.locator("meta[http-equiv]").get_attribute("content")
    table = page.locator("table.sortable").first
    lead = (
        "[...document.querySelector('table.sortable').tBodies[0].rows]"
        r".map((row) => Number(row.cells[2].textContent.match(/[\d.]+/)[0]))"
    )
    table.get_by_role("button", name="one").click()
    found = page.evaluate(lead)
    assert found == sorted(found)
    assert table.locator("th[aria-sort=ascending]").count() == 1
    assert page.get_by_text("cases without a partner, which took no part: 1").count() == 1


@pytest.mark.parametrize("width", [400, 1250])
def test_the_page_never_scrolls_sideways(page: Any, width: int) -> None:
    require_no_sideways(page, width)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_for_everyone_in_both_themes(page: Any, scheme: str) -> None:
    require_both_themes(page, scheme)
    page.evaluate("delete document.documentElement.dataset.theme")
    require_accessible(page, scheme)

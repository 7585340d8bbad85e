"""The page of a batch in a real browser: volumes, failures, and what to look at."""

from collections.abc import Iterator
from typing import Any

import pytest

from medseg.report.batch_page import BatchPage, write_batch_page
from support.browser import chromium, opened, require_accessible, require_both_themes, require_no_sideways

HOSTILE = "<script>document.title='taken'</script>\"'&<img src=x onerror=alert(1)>{{ 7*7 }}"


def row(number: int, **told: str) -> dict[str, str]:
    usual = {
        "shard": f"shard_{number % 3}", "patient": f"p{number:02d}", "status": "done",
        "liver_ml": f"{1400 + 23 * number}", f"{HOSTILE}_ml": f"{12.5 + number}", "mask": "m.nii", "code": "",
        "problem": "", "expected_dice": f"{0.95 - 0.01 * number:.4f}", "review": "",
    }  # fmt: skip
    return {**usual, **told}


FAILED = {"status": "failed", "liver_ml": "", f"{HOSTILE}_ml": "", "expected_dice": ""}
ROWS = [
    *(row(number) for number in range(12)),
    row(12, review="Dice of 0.61 expected; liver smaller than usual"),
    row(13, code="E406", problem=f"p13: cut short {HOSTILE}", **FAILED),
]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    numbers = {
        "patients": 13.0,
        "mean_ml": 1538.0,
        "median_ml": 1538.0,
        "smallest_ml": 1400.0,
        "largest_ml": 1676.0,
    }
    volumes = dict.fromkeys(("liver", HOSTILE), numbers)
    origin = {"model": "a" * 64, "settings": {"overlap": 0.5}, "shards": [HOSTILE, "two"]}
    path = tmp_path_factory.mktemp("batch") / "report.html"
    write_batch_page(path, BatchPage(f"14 patients {HOSTILE}", ROWS, volumes, origin))
    with chromium() as browser, opened(browser, path) as shown:
        yield shown


def test_who_failed_and_whom_to_look_at_comes_first(page: Any) -> None:
    assert page.title().startswith("14 patients <script>")
    assert page.locator("main script, main img").count() == 0
    lead = (
        "[...document.querySelector('table.sortable').tBodies[0].rows].map((row) => row.cells[0].textContent)"
    )
    assert page.evaluate(lead)[:3] == ["p13", "p12", "p00"]
    tiles = page.locator(".tiles dd").all_inner_texts()
    assert tiles == ["14", "13", "1", "1"]
    assert page.locator("svg circle").count() == 2 * 13
    page.locator("table.sortable").get_by_role("button", name="liver, mL").click()
    assert page.evaluate(lead)[-1] == "p13", "nothing measured comes last"


def test_the_page_is_for_everyone_in_both_themes(page: Any) -> None:
    for width in (400, 1300):
        require_no_sideways(page, width)
    for scheme in ("light", "dark"):
        require_both_themes(page, scheme)
        page.evaluate("delete document.documentElement.dataset.theme")
        require_accessible(page, scheme)

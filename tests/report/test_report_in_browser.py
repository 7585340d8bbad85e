"""report.html in a real browser: no error, no request, pictures that decode, a table that sorts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BROWSER = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not BROWSER.exists():
        pytest.skip(f"no browser at {BROWSER}")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=str(BROWSER), args=FLAGS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def report(evaluated, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return evaluated.write(tmp_path_factory.mktemp("browser") / "report.html")


@pytest.fixture
def page(browser, report: Path) -> Iterator[Any]:
    shown = browser.new_page(viewport={"width": 1300, "height": 900})
    shown.troubles = []
    shown.on("console", lambda message: shown.troubles.append(message.text))
    shown.on("pageerror", lambda error: shown.troubles.append(str(error)))
    shown.on("dialog", lambda dialog: (shown.troubles.append("dialog"), dialog.dismiss()))
    shown.on("request", lambda request: shown.troubles.append(request.url) if _outside(request.url) else None)
    shown.goto(report.as_uri())
    yield shown
    assert shown.troubles == []
    shown.close()


def _outside(url: str) -> bool:
    return not url.startswith(("data:", "file:"))


def test_every_picture_decodes(page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    page.evaluate("Promise.all([...document.images].map((image) => image.decode()))")
    sizes = page.evaluate(
        "[...document.images].map((image) => [image.naturalWidth, image.width, image.alt.length])"
    )
    assert len(sizes) >= 5
    assert all(natural > 0 and shown > 0 and alt > 20 for natural, shown, alt in sizes)


def test_hostile_names_are_shown_as_text(page) -> None:
    assert page.title().startswith("Prostate <script>")
    assert page.locator("main b, main script, img[src=x]").count() == 0
    assert page.get_by_role("rowheader", name="document.title='taken'").count() == 1


def test_table_sorts_both_ways_with_undefined_last(page) -> None:
    table = page.locator("table.sortable")
    head = table.get_by_role("button", name="Mean Dice")
    lead = "[...document.querySelectorAll('table.sortable tbody tr')].map((row) => row.cells[1].textContent)"
    head.focus()
    page.keyboard.press("Enter")
    rising = page.evaluate(lead)
    page.keyboard.press("Enter")
    falling = page.evaluate(lead)
    assert rising[-1] == falling[-1] == "–"
    assert rising[:-1] == sorted(rising[:-1]) == falling[:-1][::-1]
    assert table.locator("th[aria-sort=descending]").count() == 1


def test_links_unfold_the_pictures_of_a_case(page) -> None:
    page.get_by_role("button", name="Fold all", exact=True).click()
    assert page.locator("details.case[open]").count() == 0
    page.get_by_role("link", name="p_missed").click()
    page.locator("details.case[open]").wait_for()
    assert "p_missed" in page.locator("details.case[open] > summary").inner_text()


def test_tables_have_heads_and_captions(page) -> None:
    bare = (
        "[...document.querySelectorAll('table')]"
        ".filter((t) => !t.caption || !t.tHead || !t.querySelector('tbody th[scope]'))"
    )
    assert page.evaluate(f"{bare}.length") == 0
    unnamed = (
        "[...document.querySelectorAll('svg, img')].filter((e) => !e.alt && !e.getAttribute('aria-label'))"
    )
    assert page.evaluate(f"{unnamed}.length") == 0


@pytest.mark.parametrize("width", [400, 1300])
def test_the_page_itself_never_scrolls_sideways(page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_both_schemes(page, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    light = page.evaluate(
        "['color', 'backgroundColor'].map((key) => getComputedStyle(document.body)[key].match(/\\d+/g)"
        ".slice(0, 3).reduce((sum, part) => sum + Number(part), 0) / 765)"
    )
    assert abs(light[0] - light[1]) > 0.6
    assert (light[1] < 0.5) == (scheme == "dark")


def test_printing_unfolds_everything_and_folds_it_again(page) -> None:
    page.get_by_role("button", name="Fold all", exact=True).click()
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.locator("details[open]").count() == 0

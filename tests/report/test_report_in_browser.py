"""report.html in a real browser: no error, no request, a viewer that shows each voxel, tables that sort."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.browser import (
    chromium,
    opened,
    require_accessible,
    require_both_themes,
    require_no_sideways,
    wait_until,
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def report(evaluated, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return evaluated.write(tmp_path_factory.mktemp("browser") / "report.html")


@pytest.fixture
def page(browser, report: Path) -> Iterator[Any]:
    with opened(browser, report) as shown:
        wait_for_case(shown, "p_missed")
        yield shown


def wait_for_case(page: Any, name: str) -> None:
    box = "document.getElementById('viewer-box')"
    wait_until(
        page, f"{box}.dataset.case === {json.dumps(name)} && {box}.getAttribute('aria-busy') === 'false'"
    )
    settle(page)


def settle(page: Any) -> None:
    """Until what was asked for is drawn."""
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def slices(page: Any) -> list[int]:
    """Of the axial, sagittal and coronal plane."""
    found = page.evaluate("[...document.querySelectorAll('.plane input')].map((each) => Number(each.value))")
    return [int(each) for each in found]


def pictures(page: Any) -> list[str]:
    settle(page)
    found = page.evaluate("[...document.querySelectorAll('.plane canvas')].map((each) => each.toDataURL())")
    return [str(each) for each in found]


def test_the_viewer_unpacks_every_voxel_of_the_masks(page, evaluated) -> None:
    """The browser's own view of the masks against the volumes that were scored."""
    facts = page.evaluate("JSON.parse(document.getElementById('viewer-facts').textContent).cases")
    assert len(facts) == 3
    for case in facts:
        read = f"readCase({json.dumps(case)}).then((v) => [v.predicted, v.reference, v.grey].map(String))"
        predicted, reference, grey = (np.fromstring(each, dtype=int, sep=",") for each in page.evaluate(read))
        _, *masks = evaluated.volumes[case["name"]]
        for found, mask in zip((predicted, reference), masks, strict=True):
            # the array is to the left, back and head already
            part = tuple(slice(at, at + n) for at, n in zip(case["first"], case["shape"], strict=True))
            expected = np.where(mask.array == 9, 3, mask.array)[part]
            assert np.array_equal(np.reshape(found, expected.shape[::-1]).T, expected)
        assert len(set(grey)) > 50


def test_hostile_names_are_shown_as_text(page) -> None:
    assert page.title().startswith("Prostate <script>")
    assert page.locator("main b, main script, img").count() == 0
    assert page.get_by_role("rowheader", name="document.title='taken'").count() == 1
    page.locator("[data-part=better]").click()
    wait_until(page, "document.getElementById('viewer-box').dataset.case.includes('taken')")
    settle(page)
    assert page.locator("main b, main script, img").count() == 0
    assert "<b>y</b>" in page.locator("[data-part=scores]").inner_text()


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


def test_table_filters_by_name_and_by_state(page) -> None:
    rows, told = page.locator("table.sortable tbody tr"), page.locator("#filter output")
    assert told.inner_text() == "4 of 4 cases"
    page.get_by_role("searchbox", name="Find").fill("MISS")
    assert told.inner_text() == "1 of 4 cases" and rows.filter(visible=True).count() == 1
    page.get_by_role("searchbox", name="Find").fill("p7")
    assert told.inner_text() == "3 of 4 cases", "by patient, too"
    page.get_by_role("searchbox", name="Find").fill("")
    for state, count in (("failed", 1), ("failed wrong", 2), ("", 4)):
        page.get_by_role("combobox", name="Show").select_option(state)
        assert rows.filter(visible=True).count() == count


def test_keys_wheel_and_pointer_scroll_through_the_slices(page) -> None:
    axial = page.get_by_role("slider", name="Axial slice")
    axial.focus()
    before, drawn = slices(page), pictures(page)
    page.keyboard.press("ArrowUp")
    assert slices(page) == [before[0] + 1, *before[1:]]
    after = pictures(page)
    assert all(old != new for old, new in zip(drawn, after, strict=True)), "the crosshair moves, too"
    page.keyboard.press("Home")
    settle(page)
    assert slices(page)[0] == 0 and axial.get_attribute("aria-valuetext").startswith(
        "slice 1 of 12 from the feet"
    )
    canvas = page.locator(".plane canvas").nth(1)
    canvas.scroll_into_view_if_needed()
    canvas.hover()
    top = page.evaluate("scrollY")
    page.mouse.wheel(0, -100)
    wait_until(page, f"Number(document.querySelectorAll('.plane input')[1].value) === {before[1] + 1}")
    assert page.evaluate("scrollY") == top, "the page stays"
    box = page.locator(".plane canvas").nth(2).bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.25, box["y"] + box["height"] * 0.5)
    settle(page)
    assert (
        slices(page)[1] < 12
        and page.evaluate("document.activeElement.getAttribute('aria-label')") == "Coronal slice"
    )
    page.keyboard.press("w")
    settle(page)
    assert slices(page) == before, "back at the worst slices"


def test_what_is_shown_can_be_chosen(page) -> None:
    seen = [pictures(page)]
    page.locator("[data-part=prediction]").select_option("fill")
    seen.append(pictures(page))
    page.locator("[data-part=reference]").select_option("off")
    seen.append(pictures(page))
    page.get_by_role("checkbox", name="Difference").check()
    assert page.get_by_text("only predicted").first.is_visible()
    seen.append(pictures(page))
    page.locator("[data-part=preset]").select_option("Bone")
    assert page.get_by_text("1800 HU", exact=True).is_visible()
    seen.append(pictures(page))
    page.locator("[data-part=width]").fill("100")
    seen.append(pictures(page))
    page.locator("[data-part=scores]").get_by_label("prostate").uncheck()
    seen.append(pictures(page))
    assert len({each[0] for each in seen}) == len(seen)


def test_cases_follow_each_other_and_links_lead_to_them(page) -> None:
    assert page.get_by_role("button", name="Worse").is_disabled()
    page.get_by_role("slider", name="Axial slice").focus()
    page.keyboard.press("]")
    page.keyboard.press("]")
    wait_for_case(page, "p_good")
    assert page.get_by_role("button", name="Better").is_disabled()
    page.get_by_role("link", name="p_missed").click()
    wait_for_case(page, "p_missed")
    assert page.evaluate("document.activeElement.id") == "viewer-title"
    assert "missed" in page.locator("[data-part=scores]").inner_text()
    label = page.locator(".plane canvas").first.get_attribute("aria-label")
    assert label.startswith("Axial slice") and "Reference: prostate, bladder" in label


@pytest.mark.parametrize("width", [400, 1300])
def test_the_page_itself_never_scrolls_sideways(page, width: int) -> None:
    require_no_sideways(page, width)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_both_schemes_and_the_button_changes_them(page, scheme: str) -> None:
    require_both_themes(page, scheme)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_fault(page, scheme: str) -> None:
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    page.get_by_role("checkbox", name="Difference").check()
    require_accessible(page, scheme)


def test_printing_unfolds_what_is_to_be_read_and_folds_it_again(page) -> None:
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open]):not(.whole)").count() == 0
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.locator("details[open]").count() == 0
    page.emulate_media(media="print", color_scheme="dark")
    assert not page.locator("#filter").is_visible() and page.locator(".plane canvas").first.is_visible()
    assert page.get_by_role("heading", name="p_missed").is_visible(), "the case shown is named"
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == "rgb(255, 255, 255)"

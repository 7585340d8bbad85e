"""Pages in a real headless Chromium: anything on the console, any request and any violation is a fault."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.training_runs import wait_for

BROWSER = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@contextmanager
def chromium() -> Iterator[Any]:
    """Skips the test where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not BROWSER.exists():
        pytest.skip(f"no browser at {BROWSER}")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=str(BROWSER), args=FLAGS)
        yield started
        started.close()


@contextmanager
def opened(browser: Any, path: Path) -> Iterator[Any]:
    """The page, without trouble until the end."""
    shown = browser.new_page(viewport={"width": 1300, "height": 900})
    shown.troubles = []
    shown.on("console", lambda message: shown.troubles.append(message.text))
    shown.on("pageerror", lambda error: shown.troubles.append(str(error)))
    shown.on("dialog", lambda dialog: (shown.troubles.append("dialog"), dialog.dismiss()))
    shown.on("request", lambda request: shown.troubles.append(request.url) if _outside(request.url) else None)
    shown.add_init_script(
        "window.violations = 0;"
        "document.addEventListener('securitypolicyviolation', () => { violations += 1; })"
    )
    shown.goto(path.as_uri())
    yield shown
    assert shown.troubles == [], shown.troubles
    assert shown.evaluate("violations") == 0
    shown.close()


def wait_until(page: Any, expression: str) -> None:
    """Asked from here, again and again: what Playwright polls within the page falls under the page's own
    content security policy from the second look on, which forbids it."""
    wait_for(lambda: page.evaluate(expression), 30)


def _outside(url: str) -> bool:
    return not url.startswith(("data:", "file:"))


def brightness(page: Any) -> tuple[float, float]:
    """Of text and of paper, 0 to 1."""
    text, paper = page.evaluate(
        "['color', 'backgroundColor'].map((key) => getComputedStyle(document.body)[key].match(/\\d+/g)"
        ".slice(0, 3).reduce((sum, part) => sum + Number(part), 0) / 765)"
    )
    return float(text), float(paper)


def require_both_themes(page: Any, scheme: str) -> None:
    """Text stands out in the system's scheme, and in the other one that the button brings."""
    page.emulate_media(color_scheme=scheme)
    for expected in (scheme == "dark", scheme == "light"):
        text, paper = brightness(page)
        assert abs(text - paper) > 0.6
        assert (paper < 0.5) == expected
        page.locator("#theme").click()


def require_accessible(page: Any, scheme: str) -> None:
    """axe finds nothing; every table has a caption and heads, every picture a name."""
    checker = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    page.emulate_media(color_scheme=scheme)
    found = checker.Axe().run(page).response
    assert len(found["passes"]) > 20
    told = [
        (each["id"], each["impact"], [node["html"][:150] for node in each["nodes"][:3]])
        for each in found["violations"]
    ]
    assert told == [], told
    bare = (
        "[...document.querySelectorAll('table')]"
        ".filter((t) => !t.caption || !t.tHead || !t.querySelector('tbody th[scope]')).length"
    )
    assert page.evaluate(bare) == 0
    assert page.evaluate("[...document.querySelectorAll('svg')].every((s) => s.getAttribute('aria-label'))")


def require_no_sideways(page: Any, width: int) -> None:
    """The page itself never scrolls sideways in a window of ``width`` pixels."""
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width

"""Rows of the reliability table: ``@pytest.mark.row("G05")`` counts a test; the end prints ``G05: 24/24``.

A test that stands for several cases (a hypothesis run, a loop) tells how many by the ``counts`` fixture;
when it fails, none of them count.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator

import pytest

_ROW, _COUNT = "reliability_row", "reliability_count"


@pytest.fixture
def counts(request: pytest.FixtureRequest) -> Callable[[int], None]:
    """Call with the number of cases that this test stands for."""
    return lambda number: request.node.user_properties.append((_COUNT, number))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()
    marker = item.get_closest_marker("row")
    if marker is not None and (report.when == "call" or report.outcome != "passed"):
        report.user_properties = [*report.user_properties, (_ROW, marker.args[0])]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    passed: dict[str, int] = defaultdict(int)
    total: dict[str, int] = defaultdict(int)
    skipped: dict[str, int] = defaultdict(int)
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.stats.get(outcome, ()):
            properties = dict(getattr(report, "user_properties", ()))
            if _ROW not in properties:
                continue
            row, number = properties[_ROW], properties.get(_COUNT, 1)
            skipped[row] += number if outcome == "skipped" else 0
            total[row] += number if outcome != "skipped" else 0
            passed[row] += number if outcome == "passed" else 0
    for row in sorted({*total, *skipped}):
        aside = f" ({skipped[row]} skipped)" if skipped[row] else ""
        terminalreporter.write_line(f"{row}: {passed[row]}/{total[row]}{aside}")

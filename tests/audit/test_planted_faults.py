"""``medseg check`` finds every planted fault, names its case, and finds nothing in the clean cohort."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from medseg.audit import Finding, check_experiment
from medseg.data import PreparedCache
from support.check_cohort import experiment, write_cohort
from support.planted_faults import PLANTED, Planted


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """The clean cohort with one and with two channels, never written to."""
    root = tmp_path_factory.mktemp("clean")
    return {channels: write_cohort(root / str(channels), channels) for channels in (1, 2)}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> PreparedCache:
    """Clean cases are looked at once for all faults: they are known by content."""
    return PreparedCache(tmp_path_factory.mktemp("cache"))


def findings(cohort: Path, cache: PreparedCache, channels: int = 1) -> tuple[Finding, ...]:
    return check_experiment(experiment(cohort, channels), measure=False, cache=cache).findings


QUICK = ("near-duplicate", "label-shifted", "label-mirrored", "left-right-swapped", "unreadable")
"""One of each of these is planted by default, the others nightly."""


def planted() -> list[Any]:
    waiting = list(QUICK)
    found = []
    for fault in PLANTED:
        quick = fault.expected in waiting
        if quick:
            waiting.remove(fault.expected)
        found.append(pytest.param(fault, id=fault.name, marks=() if quick else pytest.mark.nightly))
    return found


@pytest.mark.parametrize("channels", [1, pytest.param(2, marks=pytest.mark.nightly)])
def test_the_clean_cohort_has_no_finding(clean: dict[int, Path], cache: PreparedCache, channels: int) -> None:
    assert findings(clean[channels], cache, channels) == ()


@pytest.mark.parametrize("fault", planted())
def test_a_planted_fault_is_found(
    fault: Planted, clean: dict[int, Path], cache: PreparedCache, tmp_path: Path
) -> None:
    cohort = Path(shutil.copytree(clean[fault.channels], tmp_path / "cohort"))
    table = fault.plant(cohort)
    found = findings(table or cohort, cache, fault.channels)
    told = [str(finding) for finding in found]
    hits = [finding for finding in found if finding.name == fault.expected]
    assert hits, told
    if fault.case is not None:
        assert all(fault.case in finding.cases for finding in hits), told
    assert {finding.name for finding in found} == {fault.expected}, told

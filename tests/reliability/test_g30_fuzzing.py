"""G30: whatever the bytes of a file are, a reader gives a value or a MedsegError, and soon.

For half a minute in the default run, and for a million inputs in the nightly one. What crashed is left beside
the report, and its seed and number in the message give it again.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from support.fuzz import LONGEST_SECONDS, fuzz
from support.fuzz_targets import Target, dicom_targets, header_targets, record_targets, text_targets

GROUPS: dict[str, Callable[[Path], list[Target]]] = {
    "headers": header_targets,
    "dicom": dicom_targets,
    "texts": text_targets,
    "records": record_targets,
}
SECONDS_A_GROUP = 15
MILLION = {"headers": 700_000, "dicom": 100_000, "texts": 100_000, "records": 100_000}


def attack(group: str, folder: Path, *, seconds: float | None = None, number: int | None = None) -> int:
    """How many inputs were tried; fails when one of them brought out anything but a MedsegError."""
    targets = GROUPS[group](folder)
    whole, tried, told = sum(target.share for target in targets), 0, []
    for target in targets:
        part = target.share / whole
        outcome = fuzz(
            target.seeds,
            target.use,
            seconds=None if seconds is None else seconds * part,
            executions=None if number is None else round(number * part),
            seed=0 if seconds is not None else 1,
        )
        tried += outcome.executions
        for place, data, error in outcome.crashes:
            (folder / f"crash-{place}").write_bytes(data)
            told.append(f"{target.name}, input {place}: {type(error).__name__}: {error} ({folder})")
        assert outcome.slowest_seconds < LONGEST_SECONDS, f"{target.name}: {outcome.slowest_seconds:.1f} s"
        assert outcome.executions, target.name
    assert told == []
    return tried


@pytest.mark.long
@pytest.mark.usefixtures("annotations_at_rest")  # twice as many inputs
@pytest.mark.row("G30")
@pytest.mark.parametrize("group", GROUPS)
def test_for_a_while(group: str, tmp_path: Path, counts: Callable[[int], None]) -> None:
    counts(attack(group, tmp_path, seconds=SECONDS_A_GROUP))


@pytest.mark.row("G30")
@pytest.mark.nightly
@pytest.mark.timeout(6 * 3600)
@pytest.mark.parametrize("group", GROUPS)
def test_a_million_inputs(group: str, tmp_path: Path, counts: Callable[[int], None]) -> None:
    counts(attack(group, tmp_path, number=MILLION[group]))

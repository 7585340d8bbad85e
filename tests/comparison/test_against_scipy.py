"""medseg compare against SciPy and an independent computation, on random tables."""

from pathlib import Path

import pytest

from medseg.comparison import Row, compare, read_evaluations
from support.compared import holm, random_table, recompare


@pytest.mark.parametrize("seed", range(20))
def test_a_random_table_gives_the_same_numbers(tmp_path: Path, seed: int) -> None:
    folders = random_table(tmp_path, seed)
    metrics = ("dice", "hd95") if seed < 4 else (("dice", "hd95")[seed % 2],)
    pair = compare(read_evaluations(folders), metrics).pairs[0]
    told = {(row.metric, row.structure): row for row in pair.rows}
    again = {
        (metric, name): numbers for metric in metrics for name, numbers in recompare(*folders, metric).items()
    }
    assert told.keys() == again.keys()
    for key, numbers in again.items():
        require_equal(told[key], numbers)
    tested = [key for key, numbers in again.items() if numbers["cases"]]
    for key, corrected in zip(tested, holm([again[key]["p"] for key in tested]), strict=True):
        assert told[key].p_holm == pytest.approx(corrected, rel=1e-9)


def require_equal(row: Row, numbers: dict) -> None:
    where = (row.metric, row.structure)
    assert row.cases == numbers["cases"], where
    if not row.cases:
        assert row.test is row.difference is row.low is None
        return
    assert row.test is not None
    for key in ("patients", "wins", "ties", "losses"):
        assert getattr(row, key) == numbers[key], (where, key)
    for key in ("difference", "low", "high", "cohen_dz"):
        expected = numbers[key]
        assert getattr(row, key) == (
            None if expected is None else pytest.approx(expected, rel=1e-7, abs=1e-9)
        ), (where, key)
    assert row.test.p == pytest.approx(numbers["p"], rel=1e-9), where
    assert row.test.rank_biserial == pytest.approx(numbers["rank_biserial"], abs=1e-9), where

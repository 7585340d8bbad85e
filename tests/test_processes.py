"""How many cores a process may use."""

import os
import subprocess
import sys

import pytest

from medseg.processes import usable_cores


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores are not bound on this system")
def test_a_process_bound_to_one_core_counts_one() -> None:
    code = (
        "import os; from medseg.processes import usable_cores; "
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); print(usable_cores())"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.strip() == "1"


def test_there_is_one_at_least() -> None:
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)

"""G16: a process that hangs is given up in time, with the stack of where it hung; the others go on."""

import signal
import time
from pathlib import Path

import pytest

from medseg.batch import BatchModel, BatchOptions, infer_patients
from medseg.data import find_patients
from support.batches import Sniper, Told, at_work, write_patient, write_patients
from support.oracle import write_oracle

LARGE = (180, 180, 120)
"""So long in reading that the test can stop it meanwhile."""


@pytest.mark.long
@pytest.mark.row("G16")
def test_a_stalled_worker_is_given_up_and_tells_where_it_hung(tmp_path: Path) -> None:
    model = BatchModel.load(write_oracle(tmp_path / "oracle.safetensors"))
    patients, out, told = write_patients(tmp_path / "patients", 4), tmp_path / "masks", Told()
    write_patient(patients / "stalled", 5, LARGE)
    with Sniper("stalled", "reading", at_work(out, "reading", signal.SIGSTOP)) as sniper:
        options = BatchOptions(workers=2, timeout_seconds=4)
        result = infer_patients(model, find_patients(patients), out, options, told)
    assert len(result.done) == 4
    (failure,) = result.failed
    assert (failure.id, failure.code) == ("stalled", "E802")
    assert "stalled: reading was given up after 4 s" in failure.problem
    assert told.when["stalled"] - sniper.shots[0] < 4 + 5
    stack = (out / ".medseg" / "dumps" / "stalled.txt").read_text()
    assert "Current thread" in stack
    assert "medseg/batch/tasks.py" in stack
    assert time.monotonic() - sniper.shots[0] < 30, "and nothing is waited for any longer"

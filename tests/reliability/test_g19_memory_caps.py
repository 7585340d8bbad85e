"""G19: with little memory or a short device, bitwise the same labels, or a refusal within ten seconds."""

import json
import os
import subprocess
import sys
import time
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medseg.config.inference import InferenceConfig
from medseg.errors import Code, EnvironmentProblem
from medseg.inference import Segmenter
from medseg.inference.memory import LIBRARIES
from support.oracle import write_oracle
from support.short_memory import OutOfMemoryEngine, coded_scan

TESTS = Path(__file__).resolve().parents[1]
SIZES = ("256,256,200", "384,384,96")
STRUCTURES = (2, 12)
SHARES = {"all in memory": 1.0, "some in files": 0.5, "the least": 0.0, "too little": -0.2}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {
        count: write_oracle(folder / f"{count}.safetensors", count, patch_size=(96, 96, 96), overlap=0.1)
        for count in STRUCTURES
    }


@cache
def run_capped(model: Path, size: str, structures: int, share: float) -> dict[str, Any]:
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "support.capped_child", str(model), size, str(structures), str(share)],
        env=environment, capture_output=True, text=True, check=True, timeout=280,
    )  # fmt: skip
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.mark.row("G19")
@pytest.mark.nightly
@pytest.mark.parametrize(("size", "structures", "cap"), list(product(SIZES, STRUCTURES, SHARES)))
def test_caps(models: dict[int, Path], size: str, structures: int, cap: str) -> None:
    told = run_capped(models[structures], size, structures, SHARES[cap])
    if cap == "too little":
        assert "raise --max-ram to" in told["refused"]
        assert told["seconds"] < 10
        return
    assert told["peak"] <= told["room"] * 1.1 + 2**22
    if cap == "all in memory":  # within a fifth, beside the libraries' allowance, which small networks leave
        assert told["most"] >= 0.8 * told["peak"]
        assert told["most"] - LIBRARIES <= 1.2 * told["peak"]
    unlimited = run_capped(models[structures], size, structures, 1.0)
    assert told["labels"] == unlimited["labels"]


@pytest.mark.row("G19")
@pytest.mark.nightly
@pytest.mark.parametrize("structures", STRUCTURES)
@pytest.mark.parametrize(("most", "failures"), [(2, 0), (1, 0), (0, 0)])
def test_short_devices(models: dict[int, Path], structures: int, most: int, failures: int) -> None:
    """A device that holds two windows of four, one, or none."""
    segmenter = Segmenter.load(models[structures], device="cpu", precision="fp32")
    inference = InferenceConfig(batch_size=4, window_size=(48, 48, 48))
    scan = coded_scan((96, 80, 72), structures)
    engine = OutOfMemoryEngine(segmenter._engine, most, failures)
    short = Segmenter(segmenter.experiment, segmenter.fitted, engine, inference)
    if most:
        expected = segmenter.with_inference(inference)(scan).array
        np.testing.assert_array_equal(short(scan).array, expected)
        assert engine.refused
        return
    began = time.perf_counter()
    with pytest.raises(EnvironmentProblem) as refused:
        short(scan)
    assert refused.value.code == Code.MEMORY
    assert time.perf_counter() - began < 10

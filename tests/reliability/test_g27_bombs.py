"""G27: small files that ask for much are refused within 2 s and 300 MiB. Verdicts were written down first."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from medseg.errors import Code

TESTS = Path(__file__).resolve().parents[1]
SECONDS, MIB = 2.0, 300.0

VERDICTS = {
    "nii.gz of 1 MB declared, 10 GB inside": Code.SURPLUS_BYTES,
    "nii.gz of 10 GB declared and inside": Code.BOMB,
    "mha of 10 GB declared and inside": Code.BOMB,
    "nrrd of 10 GB declared and inside": Code.BOMB,
    "nii.gz of a thousand members": Code.SURPLUS_BYTES,
    "nii.gz with voxels behind 2 GB of nothing": Code.HEADER,
    "nii of 32767 voxels a side in 352 bytes": Code.TRUNCATED,
    "nii with a hole of 17 TB": Code.MEMORY,
    "nrrd without an end of its header": Code.HEADER,
    "mha without an end of its header": Code.TRUNCATED,
    "nhdr to /dev/zero": Code.UNSUPPORTED,
    "nhdr to /etc/passwd": Code.UNSUPPORTED,
    "nhdr that climbs": Code.UNSUPPORTED,
    "nhdr to a pipe": Code.NOT_REGULAR,
    "nhdr to a list": Code.UNSUPPORTED,
    "mhd to /dev/zero": Code.UNSUPPORTED,
    "mhd to /etc/passwd": Code.UNSUPPORTED,
    "mhd that climbs": Code.UNSUPPORTED,
    "mhd to a pipe": Code.NOT_REGULAR,
    "scan that is a pipe": Code.NOT_REGULAR,
    "scan that is /dev/zero": Code.NOT_REGULAR,
    "nhdr to a link to /dev/zero": Code.NOT_REGULAR,
    "yaml of a billion laughs": Code.CONFIG_SYNTAX,
    "yaml of 100 MB": Code.CONFIG_FILE,
    "yaml 100,000 deep": Code.CONFIG_SYNTAX,
    "yaml of 90,000 values": Code.CONFIG_SYNTAX,
    "yaml number in base 60": Code.CONFIG_SYNTAX,
    "configuration that is a pipe": Code.CONFIG_FILE,
    "configuration that is /dev/zero": Code.CONFIG_FILE,
    "dataset.json 100,000 deep": Code.COHORT_TABLE,
    "dataset.json of 2 GB": Code.COHORT_TABLE,
    "csv of 2 GB": Code.COHORT_TABLE,
    "csv that is /dev/zero": Code.COHORT_FORM,
    "csv that is a pipe": Code.COHORT_FORM,
    "model with a header of empty lists": Code.MODEL_FOREIGN,
    "model with a header 1,000,000 deep": Code.MODEL_FOREIGN,
    "model whose medseg header is 1,000,000 deep": Code.MODEL_FOREIGN,
    "model of a network of 10^11 weights": Code.MODEL_MISFIT,
    "model of a network of a million layers": Code.MODEL_MISFIT,
    "model that is a hole of 10 TB": Code.MODEL_FOREIGN,
    "model that is a pipe": Code.NO_MODEL_FILE,
    "model that is /dev/zero": Code.NO_MODEL_FILE,
}


@pytest.fixture(scope="module")
def defused(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What became of each bomb, all tried by one other process."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("how much memory a file took is told by Linux alone")
    done = subprocess.run(
        [sys.executable, "-m", "support.defuse", str(tmp_path_factory.mktemp("bombs"))],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        cwd=TESTS,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"after {[one['name'] for one in found][-1:]}: {done.stderr[-2000:]}"
    return {one["name"]: one for one in found}


@pytest.mark.row("G27")
@pytest.mark.parametrize("name", VERDICTS)
def test_bombs_are_refused_before_they_go_off(name: str, defused: dict[str, dict[str, Any]]) -> None:
    found = defused[name]
    assert found["code"] == VERDICTS[name]
    assert found["seconds"] < SECONDS
    assert found["mib"] < MIB


def test_each_bomb_has_its_verdict(defused: dict[str, dict[str, Any]]) -> None:
    assert defused.keys() == VERDICTS.keys()

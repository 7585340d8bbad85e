"""G17: training does not need /dev/shm, which containers make small: no bus error, the same weights.

A batch here is 3 MiB and every worker makes four ahead, so that 1 and 16 MiB would not hold them.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from medseg.config import parse_experiment
from medseg.training import RunFolder
from support import small_shm
from support.training_runs import differences, ending, tiny_experiment, write_config

MIB, WORKERS = (1, 16, 64), (0, 2, 4)


def isolated() -> list[str]:
    """The command that gives a process mounts of its own; skips where that is not allowed."""
    for flags in (["--mount"], ["--mount", "--map-root-user"]) if shutil.which("unshare") else ():
        command = ["unshare", *flags]
        probe = [*command, *small_shm.mount(1)]
        if subprocess.run(probe, capture_output=True, check=False).returncode == 0:
            return command
    pytest.skip("a small /dev/shm cannot be mounted here (unshare --mount is not allowed)")


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, write_tiny_cohort: Callable[..., Path]
) -> tuple[Path, dict[str, str]]:
    """The folder of all runs, and what was told of each."""
    command = isolated()
    place = tmp_path_factory.mktemp("shm")
    raw = tiny_experiment(
        write_tiny_cohort(place / "cohort"), stop={"epochs": 2}, steps_per_epoch=2, batch_size=6
    ).model_dump(mode="json")
    raw["sampling"], raw["augmentation"] = {"patch_size": [48, 48, 48]}, []
    raw["model"] = {"kind": "unet", "channels": [1, 2]}
    config = write_config(place / "shm.yaml", parse_experiment(raw, "shm"))
    sizes, workers = [str(n) for n in MIB], [str(n) for n in WORKERS]
    done = subprocess.run(
        [*command, sys.executable, small_shm.__file__, str(config), str(place), *sizes, "--", *workers],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert "bus error" not in done.stderr.lower()
    told = [line.split(" ", 2) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stderr
    return place, {f"{mib}-{workers}": what for mib, workers, what in told}


@pytest.mark.long
@pytest.mark.row("G17")
@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("mib", MIB)
def test_works_with_little_shared_memory(
    mib: int, workers: int, trained: tuple[Path, dict[str, str]]
) -> None:
    place, told = trained
    assert told[f"{mib}-{workers}"] == "done"
    runs = [ending(RunFolder(place / name)) for name in (f"{mib}-{workers}", f"{MIB[-1]}-0")]
    assert differences(*runs) == []

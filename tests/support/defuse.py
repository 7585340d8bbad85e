"""Try bombs, each under a clock and a look at the memory it took; a process of its own, for it may explode.

``python -m support.defuse FOLDER`` writes a line of JSON for each bomb: name, code, seconds, MiB. The
seconds are the processor's, so that other programs do not count; who waits is ended by the alarm.
"""

import json
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from medseg.config import DataConfig, load_experiment
from medseg.data import find_cases
from medseg.errors import MedsegError
from medseg.io import read_volume
from medseg.modelfile import load_model, load_network
from support.malicious_bombs import COHORTS, CONFIGS, MODELS, SCANS

_MAY_TAKE_BYTES = 6 << 30  # a bomb that goes off ends this process, not the machine
_MAY_TAKE_SECONDS = 20


def _find(path: Path) -> object:
    return find_cases(DataConfig(cohort=str(path), folds=2), ("organ",))


def _load(path: Path) -> object:
    return load_network(load_model(path))


KINDS: tuple[tuple[dict[str, Callable[[Path], Path]], Callable[[Path], object]], ...] = (
    (SCANS, read_volume),
    (CONFIGS, load_experiment),
    (COHORTS, _find),
    (MODELS, _load),
)


def _memory_mib(what: str) -> float:
    """``VmRSS``, or ``VmHWM``, the most there was since it was last forgotten."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) / 1024
    raise KeyError(what)


def _timed_out(_number: int, _frame: object) -> None:
    raise TimeoutError


def try_bomb(path: Path, use: Callable[[Path], object]) -> dict[str, Any]:
    Path("/proc/self/clear_refs").write_text("5")  # forget the most memory there was
    before, start = _memory_mib("VmRSS"), time.process_time()
    signal.alarm(_MAY_TAKE_SECONDS)
    try:
        use(path)
        code = "accepted"
    except MedsegError as error:
        code = error.code.value
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told
        code = type(error).__name__
    finally:
        signal.alarm(0)
    return {"code": code, "seconds": time.process_time() - start, "mib": _memory_mib("VmHWM") - before}


def main(folder: Path) -> None:
    signal.signal(signal.SIGALRM, _timed_out)
    resource.setrlimit(resource.RLIMIT_DATA, (_MAY_TAKE_BYTES, _MAY_TAKE_BYTES))
    for number, (bombs, use) in enumerate(KINDS):
        for place, (name, make) in enumerate(bombs.items()):
            home = folder / f"{number}-{place}"
            home.mkdir()
            sys.stdout.write(json.dumps({"name": name, **try_bomb(make(home), use)}) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

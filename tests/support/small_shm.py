"""Trains with several numbers of workers while /dev/shm is small; to be run in a mount namespace of its own.

    unshare --mount python small_shm.py CONFIG FOLDER MIB... -- WORKERS...

Standard output gets a line a training, ``MIB WORKERS done``, or what went wrong.
"""

import subprocess
import sys
from pathlib import Path

from medseg.config import load_experiment
from medseg.errors import MedsegError
from medseg.training import RunFolder
from medseg.training.train import train


def mount(mib: int) -> list[str]:
    return ["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", "/dev/shm"]  # noqa: S108


def main() -> None:
    config, folder, *numbers = sys.argv[1:]
    between = numbers.index("--")
    for mib in numbers[:between]:
        subprocess.run(mount(int(mib)), check=True)
        for workers in numbers[between + 1 :]:
            experiment = load_experiment(Path(config), [f"training.workers={workers}"])
            try:
                train(experiment, RunFolder(Path(folder) / f"{mib}-{workers}"))
                told = "done"
            except MedsegError as error:
                told = "; ".join(error.told)
            sys.stdout.write(f"{mib} {workers} {told}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()

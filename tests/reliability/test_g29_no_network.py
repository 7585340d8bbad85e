"""G29: with the network cut off everything works, and nothing tries to reach it.

The real command line trains, segments, evaluates and checks: in a network namespace of its own without any
interface, where the system allows that, and with every attempt to connect or to look up a name written down.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

HOOK = Path(__file__).resolve().parents[1] / "support" / "no_network"
CONFIG = {
    "name": "tiny",
    "labels": {"bright": 1, "dark": 2},
    "data": {"cohort": "cohort", "held_out": 1, "folds": 2},
    "preprocessing": {"spacing_mm": [2, 2, 3], "intensity": {"kind": "window", "center": 0, "width": 600}},
    "augmentation": [{"kind": "noise", "p": 0.3}],
    "sampling": {"patch_size": [16, 16, 8]},
    "model": {"kind": "unet", "channels": [4, 8]},
    "training": {"stop": {"epochs": 2}, "steps_per_epoch": 2, "workers": 0, "device": "cpu"},
}
ASK = "import socket; socket.create_connection(('192.0.2.1', 9), 0.1)"
"""192.0.2.1 is nobody's, by RFC 5737."""


def unshared() -> list[str]:
    """The command before a command that takes its network away; empty where that is not allowed."""
    command = ["unshare", "-n", "--"]
    if shutil.which("unshare") is None:
        return []
    return (
        command
        if subprocess.run([*command, "true"], check=False, capture_output=True).returncode == 0
        else []
    )


class Place:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.told = folder / "connections.txt"
        self.told.touch()
        self.cut = unshared()

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Python, without a network, and watched."""
        environment = {
            **os.environ,
            "PYTHONPATH": str(HOOK),
            "MEDSEG_CONNECTIONS": str(self.told),
            "MEDSEG_CACHE": str(self.folder / "cache"),
            "HOME": str(self.folder),
            "OMP_NUM_THREADS": "1",
        }
        return subprocess.run(
            [*self.cut, sys.executable, *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, write_tiny_cohort: Callable[..., Path]) -> Place:
    folder = tmp_path_factory.mktemp("offline")
    write_tiny_cohort(folder / "cohort")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(CONFIG))
    for name in ("references", "patients/p0", "patients/p1"):
        (folder / name).mkdir(parents=True)
    for patient in ("p0", "p1"):
        shutil.copy(folder / "cohort" / patient / "ct.nii.gz", folder / "patients" / patient)
        shutil.copy(folder / "cohort" / patient / "label.nii.gz", folder / "references" / f"{patient}.nii.gz")
    return Place(folder)


def test_the_watch_would_tell(place: Place) -> None:
    done = place.run("-c", ASK)
    assert done.returncode != 0
    assert "192.0.2.1" in place.told.read_text()
    place.told.write_text("")
    assert not place.cut or "unreachable" in done.stderr, "the network is really cut off"


@pytest.mark.long
@pytest.mark.row("G29")
def test_everything_works_without_a_network(place: Place, counts: Callable[[int], None]) -> None:
    verbs = (
        ("train", "tiny.yaml", "-o", "runs/tiny"),
        ("infer", "patients", "-o", "masks"),
        ("evaluate", "masks", "references", "-o", "scores"),
        ("check", "tiny.yaml"),
    )
    for verb in verbs:
        done = place.run("-m", "medseg", *verb)
        assert done.returncode == 0, f"{verb}: {done.stderr[-2000:]}"
    assert place.told.read_text() == "", "something looked for a network"
    for result in ("runs/tiny/report.html", "masks/p0_seg.nii.gz", "masks/summary.csv", "scores/report.html"):
        assert (place.folder / result).is_file(), result
    counts(len(verbs))


@pytest.mark.row("G29")
def test_pages_ask_for_nothing(place: Place) -> None:
    """A report that is opened loads nothing: no address in it, and its own policy forbids all."""
    page = (place.folder / "scores/report.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in page
    for word in ("http://", "https://", "//cdn", "@import", "url("):
        assert word not in page.replace("http://www.w3.org/2000/svg", ""), word

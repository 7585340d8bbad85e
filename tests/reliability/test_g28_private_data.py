"""Nothing of a DICOM header's private data, and no file name that repeats it, gets out.

150 tokens stand in the headers and in the names of the slice files. They are sought in all that a run leaves
and says: outputs, reports, logs at DEBUG, warnings, temporary files, messages, tracebacks, what objects show.
"""

import logging
import os
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medseg.errors import VolumeError
from medseg.io import find_series, read_volume, write_volume
from support.dicom_series import ABSENT, AXES, line, noise, write_series
from support.oracle import write_oracle
from support.phi import Phi, private_data
from support.warm_start import WarmStart

COUNT = 8
CRASH = """
import sys
from medseg.io import dicom
def crash(*_arguments): raise RuntimeError("a bug in the middle")
dicom.series_voxels = crash
from medseg.cli import main
main()
"""


@pytest.fixture(scope="module")
def phi() -> Phi:
    return private_data()


def write(folder: Path, phi: Phi, count: int = COUNT, skip: int = -1, **tags: Any) -> Path:
    names = phi.names(count)
    positions = [p for n, p in enumerate(line(count)) if n != skip]
    write_series(
        folder,
        positions,
        stored=noise(len(positions), 12, 12),
        name=names.__getitem__,
        also=phi.header,
        **tags,
    )
    return folder


def damaged(folder: Path, change: Callable[[bytes], bytes], every: int = 5) -> Path:
    for file in sorted(folder.iterdir())[::every]:
        file.write_bytes(change(file.read_bytes()))
    return folder


def failing(root: Path, phi: Phi) -> dict[str, Path]:
    """Folders to be refused, each in its own way."""
    word = phi.tokens[0]
    odd: list[Any] = [ABSENT if n == 3 else (0.8, 0.5) for n in range(COUNT)]
    tilt = [(1, 0, 0, 0, 0.9, 0.4359) if n == 3 else AXES["axial"] for n in range(COUNT)]
    made = {
        "missing": write(root / "missing", phi, skip=5),
        "doubled": write(root / "doubled", phi, ImagePositionPatient=(0, 0, 0)),
        "cut": damaged(write(root / "cut", phi), lambda content: content[:-100]),
        "header": damaged(write(root / "header", phi), lambda content: content[:700] + b"\xff" * 90),
        "headers": damaged(write(root / "headers", phi), lambda content: content[:700], every=1),
        "empty": damaged(write(root / "empty", phi), lambda _content: b""),
        "no_spacing": write(root / "no_spacing", phi, PixelSpacing=odd),
        "tilted": write(root / "tilted", phi, ImageOrientationPatient=tilt),
        "colours": write(root / "colours", phi, SamplesPerPixel=3, PhotometricInterpretation="RGB"),
        "patients": write(root / "patients", phi, PatientID=[f"{word}{n % 2}" for n in range(COUNT)]),
        "localizer": write(root / "localizer", phi, ImageType=("ORIGINAL", word.upper(), "LOCALIZER")),
        "words_for_modality": write(root / "words_for_modality", phi, Modality=word.upper(), skip=5),
        "slope": write(root / "slope", phi, RescaleSlope=0),
        "several": write(root / "several", phi, uid="1.2.3"),
    }
    write(root / "several" / "more", phi, uid="1.2.4")
    for name, tag in (("number", b"IS4 "), ("spacing", b"DS0.8\\0.5 ")):  # words where numbers belong
        made[name] = damaged(
            write(root / name, phi),
            lambda content, tag=tag: content.replace(
                tag[:2] + bytes([len(tag) - 2, 0]) + tag[2:],
                tag[:2] + bytes([len(word) + len(word) % 2, 0]) + word.encode() + b" " * (len(word) % 2),
            ),
            every=1,
        )
    return made


@pytest.mark.row("G28")
def test_reading_tells_nothing(
    phi: Phi, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], counts: Any
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("pydicom", "medseg"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    said: list[str] = []
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        folders = failing(tmp_path / "in", phi)
        caplog.clear()
        warned.clear()
        good = write(tmp_path / "in" / "good", phi)
        write_volume(read_volume(good), tmp_path / "out" / "good.nii.gz")
        for name, folder in folders.items():
            if name != "number":  # nobody needs a series number to be one
                with pytest.raises(VolumeError) as caught:
                    read_volume(folder)
                said += [repr(caught.value), *caught.value.told, *traceback.format_exception(caught.value)]
            said += [repr(one) + str(one) for one in find_series(folder)]
        said.append(repr(find_series(good)))
    said += [record.getMessage() for record in caplog.records] + [str(one.message) for one in warned]
    found = phi.found_in(*said, *capfd.readouterr()) | phi.found_below([tmp_path / "out"])
    assert not found, [text[:600] for text in said if phi.found_in(text)][:3]
    counts(len(phi.tokens))


@pytest.mark.row("G28")
def test_the_command_line_tells_nothing(phi: Phi, tmp_path: Path, warm: WarmStart, counts: Any) -> None:
    """Some patients fail, the only one fails, and the program itself does."""
    model = write_oracle(tmp_path / "model.safetensors", patch_size=(8, 8, 8))
    write(tmp_path / "cohort" / "p0", phi, skip=5)
    damaged(write(tmp_path / "cohort" / "p1", phi), lambda content: content[:700] + b"\xff" * 90)
    write(tmp_path / "cohort" / "p8", phi)
    write(tmp_path / "cohort" / "p9" / "study" / "ct", phi)
    for folder in ("tmp", "cache", "out"):
        (tmp_path / folder).mkdir()
    own = {"TMPDIR": str(tmp_path / "tmp"), "MEDSEG_CACHE": str(tmp_path / "cache")}

    def command(scan: str, out: str) -> list[str]:
        options = ["--model", str(model), "--device", "cpu", "-o", str(tmp_path / "out" / out)]
        return ["-v", "infer", str(tmp_path / "cohort" / scan), *options]

    crashing = subprocess.run(
        [sys.executable, "-c", CRASH, *command("p8", "c.nii.gz")],
        capture_output=True, env=os.environ | own, cwd=tmp_path / "tmp", check=False, text=True,
    )  # fmt: skip
    runs = [
        (3, warm.run(*command("", ""), cwd=tmp_path / "tmp", **own)),
        (2, warm.run(*command("p1", "one.nii.gz"), cwd=tmp_path / "tmp", **own)),
        (1, crashing),
    ]
    for code, done in runs:
        assert done.returncode == code, done.stderr
        assert not phi.found_in(done.stdout, done.stderr), done.stderr
    assert {path.name for path in (tmp_path / "out").glob("*.nii.gz")} >= {"p8_seg.nii.gz"}
    assert not phi.found_below(tmp_path / folder for folder in ("tmp", "cache", "out"))
    counts(len(phi.tokens))


def test_all_tokens_are_in_the_headers_and_in_the_names(phi: Phi, tmp_path: Path) -> None:
    """Or the tests above would seek what is not there."""
    folder = write(tmp_path / "scan", phi)
    assert len(set(phi.tokens)) == 150
    assert phi.found_in(*(path.read_bytes() for path in folder.iterdir())) == set(phi.tokens)
    assert phi.found_in(*(path.name for path in folder.iterdir())) == set(phi.tokens)

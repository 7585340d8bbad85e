"""G20: whatever patients and folders are called, it works or is named; the input stays as it is."""

import hashlib
import json
import os
import re
import shutil
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medseg.cli import main
from support.batches import scan_of, write_patient
from support.oracle import CODE_STEP, write_oracle

pytestmark = [
    pytest.mark.long,
    pytest.mark.row("G20"),
    pytest.mark.usefixtures("annotations_at_rest"),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_oracle(tmp_path_factory.mktemp("model") / "oracle.safetensors")


Infer = Callable[..., int]


@pytest.fixture
def infer(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Infer:
    """Runs ``medseg infer`` in the folder of the test; no traceback, and one line an error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object, out: object = "masks", told: str = "") -> int:
        command = ["medseg", "infer", *map(str, arguments), "--model", str(model), "-o", str(out)]
        monkeypatch.setattr(sys, "argv", [*command, "--workers", "0"])
        with pytest.raises(SystemExit) as end:
            main()
        printed = capsys.readouterr().err
        assert "Traceback" not in printed
        assert told in printed
        return int(end.value.code or 0)

    return run


def state_of(tree: Path) -> str:
    """Everything that a user could miss: names, contents, targets of links, modes, times of change."""
    digest = hashlib.sha256()
    for path in sorted([tree, *tree.rglob("*")], key=os.fsencode):
        found = path.lstat()
        told = f"{os.fsencode(path)!r} {found.st_mode} {found.st_mtime_ns} {found.st_size} {found.st_ino}"
        digest.update(told.encode())
        if path.is_symlink():
            digest.update(os.fsencode(path.readlink()))
        elif path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()


def masks(out: Path) -> list[str]:
    return sorted(path.name.removesuffix("_seg.nii.gz") for path in out.glob("*_seg.nii.gz"))


def failures(out: Path) -> dict[str, str]:
    path = out / "failures.json"
    return {told["patient"]: told["code"] for told in json.loads(path.read_text())} if path.exists() else {}


def require_mask(path: Path, seed: int) -> None:
    voxels = np.asarray(nib.load(path).dataobj)
    assert np.array_equal(voxels, np.asarray(scan_of(seed).dataobj) // CODE_STEP)


NAMES = {
    "composed": unicodedata.normalize("NFC", "Müller Żółć"),
    "decomposed": unicodedata.normalize("NFD", "Müller Żółć"),
    "spaces": "Patient No 7",
    "outer spaces": "  p7  ",
    "line break": "p7\np8",
    "tab and bell": "p7\t\a",
    "dash first": "-rf",
    "two dashes first": "--model",
    "quotes": 'it\'s "p7" `p8`',
    "percent": "%s%n%(x)s{0}",
    "long": "p" * 200,
    "longest": "q" * 255,
    "dots": "p..7..",
    "a suffix of volumes": "p7.nii.gz",
    "right to left": "\u202eנבדק 7\u202c",
    "emoji": "🫀 👩‍⚕️",
    "shell": "$(touch pwned); rm -rf * & | > x",
    "windows": "p\\7:8*9?",
    "a device of windows": "con",
    "markup": "[bold]p7[/bold]",
    "formula": "=cmd|' /C calc'!A0",
    "no width": "p\u200b7\ufeff",
    "not utf-8": os.fsdecode(b"p\xff\xfe7"),
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_name_works(name: str, tmp_path: Path, infer: Infer) -> None:
    """The mask has a name that is safe on every system, and no other file appears anywhere."""
    patients = tmp_path / "patients"
    write_patient(patients / name, 3)
    write_patient(patients / "plain", 4)
    before = state_of(patients)
    assert infer("patients") == 0
    assert state_of(patients) == before
    (found,) = [patient for patient in masks(tmp_path / "masks") if patient != "plain"]
    assert not re.search(r'[\x00-\x1f/\\:*?"<>|]', found)
    assert found == found.strip(" .")
    assert len(found.encode()) <= 170
    require_mask(tmp_path / "masks" / f"{found}_seg.nii.gz", 3)
    assert infer("patients", told="nothing to compute") == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["masks", "patients"]


@pytest.mark.parametrize("pair", [("P7", "p7"), (NAMES["composed"], NAMES["decomposed"])])
def test_two_names_that_are_one_elsewhere(pair: tuple[str, str], tmp_path: Path, infer: Infer) -> None:
    for seed, name in enumerate(pair):
        write_patient(tmp_path / "patients" / name, seed)
    before = state_of(tmp_path / "patients")
    assert infer("patients") == 3
    assert len(masks(tmp_path / "masks")) == 1
    assert list(failures(tmp_path / "masks").values()) == ["E104"]
    assert state_of(tmp_path / "patients") == before


def _file_link(patients: Path) -> None:
    (patients / "linked").mkdir()
    (patients / "linked" / "ct.nii.gz").symlink_to("../../elsewhere/ct.nii.gz")


def _folder_link(patients: Path) -> None:
    (patients / "linked").symlink_to("../elsewhere")


def _dangling(patients: Path) -> None:
    (patients / "linked").mkdir()
    (patients / "linked" / "ct.nii.gz").symlink_to("gone.nii.gz")


def _links_to_itself(patients: Path) -> None:
    (patients / "linked").mkdir()
    (patients / "linked" / "ct.nii.gz").symlink_to("ct.nii.gz")


def _circle(patients: Path) -> None:
    (patients / "plain" / "again").symlink_to("..")


def _device(patients: Path) -> None:
    (patients / "linked").mkdir()
    (patients / "linked" / "ct.nii.gz").symlink_to("/dev/zero")


LINKS: dict[str, tuple[Callable[[Path], None], dict[str, str], list[str]]] = {
    "to a file": (_file_link, {}, ["linked", "plain"]),
    "to a folder": (_folder_link, {}, ["linked", "plain"]),
    "to nothing": (_dangling, {"linked": "E401"}, ["plain"]),
    "to itself": (_links_to_itself, {"linked": "E404"}, ["plain"]),
    "in a circle": (_circle, {}, ["plain"]),
    "to a device": (_device, {"linked": "E402"}, ["plain"]),
}


@pytest.mark.parametrize("kind", LINKS)
def test_links(kind: str, tmp_path: Path, infer: Infer) -> None:
    make, failed, done = LINKS[kind]
    write_patient(tmp_path / "elsewhere", 5)
    write_patient(tmp_path / "patients" / "plain", 4)
    make(tmp_path / "patients")
    before = state_of(tmp_path / "patients"), state_of(tmp_path / "elsewhere")
    assert infer("patients") == (3 if failed else 0)
    assert masks(tmp_path / "masks") == done
    assert failures(tmp_path / "masks") == failed
    assert (state_of(tmp_path / "patients"), state_of(tmp_path / "elsewhere")) == before


@pytest.fixture
def patients(tmp_path: Path) -> Path:
    for seed, name in enumerate(("a", "b")):
        write_patient(tmp_path / "patients" / name, seed)
    return tmp_path / "patients"


@pytest.mark.parametrize("spelling", ["patients/", "./x/../patients", "{absolute}"])
def test_spellings_of_the_input(spelling: str, patients: Path, tmp_path: Path, infer: Infer) -> None:
    (tmp_path / "x").mkdir()
    before = state_of(patients)
    assert infer(spelling.format(absolute=patients)) == 0
    assert masks(tmp_path / "masks") == ["a", "b"]
    assert infer("patients", told="nothing to compute") == 0, "another spelling of the same"
    assert state_of(patients) == before


def test_a_read_only_input(patients: Path, tmp_path: Path, infer: Infer) -> None:
    folders = [patients, *patients.iterdir()]
    for folder in folders:
        folder.chmod(0o555)
    before = state_of(patients)
    assert infer("patients") == 0
    assert state_of(patients) == before
    for folder in folders:
        folder.chmod(0o755)


def test_output_inside_the_input(patients: Path, tmp_path: Path, infer: Infer) -> None:
    """Where the user wants it; its masks are never taken for scans."""
    before = {name: state_of(patients / name) for name in "ab"}
    assert infer("patients", out="patients/masks") == 0
    assert infer("patients", out="patients/masks", told="nothing to compute") == 0
    assert masks(patients / "masks") == ["a", "b"]
    assert {name: state_of(patients / name) for name in "ab"} == before


@pytest.mark.parametrize("out", ["patients/a", "flat"])
def test_output_among_the_scans(out: str, patients: Path, tmp_path: Path, infer: Infer) -> None:
    (tmp_path / "flat").mkdir()
    for seed in range(2):
        shutil.copy(patients / "ab"[seed] / "ct.nii.gz", tmp_path / "flat" / f"s{seed}.nii.gz")
    before = state_of(tmp_path)
    assert infer("flat" if out == "flat" else "patients", out=out, told="error E107: ") == 2
    assert state_of(tmp_path) == before


@pytest.mark.parametrize("out", ["/proc/medseg/masks", "n" * 300])
def test_output_that_cannot_be(out: str, patients: Path, tmp_path: Path, infer: Infer) -> None:
    before = state_of(tmp_path)
    assert infer("patients", out=out, told="error E702: ") == 4
    assert state_of(tmp_path) == before

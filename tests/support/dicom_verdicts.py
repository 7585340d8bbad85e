"""Verdicts on DICOM folders, and the small changes that make a good series a bad one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medseg.errors import Code, VolumeError
from support.dicom_series import line, write_series


@dataclass(frozen=True)
class Verdict:
    code: Code
    build: Callable[[Path], object]
    told: Sequence[str] = ()


def series(positions: Sequence[Any], **tags: Any) -> Callable[[Path], object]:
    return lambda folder: write_series(folder, positions, name=slice_name, **tags)


def but(usual: Any, odd: Any, at: int = 2, count: int = 5) -> list[Any]:
    return [odd if n == at else usual for n in range(count)]


def slice_name(n: int) -> str:
    return f"IM{n:02d}.dcm"


def several(*parts: Callable[[Path], object]) -> Callable[[Path], object]:
    def build(folder: Path) -> None:
        for n, part in enumerate(parts):
            part(folder / f"s{n}")

    return build


def changed(n: int, change: Callable[[bytes], bytes], **options: Any) -> Callable[[Path], object]:
    def build(folder: Path) -> None:
        write_series(folder, line(5), name=slice_name, **options)
        file = folder / slice_name(n)
        file.write_bytes(change(file.read_bytes()))

    return build


def everywhere(change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    def build(folder: Path) -> None:
        write_series(folder, line(5), name=slice_name)
        for file in folder.iterdir():
            file.write_bytes(change(file.read_bytes()))

    return build


def require(error: VolumeError, verdict: Verdict) -> None:
    assert error.code == verdict.code, error.told
    assert str(error).startswith("scan: ") and ";" in str(error) and "\n" not in str(error)
    assert "Secret" not in str(error) and "SECRET" not in str(error)
    for words in verdict.told:
        expected = words if "{" not in words else words.replace("{", "IM0").replace("}", ".dcm")
        assert expected in str(error), str(error)

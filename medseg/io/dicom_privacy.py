"""Which names of DICOM files may be told: those that repeat nothing of what their header says in words.

Nothing of a header is kept for this. It is read again when a message is to name a file, and let go.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydicom.dataset import Dataset

from medseg.io.dicom_file import DICOM_ERRORS, dicom_mark, quiet_pydicom, read_header_dataset

_NUMBERS_AND_BYTES = frozenset(
    (
        "AS",
        "AT",
        "DS",
        "FD",
        "FL",
        "IS",
        "OB",
        "OD",
        "OF",
        "OL",
        "OV",
        "OW",
        "SL",
        "SS",
        "SV",
        "UL",
        "US",
        "UV",
    )
)  # value representations that hold no words
_LONGEST_TEXT = 4096
_SCANNERS_WORDS = frozenset(
    {
        "ct",
        "mr",
        "pt",
        "pet",
        "im",
        "img",
        "image",
        "slice",
        "frame",
        "file",
        "series",
        "se",
        "i",
        "z",
        "scan",
        "seg",
    }
)
_UID = re.compile(r"\d+(\.\d+){5,}")
_PIECE = re.compile(r"[^\W\d_]+|\d+")
_NEIGHBOURS = 5
_DISTINCT_DIGITS = 6


def shown(files: Iterable[Path], root: Path) -> list[str]:
    """Each file as a message may name it: path below ``root``, name, or place, as ``<file 12 of 40>``.

    The place counts all files below ``root`` in the order of their paths.
    """
    read: dict[Path, _Words] = {}
    return [_shown(file, root, _words_near(file, read)) for file in files]


def listed_files(files: Iterable[Path], root: Path, most: int = 5) -> str:
    """``1-07.dcm, <file 8 of 40> and 12 more``"""
    everything = list(dict.fromkeys(files))
    names = ", ".join(shown(everything[:most], root))
    return f"{names} and {len(everything) - most} more" if len(everything) > most else names


@dataclass(frozen=True)
class _Words:
    """What headers say; not ``whole`` when the file's own could not be read to its pixels."""

    found: frozenset[str] = field(repr=False)
    whole: bool


def _words_near(file: Path, read: dict[Path, _Words]) -> _Words:
    """Those of ``file`` and of its neighbours, as its own may be damaged in the very place of a name."""
    near = [file, *sorted(file.parent.iterdir())[:_NEIGHBOURS]]
    for path in near:
        if path not in read:
            read[path] = _words_of(path)
    return _Words(frozenset().union(*(read[path].found for path in near)), read[file].whole)


def _shown(file: Path, root: Path, words: _Words) -> str:
    below = file.relative_to(root) if file != root and file.is_relative_to(root) else Path(file.name)
    for name in (below, Path(file.name)):
        if not _tells_of_the_patient(str(name.with_suffix("")), words):
            return "".join(c if c.isprintable() else "_" for c in str(name))
    everything = sorted(path for path in root.rglob("*") if path.is_file())
    return f"<file {everything.index(file) + 1} of {len(everything)}>"


def _tells_of_the_patient(name: str, words: _Words) -> bool:
    name = _UID.sub(" ", _plain(name))
    pieces = _PIECE.findall(name)
    if not words.whole and not (words.found and all(_is_a_machines(piece) for piece in pieces)):
        return True  # what cannot be read may name anyone
    letters = "".join(piece for piece in pieces if not piece.isdecimal())
    digits = "".join(piece for piece in pieces if piece.isdecimal())
    return any(
        word in pieces or (_distinct(word) and (word in letters or word in digits)) for word in words.found
    )


def _distinct(word: str) -> bool:
    """Whether ``word`` is long enough not to be found inside others by chance."""
    if word.isdecimal():
        return len(word) >= _DISTINCT_DIGITS
    return len(word) >= (3 if word.isascii() else 2)


def _is_a_machines(piece: str) -> bool:
    """Whether scanners and archives write such pieces into names: short numbers, ``IM``, ``slice``."""
    return len(piece) < _DISTINCT_DIGITS if piece.isdecimal() else piece in _SCANNERS_WORDS


def _words_of(file: Path) -> _Words:
    """Words and numbers of the text in the header of ``file``, as far as it can be read."""
    try:
        if dicom_mark(file) != "part 10":
            return _Words(frozenset(), False)
        with quiet_pydicom():
            header = read_header_dataset(file)
            return _Words(frozenset(_pieces(header.dataset)), header.whole)
    except DICOM_ERRORS:
        return _Words(frozenset(), False)


def _pieces(dataset: Dataset) -> Iterator[str]:
    for tag in sorted(dataset.keys()):
        representation, text = _text(dataset, tag)
        if representation == "SQ":
            for item in dataset[tag].value:
                yield from _pieces(item)
        elif representation != "UI":
            shortest = 2 if representation == "PN" else 3
            pieces = _PIECE.findall(_plain(text))
            told = set() if representation == "PN" else _SCANNERS_WORDS
            yield from (
                piece
                for piece in pieces
                if (len(piece) >= shortest or not piece.isascii()) and piece not in told
            )


def _text(dataset: Dataset, tag: int) -> tuple[str, str]:
    """The value representation of an element and its value as text, ``""`` for numbers and long bytes."""
    raw = dataset.get_item(tag)
    try:
        element = dataset[tag]
        representation, value = str(element.VR), element.value
    except DICOM_ERRORS:  # a value against the standard is text all the same
        representation, value = "LT", getattr(raw, "value", b"")
    if representation in _NUMBERS_AND_BYTES or tag == 0x00080008:  # Image Type
        return representation, ""
    if isinstance(value, bytes):
        value = value[:_LONGEST_TEXT].decode("utf-8", errors="replace")
    return representation, str(value)[:_LONGEST_TEXT]


def _plain(text: str) -> str:
    """Lower case, accents taken off: ``Müller`` is found in ``MULLER_01.dcm``."""
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(c for c in decomposed if not unicodedata.combining(c)).casefold()

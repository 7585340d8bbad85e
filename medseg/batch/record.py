"""What is known of each patient of an output folder, kept twice so that no kill and no damage loses it.

``.medseg/journal.jsonl`` gets a line a finished patient, on the disk before the batch goes on, with a
checksum of its own: a line that is torn or damaged is left out. ``manifest.json`` holds the same when a batch
ends, sorted, without anything that tells of time, so that equal results are equal files.
"""

import hashlib
import json
import os
import threading
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

import medseg
from medseg.files import cannot_write, write_json_atomically, write_text_atomically

FORMAT = 1
_FINITE = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class MaskFile(BaseModel):
    model_config = _FINITE

    name: str
    sha256: str
    bytes: int


class Entry(BaseModel):
    """A patient's mask and what it was made of, or why there is none."""

    model_config = _FINITE

    status: Literal["done", "failed"]
    model: str = ""
    """SHA-256 of the model file."""
    settings: str = ""
    """SHA-256 of what else decides the result."""
    inputs: list[str] = []
    """SHA-256 of each image."""
    mask: MaskFile | None = None
    volumes_ml: dict[str, float] = {}
    expected_dice: dict[str, float] = {}
    """What the network's probabilities promise, of a model that was calibrated."""
    code: str = ""
    problems: list[str] = []


class Record:
    """The entries of a folder. Methods may be called from any thread."""

    def __init__(self, folder: Path) -> None:
        self._manifest = folder / "manifest.json"
        self._journal = folder / ".medseg" / "journal.jsonl"
        self._lock = threading.Lock()
        self.entries: dict[str, Entry] = {}
        self.seen: dict[str, str] = {}
        """Patient to the digest of sizes and times that its files had."""
        self.damaged = False
        self._read_manifest()
        self._whole = self._read_journal()

    def add(self, patient: str, entry: Entry, seen: str = "") -> None:
        """Remember ``entry``; it is on the disk when this returns.

        Raises:
            EnvironmentProblem: it could not be written.
        """
        with self._lock:
            self.entries[patient] = entry
            self.seen[patient] = seen
            start = "" if self._whole else "\n"  # after a torn line
            try:
                with self._journal.open("ab") as file:
                    self._whole = False
                    file.write((start + _line(patient, entry, seen)).encode())
                    file.flush()
                    os.fsync(file.fileno())
                    self._whole = True
            except OSError as error:
                raise cannot_write(self._journal, error) from None

    def merge(self, patients: Collection[str], model: str, settings: Mapping[str, Any]) -> None:
        """Write the manifest, and the journal with one line a patient.

        Masks of patients that are not among ``patients`` stay known, apart.
        """
        with self._lock:
            told = {name: entry.model_dump(mode="json") for name, entry in sorted(self.entries.items())}
            others = {name: told[name] for name in told if name not in patients}
            done = {name: entry for name, entry in others.items() if entry["status"] == "done"}
            content: dict[str, Any] = {
                "format": FORMAT,
                "medseg": medseg.__version__,
                "model": model,
                "settings": dict(settings),
                "patients": {name: told[name] for name in told if name in patients},
            }
            if done:
                content["others"] = done
            manifest = {**content, "sha256": _digest(content)}
            if self._manifest_content() != manifest:
                write_json_atomically(self._manifest, manifest)
            kept = [name for name in told if name in patients or name in done]
            lines = (_line(name, self.entries[name], self.seen.get(name, "")) for name in kept)
            write_text_atomically(self._journal, "".join(lines))
            self._whole = True

    def _manifest_content(self) -> Any:
        try:
            return json.loads(self._manifest.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return None

    def _read_manifest(self) -> None:
        found = self._manifest_content()
        content = dict(found) if isinstance(found, dict) else {}
        stated = content.pop("sha256", None)
        if not content or content.get("format") != FORMAT or stated != _digest(content):
            self.damaged = self._manifest.exists()
            return
        for part in (content.get("patients"), content.get("others")):
            for name, entry in part.items() if isinstance(part, dict) else ():
                self._take(name, entry, "")

    def _read_journal(self) -> bool:
        """Take each whole line, the last of a patient counts. Whether the file ends with a whole line."""
        try:
            data = self._journal.read_bytes()
        except FileNotFoundError:
            return True
        except OSError as error:
            raise cannot_write(self._journal, error) from None
        for line in data.splitlines():
            if not line:
                continue
            try:
                told = json.loads(line)
                check = told.pop("check")
                if check != _digest(told):
                    raise ValueError("damaged")
                self._take(told["patient"], told["entry"], str(told["seen"]))
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                self.damaged = True
        return data.endswith(b"\n") or not data

    def _take(self, name: str, entry: Any, seen: str) -> None:
        try:
            self.entries[name] = Entry.model_validate(entry)
            self.seen[name] = seen
        except ValidationError:
            self.damaged = True


def _line(patient: str, entry: Entry, seen: str) -> str:
    told = {"patient": patient, "entry": entry.model_dump(mode="json"), "seen": seen}
    return _json({**told, "check": _digest(told)}) + "\n"


def _digest(value: Any) -> str:
    return hashlib.sha256(_json(value).encode()).hexdigest()


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)

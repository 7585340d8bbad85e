"""What tells of one run and of time, apart from the results: ``.medseg/log.jsonl`` and ``.medseg/dumps/``."""

import json
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from medseg.data.naming import safe_id


class RunLog:
    """Lines for people who look into what happened; losing some loses no result. Any thread may call."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()

    def add(self, event: str, **told: Any) -> None:
        now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        line = json.dumps({"when": now, "event": event, **told}) + "\n"
        with self._lock, suppress(OSError), (self._folder / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(line)

    def dump_file(self, patient: str) -> Path:
        """Where a stack of ``patient`` is kept."""
        return self._folder / "dumps" / f"{safe_id(patient)}.txt"

    def dump(self, patient: str, stack: str) -> Path:
        """Keep ``stack``, where something hung or failed; returns the file."""
        path = self.dump_file(patient)
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(stack, encoding="utf-8")
        return path

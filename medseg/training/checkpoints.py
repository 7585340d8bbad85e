"""The checkpoints of a run: the last two, so that a damaged one costs an interval and not the training."""

import logging
import time
from contextlib import suppress
from pathlib import Path

from medseg.errors import Code, ModelFileError
from medseg.files import write_bytes_atomically
from medseg.training.state import Learner, Progress, pack, unpack

log = logging.getLogger(__name__)

KEPT = 2
_SUFFIX = ".safetensors"


class Checkpoints:
    """``checkpoints/step-00000120.safetensors`` and the one before it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._written = time.monotonic()

    def files(self) -> list[Path]:
        """Newest first."""
        return sorted(self.folder.glob(f"step-*{_SUFFIX}"), reverse=True)

    def due(self, minutes: float) -> bool:
        """Whether the last one was written (or the run opened) longer ago than that."""
        return time.monotonic() - self._written >= 60 * minutes

    def write(self, learner: Learner, progress: Progress, fingerprint: str) -> None:
        """Write one atomically; older ones go when it is on the disk, and later ones, which it has overtaken.

        Raises:
            EnvironmentProblem: the disk is full, or the folder cannot be written.
        """
        path = self.folder / f"step-{progress.step:08d}{_SUFFIX}"
        write_bytes_atomically(path, pack(learner, progress, fingerprint))
        self._written = time.monotonic()
        earlier = [other for other in self.files() if other.name <= path.name]
        for old in {*self.files()} - {*earlier[:KEPT]}:
            with suppress(OSError):
                old.unlink()

    def restore(self, learner: Learner, fingerprint: str) -> Progress | None:
        """Put the newest whole checkpoint into ``learner``; None when there is none at all.

        Raises:
            ModelFileError: all are damaged, or one is of another version, configuration or data.
        """
        problems: list[str] = []
        for path in self.files():
            try:
                progress = unpack(path, learner, fingerprint)
            except ModelFileError as error:
                if error.code != Code.CHECKPOINT_DAMAGED:
                    raise
                problems += error.problems
                continue
            for problem in problems:
                log.warning("%s: going on from %s, the one before", problem, path.name)
            return progress
        ModelFileError.raise_if(
            Code.CHECKPOINT_DAMAGED, (f"{problem}: train into a new folder" for problem in problems)
        )
        return None

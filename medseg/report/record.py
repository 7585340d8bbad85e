"""What evaluation.json tells: which files were scored, known by their content, by what rules, and where."""

from collections.abc import Mapping
from contextlib import suppress
from hashlib import file_digest
from pathlib import Path
from typing import Any

from medseg.config.data import Reading
from medseg.config.inference import EvaluationConfig
from medseg.data.regrid import PlacedLabel
from medseg.training.environment import environment


class EvaluationRecord:
    """Filled while cases are scored; ``to_json`` gives the same keys for folders and for a cohort."""

    def __init__(
        self,
        command: str,
        places: Mapping[str, object],
        *,
        labels: Mapping[str, int],
        missing: str,
        config: EvaluationConfig,
        reading: Reading,
    ) -> None:
        """``places``: where masks and references came from, as it was told."""
        self._told = {
            **places,
            "labels": dict(labels),
            "missing": missing,
            "metrics": config.model_dump(mode="json"),
            "reading": reading.model_dump(mode="json"),
        }
        self._command = command
        self._grids: dict[str, str] = {}
        self._hashes: dict[str, dict[str, str]] = {"predictions": {}, "references": {}}

    def add(self, case: str, prediction: Path | None, reference: Path | None) -> None:
        """The files of a case; one that cannot be read has no hash, and its case failed."""
        for kind, path in (("predictions", prediction), ("references", reference)):
            if path is not None:
                with suppress(OSError), path.open("rb") as file:
                    self._hashes[kind][case] = file_digest(file, "sha256").hexdigest()

    def placed(self, case: str, label: PlacedLabel) -> None:
        """How far from the reference's grid a prediction was, where that is worth telling."""
        if label.noteworthy:
            self._grids[case] = str(label)

    def to_json(self) -> dict[str, Any]:
        return {
            "command": self._command,
            **environment(),
            **self._told,
            "predictions_off_the_grid": self._grids,
            "sha256": self._hashes,
        }

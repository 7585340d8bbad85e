"""Every error medseg raises on purpose, drawn as a tree.

    MedsegError                  2  the user can mend it: one line, no traceback
    ├── UsageError               2  the command line or the call is off
    ├── ConfigError              2  a configuration that cannot be used
    ├── CohortError              2  patients, images or labels that are missing or do not fit
    ├── VolumeError              2  a file that is not a volume medseg can trust
    │   └── GridMismatchError    2  two volumes that should share a grid and do not
    ├── ModelFileError           2  a model file that is damaged or does not fit
    ├── TrainingError            2  training cannot go on (non-finite loss, nothing to learn)
    └── EnvironmentProblem       4  disk, memory, device or lock prevented it

The number is the exit code of the command line.
"""

from collections.abc import Iterable
from typing import ClassVar


class MedsegError(Exception):
    """Base of all errors that have a place and a fix.

    ``problems`` holds one line each: subject, what was found, what was expected, and the fix. Problems that
    can be many are collected and told together.
    """

    code: ClassVar[str] = "E000"
    exit_code: ClassVar[int] = 2

    def __init__(self, *problems: str) -> None:
        super().__init__(*problems)
        self.problems = tuple(" ".join(problem.split()) for problem in problems)

    def __str__(self) -> str:
        return "\n".join(self.problems)

    @classmethod
    def raise_if(cls, problems: Iterable[str]) -> None:
        """Raise one error that tells all ``problems``; do nothing when there are none."""
        found = tuple(problems)
        if found:
            raise cls(*found)

    def about(self, subject: str) -> "MedsegError":
        """The same error with ``subject`` (a case, a file) named first on each line."""
        return type(self)(*(f"{subject}: {problem}" for problem in self.problems))


class UsageError(MedsegError):
    code = "E100"


class ConfigError(MedsegError):
    code = "E200"


class CohortError(MedsegError):
    code = "E300"


class VolumeError(MedsegError):
    code = "E400"


class GridMismatchError(VolumeError):
    code = "E410"


class ModelFileError(MedsegError):
    code = "E500"


class TrainingError(MedsegError):
    code = "E600"


class EnvironmentProblem(MedsegError):  # noqa: N818 - the field calls a full disk a problem
    code = "E700"
    exit_code = 4

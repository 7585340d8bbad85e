"""Every error medseg raises on purpose, drawn as a tree.

    MedsegError                  2  the user can mend it: one line, no traceback
    ├── UsageError               2  the command line or the call is off
    ├── ConfigError              2  a configuration that cannot be used
    ├── CohortError              2  patients, images or labels that are missing or do not fit
    ├── VolumeError              2  a file that is not a volume medseg can trust
    │   └── GridMismatchError    2  two volumes that should share a grid and do not
    ├── ModelFileError           2  a model file that is damaged or does not fit
    ├── TrainingError            2  training cannot go on (non-finite loss, nothing to learn)
    ├── PatientError             2  one patient's work was given up (time, memory, a killed process)
    └── EnvironmentProblem       4  disk, memory, device or lock prevented it

The number is the exit code of the command line. What exactly went wrong has a stable code (``Code``), and
every code an entry in ``docs/errors.md``.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import ClassVar


class Code(StrEnum):
    """What went wrong. Codes are never given another meaning, and never reused."""

    OPTION = "E101"
    INPUT_NOT_FOUND = "E102"
    NO_MODEL = "E103"
    SAME_NAME = "E104"
    RUN_FOLDER = "E105"
    CALL = "E106"
    OUTPUT_FOLDER = "E107"

    CONFIG_FILE = "E201"
    CONFIG_SYNTAX = "E202"
    CONFIG_VALUE = "E203"
    CONFIG_OVERRIDE = "E204"
    CONFIG_NETWORK = "E205"

    COHORT_NOT_FOUND = "E301"
    COHORT_FORM = "E302"
    COHORT_TABLE = "E303"
    COHORT_CASES = "E304"
    NO_SCAN = "E305"
    CHANNELS = "E306"
    NO_LABEL = "E307"
    TOO_FEW_CASES = "E308"
    NOTHING_TO_LEARN = "E309"
    CANNOT_FIT = "E310"
    PAIRING = "E311"
    SCORES_TABLE = "E312"
    CACHE_VANISHED = "E313"
    CASE_ID = "E314"
    TOO_MANY_CLASSES = "E315"
    MIXED_LABELS = "E316"
    NOT_COMPARABLE = "E317"
    SHARD = "E320"

    NO_FILE = "E401"
    NOT_REGULAR = "E402"
    EMPTY_FILE = "E403"
    CANNOT_OPEN = "E404"
    NOT_A_VOLUME = "E405"
    TRUNCATED = "E406"
    DAMAGED = "E407"
    SURPLUS_BYTES = "E408"
    HEADER = "E409"
    GRID_MISMATCH = "E410"
    NOT_PARALLEL = "E411"
    NOT_3D = "E412"
    COLOUR = "E413"
    COMPLEX = "E414"
    VOXEL_TYPE = "E415"
    UNSUPPORTED = "E416"
    BOMB = "E417"
    NO_ORIENTATION = "E420"
    FORMS_DISAGREE = "E421"
    AFFINE = "E422"
    UNIT = "E423"
    SHEARED = "E424"
    SLOPE = "E430"
    NONFINITE = "E431"
    NOT_LABELS = "E432"
    BLANK = "E433"
    DICOM_HEADER = "E440"
    DICOM_NO_SERIES = "E441"
    DICOM_SEVERAL_SERIES = "E442"
    DICOM_ONE_SLICE = "E443"
    DICOM_UNEVEN = "E444"
    DICOM_DOUBLED = "E445"
    DICOM_SPACING = "E446"
    DICOM_PIXELS = "E447"
    DICOM_GEOMETRY = "E448"
    DICOM_MIXED = "E449"
    CANNOT_STORE = "E450"
    STILL_WRITTEN = "E451"

    NO_MODEL_FILE = "E501"
    MODEL_FOREIGN = "E502"
    MODEL_DAMAGED = "E503"
    MODEL_NEWER = "E504"
    MODEL_MISFIT = "E505"
    MODEL_CONTENT = "E506"
    MODEL_UNSUPPORTED = "E507"
    NO_CARD = "E508"
    NO_CHECKPOINT = "E510"
    CHECKPOINT_DAMAGED = "E511"
    CHECKPOINT_OTHER = "E512"

    LOSS = "E601"

    DISK_FULL = "E701"
    CANNOT_WRITE = "E702"
    MEMORY = "E703"
    DEVICE = "E704"
    READ_BACK = "E705"
    CANNOT_READ = "E706"
    LOCKED = "E707"
    NO_PROCESS = "E708"

    PROCESS_DIED = "E801"
    TIMED_OUT = "E802"
    MEMORY_LIMIT = "E803"
    NETWORK_FAILED = "E804"
    UNEXPECTED = "E805"


class MedsegError(Exception):
    """Base of all errors that have a code, a place and a fix.

    ``problems`` holds one line each: subject, what was found, what was expected, and the fix. Problems that
    can be many are collected and told together.
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, code: Code, *problems: str) -> None:
        super().__init__(code, *problems)
        self.code = code
        self.problems = tuple(_one_line(problem) for problem in problems)

    def __str__(self) -> str:
        return "\n".join(self.problems)

    @property
    def told(self) -> tuple[str, ...]:
        """The problems with the code behind each, for collections of errors of several kinds."""
        return tuple(f"{problem} [{self.code}]" for problem in self.problems)

    @classmethod
    def raise_if(cls, code: Code, problems: Iterable[str]) -> None:
        """Raise one error that tells all ``problems``; do nothing when there are none."""
        found = tuple(problems)
        if found:
            raise cls(code, *found)

    def about(self, subject: str) -> "MedsegError":
        """The same error with ``subject`` (a case, a file) named first on each line."""
        return type(self)(self.code, *(f"{subject}: {problem}" for problem in self.problems))


def _one_line(text: str) -> str:
    """Without line breaks, and without what a file name could do to a terminal or to a log."""
    plain = " ".join(text.split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in plain)


class UsageError(MedsegError):
    """E1xx"""


class ConfigError(MedsegError):
    """E2xx"""


class CohortError(MedsegError):
    """E3xx"""


class VolumeError(MedsegError):
    """E4xx"""


class GridMismatchError(VolumeError):
    """E410 and E411"""


class ModelFileError(MedsegError):
    """E5xx"""


class TrainingError(MedsegError):
    """E6xx"""


class EnvironmentProblem(MedsegError):  # noqa: N818 - the field calls a full disk a problem
    """E7xx"""

    exit_code = 4


class PatientError(MedsegError):
    """E8xx: given up for this patient alone; the others go on."""

"""Why a DICOM file cannot be used, told where its name and its series are known."""

from dataclasses import dataclass

from medseg.errors import Code


@dataclass(frozen=True)
class Fault:
    """What was found in a file, and what mends it. Never a header's words: they may name the patient."""

    code: Code
    what: str
    fix: str = "export the series anew"


class FaultError(Exception):
    """Carries a fault to where its file is known."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.code)
        self.fault = fault

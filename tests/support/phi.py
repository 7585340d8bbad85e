"""A hundred and fifty pieces of a patient's private data, in all places of a DICOM header that hold text."""

import gzip
import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydicom import datadict
from pydicom.dataset import Dataset
from pydicom.tag import Tag

PATIENT = [
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientBirthTime",
    "PatientBirthName",
    "OtherPatientIDs",
    "OtherPatientNames",
    "PatientMotherBirthName",
    "PatientAddress",
    "MilitaryRank",
    "BranchOfService",
    "MedicalRecordLocator",
    "PatientTelephoneNumbers",
    "EthnicGroup",
    "Occupation",
    "AdditionalPatientHistory",
    "PatientReligiousPreference",
    "PatientComments",
    "ResponsiblePerson",
    "ResponsibleOrganization",
    "CountryOfResidence",
    "RegionOfResidence",
    "PatientInstitutionResidence",
    "MedicalAlerts",
    "Allergies",
    "SpecialNeeds",
    "PatientState",
    "PatientSpeciesDescription",
]
STUDY = [
    "StudyID",
    "AccessionNumber",
    "StudyDescription",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "ReferringPhysicianAddress",
    "ReferringPhysicianTelephoneNumbers",
    "ConsultingPhysicianName",
    "PhysiciansOfRecord",
    "NameOfPhysiciansReadingStudy",
    "AdmittingDiagnosesDescription",
    "AdmissionID",
    "IssuerOfAdmissionID",
    "CurrentPatientLocation",
    "VisitComments",
    "ServiceEpisodeID",
    "ServiceEpisodeDescription",
    "RequestingPhysician",
    "RequestingService",
    "RequestedProcedureDescription",
    "RequestedProcedureComments",
    "RequestedProcedureID",
    "ReasonForTheRequestedProcedure",
    "ReasonForStudy",
    "PlacerOrderNumberImagingServiceRequest",
    "FillerOrderNumberImagingServiceRequest",
    "OrderEnteredBy",
    "OrderEntererLocation",
    "OrderCallbackPhoneNumber",
    "InterpretationRecorder",
    "InterpretationText",
    "InterpretationDiagnosisDescription",
    "ReportedValuesOrigin",
]
SERIES = [
    "SeriesDescription",
    "SeriesDate",
    "SeriesTime",
    "ProtocolName",
    "PerformingPhysicianName",
    "OperatorsName",
    "PerformedProcedureStepDescription",
    "PerformedProcedureStepID",
    "PerformedProcedureStepStartDate",
    "CommentsOnThePerformedProcedureStep",
    "ScheduledProcedureStepDescription",
    "BodyPartExamined",
    "ClinicalTrialSponsorName",
    "ClinicalTrialProtocolID",
    "ClinicalTrialProtocolName",
    "ClinicalTrialSiteID",
    "ClinicalTrialSiteName",
    "ClinicalTrialSubjectID",
    "ClinicalTrialSubjectReadingID",
    "ClinicalTrialTimePointID",
    "ClinicalTrialTimePointDescription",
    "ClinicalTrialCoordinatingCenterName",
    "ClinicalTrialSeriesDescription",
]
PLACE = [
    "InstitutionName",
    "InstitutionAddress",
    "InstitutionalDepartmentName",
    "StationName",
    "Manufacturer",
    "ManufacturerModelName",
    "DeviceSerialNumber",
    "SoftwareVersions",
    "ImageComments",
    "DerivationDescription",
    "ContrastBolusAgent",
    "AcquisitionDate",
    "AcquisitionTime",
    "ContentDate",
    "ContentTime",
    "AcquisitionDateTime",
    "DateOfSecondaryCapture",
    "SecondaryCaptureDeviceID",
    "SecondaryCaptureDeviceManufacturer",
    "TextComments",
    "FrameComments",
    "AcquisitionComments",
    "ImagePresentationComments",
    "ContentCreatorName",
    "ContentDescription",
    "VerifyingObserverName",
    "VerifyingOrganization",
    "PersonName",
    "TextValue",
    "PersonAddress",
    "PersonTelephoneNumbers",
    "DistributionName",
    "DistributionAddress",
    "ApprovalStatus",
    "ReviewerName",
    "ResultsComments",
    "Impressions",
    "PhysicianApprovingInterpretation",
    "InterpretationAuthor",
    "RetrieveAETitle",
    "StationAETitle",
    "ScheduledStationName",
    "ScheduledPerformingPhysicianName",
    "AcquisitionProtocolDescription",
]
NESTED = [
    "RequestedProcedureDescription",
    "ReasonForTheRequestedProcedure",
    "AccessionNumber",
    "ScheduledProcedureStepDescription",
    "PatientName",
]
LEVELS = 3
PRIVATE = ("LO", "PN", "UT", "UN", "SH")
_SYLLABLES = ("ka", "vo", "zu", "qui", "xel", "mor", "dja", "thu", "wyn", "rof", "gli", "bex")


@dataclass(frozen=True)
class Phi:
    """``tokens`` are what is searched for, ``header`` the elements that hold them."""

    tokens: tuple[str, ...]
    header: Dataset

    def names(self, count: int) -> list[str]:
        """``count`` names of slice files that hold all tokens together."""
        each = -(-len(self.tokens) // count)
        parts = [self.tokens[n * each : (n + 1) * each] for n in range(count)]
        return ["^".join(part) + f"_IM{n:03d}.dcm" for n, part in enumerate(parts)]

    def found_in(self, *texts: str | bytes) -> set[str]:
        """The tokens that any of ``texts`` holds, in capitals or not, as text or in UTF-16."""
        found = set()
        for text in texts:
            plain = (text if isinstance(text, bytes) else text.encode("utf-8", "replace")).lower()
            found |= {
                token
                for token in self.tokens
                if token.lower().encode() in plain or token.lower().encode("utf-16-le") in plain
            }
        return found

    def found_below(self, folders: Iterable[Path]) -> set[str]:
        """The tokens in names and contents (unpacked too) of all files and folders."""
        found: set[str] = set()
        for folder in folders:
            for path in folder.rglob("*"):
                found |= self.found_in(str(path.relative_to(folder)))
                if path.is_file():
                    content = path.read_bytes()
                    found |= self.found_in(content)
                    found |= self.found_in(gzip.decompress(content)) if content[:2] == b"\x1f\x8b" else set()
        return found


def private_data(count: int = 150) -> Phi:
    """Elements of all kinds, each with a token of its own: plain, in nested sequences, and private."""
    words, header = _Words(), Dataset()
    keywords = [*PATIENT, *STUDY, *SERIES, *PLACE]
    plain = keywords[: count - LEVELS * len(NESTED) - len(PRIVATE)]
    tokens = [_put(header, keyword, words) for keyword in plain]
    holder = header
    for _level in range(LEVELS):  # a request in a request in a request
        item = Dataset()
        holder.RequestAttributesSequence = [item]
        tokens += [_put(item, keyword, words) for keyword in NESTED]
        holder = item
    block = header.private_block(0x0009, "A SCANNER", create=True)
    for element, representation in enumerate(PRIVATE):
        token = words.next()
        block.add_new(element, representation, token.encode() if representation == "UN" else token)
        tokens.append(token)
    return Phi(tuple(tokens), header)


class _Words:
    """Names that no language has, and dates that nothing else has."""

    def __init__(self) -> None:
        self._random = random.Random(28)
        self._given: set[str] = set()

    def next(self) -> str:
        while True:
            word = "".join(self._random.sample(_SYLLABLES, 4)).capitalize()[:12]
            if word not in self._given:
                self._given.add(word)
                return word

    def day(self) -> str:
        while True:
            year, month, day_of_month = (self._random.randint(*ends) for ends in ((11, 49), (1, 12), (1, 28)))
            day = f"19{year}{month:02d}{day_of_month:02d}"
            if day not in self._given:
                self._given.add(day)
                return day

    def moment(self) -> str:
        hour, minute, micro = (self._random.randint(*ends) for ends in ((0, 23), (0, 59), (10**5, 10**6 - 1)))
        return f"{hour:02d}{minute:02d}58.{micro}"


def _put(dataset: Dataset, keyword: str, words: _Words) -> str:
    representation = datadict.dictionary_VR(Tag(keyword))
    if representation == "DA":
        value = token = words.day()
    elif representation == "TM":
        value = token = words.moment()
    elif representation == "DT":
        value = token = words.day() + words.moment()
    elif representation == "PN":
        token = words.next()
        value = f"{token}^Anna"
    elif representation in {"LO", "SH", "CS", "AE", "ST", "LT", "UT", "UC"}:
        token = words.next()
        value = token.upper() if representation == "CS" else token
    else:
        raise AssertionError(f"{keyword} holds no text but {representation}")
    setattr(dataset, keyword, value)
    return token

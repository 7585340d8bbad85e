"""``data.cohort`` to cases: which of the forms it is, and all that is wrong with it, told together."""

import difflib
import logging
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qsl

from medseg.config import DataConfig
from medseg.data.case import Case, Findings
from medseg.data.csv_cohort import find_in_csv
from medseg.data.dataset_json import NAME as DATASET_JSON
from medseg.data.dataset_json import find_in_dataset_json
from medseg.data.image_label_folders import PAIRS, find_in_image_label_folders, image_label_pair
from medseg.data.naming import listed
from medseg.data.patient_folders import find_in_patient_folders
from medseg.data.tree import is_scan, look
from medseg.errors import Code, CohortError

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
MAX_PROBLEMS = 20
FORMS = "a folder of patient folders, images/ and labels/, a CSV, a dataset.json folder, or phantom:pelvis_ct"


def find_cases(
    config: DataConfig, structures: Sequence[str], *, progress: Progress | None = None
) -> tuple[Case, ...]:
    """All cases of ``config.cohort``, sorted by id; files are found, not read.

    Args:
        structures: the names of the labels, for what a CSV declares as not contoured.
        progress: called with (patients ready, all) while a phantom is simulated for the first time.

    Raises:
        CohortError: with one line a problem (20 at most, then how many more).
    """
    found = search_cases(config, structures, progress=progress)
    CohortError.raise_if(Code.COHORT_CASES, shortened(found.problems))
    return found.cases


def search_cases(
    config: DataConfig, structures: Sequence[str], *, progress: Progress | None = None
) -> Findings:
    """The same, with the problems beside the cases that are all right.

    Raises:
        CohortError: there is no cohort, or it is of no known form.
    """
    if config.cohort.startswith("phantom:"):
        return Findings(tuple(sorted(_phantom(config.cohort, progress), key=lambda case: case.id)))
    root = Path(config.cohort).expanduser()
    found = _find(root, config, structures)
    problems = [*found.problems, *_duplicates(found.cases)]
    if not problems and not found.cases:
        problems.append(f"cohort {root}: no case found; give {FORMS}{_csv_hint(root)}")
    log.info(
        "cohort %s: %d cases of %d patients", root, len(found.cases), len({c.patient for c in found.cases})
    )
    cases = (replace(case, reading=config.reading) for case in found.cases)
    return Findings(tuple(sorted(cases, key=lambda case: case.id)), tuple(problems))


def shortened(problems: Sequence[str]) -> tuple[str, ...]:
    """The first problems, and how many more there are."""
    if len(problems) <= MAX_PROBLEMS:
        return tuple(problems)
    return (*problems[:MAX_PROBLEMS], f"and {len(problems) - MAX_PROBLEMS} more problems of this cohort")


def _find(root: Path, config: DataConfig, structures: Sequence[str]) -> Findings:
    if not os.path.exists(root):  # noqa: PTH110 - Path.exists fails for a name that is too long
        raise CohortError(
            Code.COHORT_NOT_FOUND, f"cohort {root}: not found{_near(root)}: correct data.cohort"
        )
    if root.is_file():
        if root.suffix.lower() == ".csv":
            return find_in_csv(root, config, structures)
        if root.name == DATASET_JSON:
            return find_in_dataset_json(root, config)
        raise CohortError(
            Code.COHORT_FORM, f"cohort {root}: a file of this kind is not a cohort; give {FORMS}"
        )
    if not root.is_dir():
        raise CohortError(Code.COHORT_FORM, f"cohort {root}: neither file nor folder; give {FORMS}")
    if (root / DATASET_JSON).is_file():
        return find_in_dataset_json(root / DATASET_JSON, config)
    pair = image_label_pair(root)
    if pair is not None:
        found = find_in_image_label_folders(*pair, config)
        return Findings(found.cases, (*_mixed(root, pair), *found.problems))
    if is_scan(root):
        raise CohortError(Code.COHORT_FORM, f"cohort {root}: one DICOM series; give {FORMS}")
    return find_in_patient_folders(root, config)


def _mixed(root: Path, pair: tuple[Path, Path]) -> list[str]:
    """Scans beside ``images/`` and ``labels/`` would be passed over in silence, so they are told."""
    here, below = look(root)
    others = [path for path in below if path not in pair and path.name not in ("imagesTs", "labelsTs")]
    with_scans = [path.name + "/" for path in others if look(path)[0].scans]
    names = [path.name for path in here.scans] + with_scans
    if not names:
        return []
    both = [name for name in names if name.rstrip("/") in {n for p in PAIRS for n in p}]
    what = "two pairs of folders" if both else "two forms of a cohort at once"
    return [f"{root}: {what} ({pair[0].name}/, {pair[1].name}/ and {', '.join(names[:4])}): leave one"]


def _duplicates(cases: Sequence[Case]) -> list[str]:
    """Cases whose names differ in nothing that a file system may ignore."""
    by_id = defaultdict(list)
    for case in cases:
        by_id[case.id.casefold()].append(case)
    problems = []
    for same in by_id.values():
        if len(same) > 1:
            paths = listed([str(case.images[0]) for case in same])
            problems.append(
                f"case {same[0].id}: {len(same)} scans have this name ({paths}): give each its own"
            )
    return problems


def _phantom(cohort: str, progress: Progress | None) -> tuple[Case, ...]:
    """``phantom:pelvis_ct``, or with options: ``phantom:pelvis_ct?patients=12&seed=3``."""
    name, _, query = cohort.removeprefix("phantom:").partition("?")
    if name != "pelvis_ct":
        raise CohortError(Code.COHORT_FORM, f"cohort {cohort}: no such phantom; use phantom:pelvis_ct")
    options = {"patients": 30, "seed": 2024}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in options or not value.isdecimal() or (key == "patients" and int(value) < 1):
            expected = "write phantom:pelvis_ct?patients=12&seed=3, with whole numbers"
            raise CohortError(Code.COHORT_FORM, f"cohort {cohort}: {expected}")
        options[key] = int(value)
    # The simulator loads slowly, and only this kind of cohort needs it.
    from medseg.data.phantom import pelvis_ct_cohort  # noqa: PLC0415

    return pelvis_ct_cohort(options["patients"], options["seed"], progress=progress)


def _near(root: Path) -> str:
    if not root.parent.is_dir():
        return f" (and no folder {root.parent})"
    close = difflib.get_close_matches(root.name, [path.name for path in root.parent.iterdir()], n=1)
    return f" (did you mean {root.parent / close[0]}?)" if close else ""


def _csv_hint(root: Path) -> str:
    tables = sorted(root.glob("*.csv")) if root.is_dir() else []
    return f" (did you mean {tables[0]}?)" if tables else ""

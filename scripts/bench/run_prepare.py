"""medseg from raw files to the cache; the last line of standard output is JSON.

    python run_prepare.py CONFIG.yaml COHORT CACHE PROCESSES [--as-nnunet] [--cases N]

``--as-nnunet``: the work that nnU-Net does (crop to what is not 0, fitted or own-scan normalisation before
cubic resampling to the median spacing), instead of what the configuration says.
"""

import json
import sys
from pathlib import Path

from medseg.config import Experiment, load_experiment
from medseg.data import PreparedCache, Split, find_cases
from medseg.training.prepare import prepare_cohort

AS_NNUNET = {
    "spacing_mm": None,
    "resampling": "cubic",
    "crop": "nonzero",
    "normalise": "before",
}


def experiment(config: Path, cohort: str, as_nnunet: bool) -> Experiment:
    told = load_experiment(config, [f"data.cohort={cohort}"])
    if not as_nnunet:
        return told
    ct = told.preprocessing.intensity[0].kind == "window"
    intensity = {"kind": "fitted"} if ct else {"kind": "zscore", "region": "whole"}
    preprocessing = {**told.preprocessing.model_dump(), **AS_NNUNET, "intensity": intensity}
    return Experiment.model_validate({**told.model_dump(), "preprocessing": preprocessing})


def main() -> None:
    config, cohort, cache, processes, *more = sys.argv[1:]
    told = experiment(Path(config), cohort, "--as-nnunet" in more)
    cases = find_cases(told.data, tuple(told.labels))
    if "--cases" in more:
        cases = cases[: int(more[more.index("--cases") + 1])]
    prepared = prepare_cohort(told, Split(cases, (), ()), PreparedCache(Path(cache)), workers=int(processes))
    print(json.dumps({"cases": len(prepared.train), "spacing_mm": prepared.fitted.spacing_mm}))


if __name__ == "__main__":
    main()

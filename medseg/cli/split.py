"""medseg split"""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medseg.cli.options import ConfigFile, Json, Overrides

if TYPE_CHECKING:
    from medseg.config import Experiment
    from medseg.data import Case


def split(
    config: ConfigFile,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Write the table as CSV; it is a cohort itself.")
    ] = None,
    set_: Overrides = None,
    json: Json = False,
) -> int:
    """Tell who is held out, and which fold each other patient validates in.

    The table has a row a case: its files, its patient, its fold. All cases of a patient are in one fold.
    """
    from medseg.cli.display import Bars
    from medseg.cli.printing import print_json, say
    from medseg.config import load_experiment
    from medseg.data import find_cases, fold_of_each
    from medseg.files import write_text_atomically

    experiment = load_experiment(config, set_ or ())
    with Bars() as bars:
        cases = find_cases(
            experiment.data,
            tuple(experiment.labels),
            progress=lambda done, total: bars.show("simulating", done, total),
        )
    folds = fold_of_each(cases, experiment.data)
    if out is not None:
        write_text_atomically(out, _table(experiment, cases, folds))
        say(f"table: {out}")
    counts = _counts(experiment, cases, folds)
    if json:
        print_json({"cases": folds, "folds": counts})
    else:
        typer.echo(
            "\n".join(
                f"{each['part']}: {each['patients']} patients, {each['cases']} cases" for each in counts
            )
        )
    return 0


def _counts(
    experiment: "Experiment", cases: "Sequence[Case]", folds: Mapping[str, int | None]
) -> list[dict[str, Any]]:
    def told(name: str, fold: int | None) -> dict[str, Any]:
        inside = [case for case in cases if folds[case.id] == fold]
        return {"part": name, "patients": len({case.patient for case in inside}), "cases": len(inside)}

    return [told("held out", None), *(told(f"fold {fold}", fold) for fold in range(experiment.data.folds))]


def _table(experiment: "Experiment", cases: "Sequence[Case]", folds: Mapping[str, int | None]) -> str:
    """A cohort as ``data.cohort`` takes it, and a column more."""
    from medseg.evaluation.files import inert_text

    channels = list(experiment.data.channels or ("image",))
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["case", *channels, "label", "patient", "not_contoured", "fold"])
    for case in cases:
        files = [str(path.resolve()) if path else "" for path in (*case.images, case.label)]
        fold = folds[case.id]
        unseen = ";".join(sorted(case.not_contoured))
        row = [inert_text(case.id), *files, inert_text(case.patient), unseen]
        writer.writerow([*row, "held out" if fold is None else fold])
    return text.getvalue()

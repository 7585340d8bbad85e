"""medseg postprocess"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medseg.cli.options import ConfigFile, Json, Overrides, parse_part

if TYPE_CHECKING:
    from medseg.training.postprocessing import Choice


def postprocess(
    predictions: Annotated[
        Path, typer.Argument(help="A folder of masks of patients that the networks did not learn from.")
    ],
    config: ConfigFile,
    out: Annotated[Path, typer.Option("-o", "--out", help="The JSON file to write.")] = Path(
        "postprocessing.json"
    ),
    split: Annotated[
        str,
        typer.Option(help="Whose masks these are: folds (all that are not held out), validation or test."),
    ] = "folds",
    set_: Overrides = None,
    json: Json = False,
) -> int:
    """Choose what is removed from masks, on out-of-fold masks, and only where it helps.

    For each structure: keep its largest connected part alone, remove parts below a volume, both, or nothing.
    The file goes into a model with medseg convert ensemble --postprocessing.
    """
    from medseg.cli.display import Bars
    from medseg.cli.printing import print_json, say
    from medseg.config import load_experiment
    from medseg.data import find_cases, split_cases
    from medseg.files import write_json_atomically
    from medseg.report.cohort import find_masks
    from medseg.training.postprocessing import CRITERION, choose_postprocessing

    experiment = load_experiment(config, set_ or ())
    cases = split_cases(find_cases(experiment.data, tuple(experiment.labels)), experiment.data)
    part = cases.part(parse_part(split))
    masks = find_masks([predictions], part)
    with Bars() as bars:
        chosen, choices = choose_postprocessing(
            experiment, part, masks, lambda case, done, total: bars.show("trying", done, total, case)
        )
    told = {
        "postprocessing": chosen.model_dump(mode="json"),
        "criterion": CRITERION,
        "structures": [choice.to_json() for choice in choices],
    }
    write_json_atomically(out, told)
    if json:
        print_json(told)
    else:
        typer.echo("\n".join(map(_line, choices)))
        say(f"written: {out}")
    return 0


def _line(choice: "Choice") -> str:
    rules = ["largest part alone"] if choice.rule.largest else []
    rules += [f"parts of {choice.rule.minimum_ml:g} mL or more"] if choice.rule.minimum_ml else []
    told = f"{choice.structure}: {' and '.join(rules) or 'as it is'}"
    return f"{told}; Dice {choice.dice_before:.4f} -> {choice.dice_after:.4f} ({choice.patients} patients)"

"""medseg evaluate"""

import re
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medseg.cli.options import Json, Split, parse_labels

if TYPE_CHECKING:
    from medseg.config import Experiment
    from medseg.config.data import Reading
    from medseg.config.inference import EvaluationConfig, LesionConfig
    from medseg.report.folders import Comparison


def evaluate(  # noqa: PLR0917 - an option each
    predictions: Annotated[
        Path, typer.Argument(help="A mask, or a folder of masks (as medseg infer writes).")
    ],
    references: Annotated[
        Path | None,
        typer.Argument(
            help="The reference, or a folder of references. Without: those of --config's own cohort."
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Folder for cases.csv, summary.json, report.html.")
    ] = Path("evaluation"),
    config: Annotated[
        Path | None,
        typer.Option(help="An experiment, run folder or model whose labels and metrics are used."),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(help="Structures and values, as in prostate=1,bladder=2. Default: all values found."),
    ] = None,
    images: Annotated[Path | None, typer.Option(help="The scans, for the report's viewers.")] = None,
    missing: Annotated[
        str, typer.Option(help="A structure without a voxel in a reference is: absent, or not_contoured.")
    ] = "absent",
    tolerance_mm: Annotated[float | None, typer.Option(min=0.01, help="Tolerance of NSD.")] = None,
    lesions: Annotated[
        str | None,
        typer.Option(help="Structures whose connected parts are counted one by one, as in tumour,cyst."),
    ] = None,
    lesion_match: Annotated[
        str | None,
        typer.Option(help="A lesion is found from this IoU, or with any voxel in common: any. Default: 0.1."),
    ] = None,
    lesion_minimum_mm3: Annotated[
        float | None, typer.Option(min=0.0, help="Smaller parts are no lesions. Default: 0.")
    ] = None,
    geometry: Annotated[
        str, typer.Option(help="Which orientation of a NIfTI holds: agreed, sform, qform or pixdim.")
    ] = "agreed",
    resample_labels: Annotated[
        bool,
        typer.Option(
            "--resample-labels",
            help="Put a mask on another grid than its reference onto that grid (nearest neighbour).",
        ),
    ] = False,
    split: Split = None,
    json: Json = False,
) -> int:
    """Score masks against their references.

    Dice, IoU, surface distances and more, by structure and case, as tables and report.html. Masks on
    another grid than their reference are refused, not compared as arrays, unless --resample-labels is given.

    With --config and --split instead of REFERENCES, the masks are those of the configuration's own patients:
    folds for masks of a cross-validation, test for those that were held out. Each has to be there once.
    """
    from medseg.cli.display import Bars
    from medseg.cli.evaluate_cohort import evaluate_cohort
    from medseg.cli.printing import print_json, print_summary, say
    from medseg.report.folders import report_on_folders

    reading = _reading(geometry, resample_labels)
    comparison = _comparison(config, parse_labels([labels]) if labels else None, missing, reading)
    changed = _changed(comparison.config, tolerance_mm, _lesions(lesions, lesion_match, lesion_minimum_mm3))
    comparison = replace(comparison, config=changed)
    if references is None or split is not None:
        own = _own_cohort(references, config, labels, images, reading, missing)
        summary = evaluate_cohort(predictions, own, split or "test", out, changed)
    else:
        with Bars() as bars:
            summary = report_on_folders(
                predictions,
                references,
                out,
                comparison,
                images=images,
                progress=lambda case, done, total: bars.show("scoring", done, total, case),
                command=shlex.join(["medseg", *sys.argv[1:]]),
            )
    if json:
        print_json({"report": str(out / "report.html"), "summary": str(out / "summary.json")})
    else:
        print_summary(summary)
        say(f"report: {out / 'report.html'}")
    for failure in summary.failures:
        say(f"failed: {failure.case}: {failure.reason}")
    return 3 if summary.failures else 0


def _own_cohort(
    references: Path | None,
    config: Path | None,
    labels: str | None,
    images: Path | None,
    reading: "Reading",
    missing: str,
) -> "Experiment":
    """The configuration whose cohort has the references; it tells labels and images, too.

    What the options ask for in another way than by default holds instead of its own.
    """
    from medseg.errors import Code, UsageError

    if config is None or references or labels or images:
        raise UsageError(
            Code.OPTION,
            "references: give REFERENCES, or only --config and --split for those of its own cohort",
        )
    experiment = _experiment(config)
    data = experiment.data
    asked = data.reading.model_copy(update=reading.model_dump(exclude_defaults=True))
    missing = data.missing_structures if missing == "absent" else missing
    told = data.model_copy(update={"reading": asked, "missing_structures": missing})
    return experiment.model_copy(update={"data": told})


def _reading(geometry: str, resample_labels: bool) -> "Reading":
    from medseg.config.data import Reading
    from medseg.errors import Code, UsageError

    choices = ("agreed", "sform", "qform", "pixdim")
    if geometry not in choices:
        raise UsageError(Code.OPTION, f"--geometry {geometry}: give one of {', '.join(choices)}")
    return Reading.model_validate({"geometry": geometry, "resample_labels": resample_labels})


def _comparison(
    config: Path | None,
    labels: dict[str, int] | None,
    missing: str,
    reading: "Reading",
) -> "Comparison":
    from medseg.config.inference import EvaluationConfig
    from medseg.errors import Code, UsageError
    from medseg.report.folders import Comparison

    if missing not in ("absent", "not_contoured"):
        raise UsageError(Code.OPTION, f"--missing {missing}: give absent or not_contoured")
    settings = EvaluationConfig()
    if config is not None:
        experiment = _experiment(config)
        labels = labels or experiment.labels
        settings = experiment.evaluation
        missing = experiment.data.missing_structures if missing == "absent" else missing
    return Comparison(labels, settings, missing, reading)


def _changed(
    settings: "EvaluationConfig", tolerance_mm: float | None, lesions: "dict[str, LesionConfig] | None"
) -> "EvaluationConfig":
    told = {"nsd_tolerance_mm": tolerance_mm, "lesions": lesions}
    return settings.model_copy(update={key: value for key, value in told.items() if value is not None})


def _lesions(
    names: str | None, match: str | None, minimum_mm3: float | None
) -> "dict[str, LesionConfig] | None":
    """The options as settings, the same for each structure; None when no structure is named."""
    from medseg.config.inference import LesionConfig
    from medseg.errors import Code, UsageError

    if names is None:
        if match is not None or minimum_mm3 is not None:
            raise UsageError(Code.OPTION, "--lesion-match, --lesion-minimum-mm3: add --lesions STRUCTURE")
        return None
    rule = LesionConfig(minimum_volume_mm3=minimum_mm3 or 0.0)
    if match == "any":
        rule = rule.model_copy(update={"match": "any_voxel"})
    elif match is not None:
        if not re.fullmatch(r"0?\.\d{1,6}|1(\.0*)?", match) or float(match) == 0:
            raise UsageError(Code.OPTION, f"--lesion-match {match}: give any, or an IoU above 0, as in 0.1")
        rule = rule.model_copy(update={"iou": float(match)})
    return dict.fromkeys((name.strip() for name in names.split(",") if name.strip()), rule)


def _experiment(told: Path) -> "Experiment":
    """Of a YAML file, of a run, or of a model."""
    from medseg.config import load_experiment
    from medseg.modelfile import load_model
    from medseg.shipped import find_model

    if told.is_dir() and (told / "config.yaml").is_file():
        return load_experiment(told / "config.yaml")
    if told.suffix.lower() in (".yaml", ".yml") or (told.is_file() and told.suffix != ".safetensors"):
        return load_experiment(told)
    return load_model(find_model(told)).experiment

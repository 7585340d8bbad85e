"""medseg evaluate"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medseg.cli.options import Json, parse_labels

if TYPE_CHECKING:
    from medseg.config import Experiment
    from medseg.config.data import Reading
    from medseg.report.folders import Comparison


def evaluate(  # noqa: PLR0917 - an option each
    predictions: Annotated[
        Path, typer.Argument(help="A mask, or a folder of masks (as medseg infer writes).")
    ],
    references: Annotated[Path, typer.Argument(help="The reference, or a folder of references.")],
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
    images: Annotated[Path | None, typer.Option(help="The scans, for the report's pictures.")] = None,
    missing: Annotated[
        str, typer.Option(help="A structure without a voxel in a reference is: absent, or not_contoured.")
    ] = "absent",
    tolerance_mm: Annotated[float | None, typer.Option(min=0.01, help="Tolerance of NSD.")] = None,
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
    json: Json = False,
) -> int:
    """Score masks against their references.

    Dice, IoU, surface distances and more, by structure and case, as tables and report.html. Masks on
    another grid than their reference are refused, not compared as arrays, unless --resample-labels is given.
    """
    from medseg.cli.display import Bars
    from medseg.cli.printing import print_json, print_summary, say
    from medseg.report.folders import report_on_folders

    reading = _reading(geometry, resample_labels)
    comparison = _comparison(
        config, parse_labels([labels]) if labels else None, missing, tolerance_mm, reading
    )
    with Bars() as bars:
        summary = report_on_folders(
            predictions,
            references,
            out,
            comparison,
            images=images,
            progress=lambda case, done, total: bars.show("scoring", done, total, case),
        )
    if json:
        print_json({"report": str(out / "report.html"), "summary": str(out / "summary.json")})
    else:
        print_summary(summary)
        say(f"report: {out / 'report.html'}")
    for failure in summary.failures:
        say(f"failed: {failure.case}: {failure.reason}")
    return 3 if summary.failures else 0


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
    tolerance_mm: float | None,
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
    if tolerance_mm is not None:
        settings = settings.model_copy(update={"nsd_tolerance_mm": tolerance_mm})
    return Comparison(labels, settings, missing, reading)


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

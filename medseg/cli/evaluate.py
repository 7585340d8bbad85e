"""medseg evaluate"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medseg.cli.options import Json

if TYPE_CHECKING:
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
        Path | None, typer.Option(help="An experiment (or run folder) whose labels and metrics are used.")
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
    comparison = _comparison(config, _parse_labels(labels), missing, tolerance_mm, reading)
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
    from medseg.config import load_experiment
    from medseg.config.inference import EvaluationConfig
    from medseg.errors import Code, UsageError
    from medseg.report.folders import Comparison

    if missing not in ("absent", "not_contoured"):
        raise UsageError(Code.OPTION, f"--missing {missing}: give absent or not_contoured")
    settings = EvaluationConfig()
    if config is not None:
        experiment = load_experiment(config / "config.yaml" if config.is_dir() else config)
        labels = labels or experiment.labels
        settings = experiment.evaluation
        missing = experiment.data.missing_structures if missing == "absent" else missing
    if tolerance_mm is not None:
        settings = settings.model_copy(update={"nsd_tolerance_mm": tolerance_mm})
    return Comparison(labels, settings, missing, reading)


def _parse_labels(text: str | None) -> dict[str, int] | None:
    from medseg.errors import Code, UsageError

    if text is None:
        return None
    labels = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if not equals or not name.strip() or not re.fullmatch(r"-?[0-9]{1,10}", value.strip()):
            raise UsageError(Code.OPTION, f"--labels {part}: write name=value, as in prostate=1,bladder=2")
        labels[name.strip()] = int(value)
    return labels

"""medseg convert"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medseg.cli.options import Json

if TYPE_CHECKING:
    from medseg.modelfile import ModelFile


def convert(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND",
            help="nnunet: what nnU-Net trained. monai: a MONAI bundle. ensemble: models of medseg.",
        ),
    ],
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE...",
            help="nnunet: the folder with plans.json and fold_0. monai: the bundle's folder or .zip. "
            "ensemble: model files or run folders.",
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="The model file to write.")] = Path(
        "model.safetensors"
    ),
    folds: Annotated[
        str | None,
        typer.Option(
            help="nnunet: 0, or several to average, as in 0,1,2; all: fold_all, else every fold. "
            "Default: every numbered fold."
        ),
    ] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            help="nnunet: the file in the folds' folders. Default: checkpoint_final.pth. "
            "monai: the file in models. Default: what the bundle loads."
        ),
    ] = None,
    orientation: Annotated[
        str | None,
        typer.Option(
            help="Where the stored axes of the training scans run to, as in RAS. nnunet: default LPS. "
            "monai: needed only where the bundle does not turn scans (no Orientationd)."
        ),
    ] = None,
    postprocessing: Annotated[
        Path | None,
        typer.Option(help="ensemble: what medseg postprocess wrote, for masks of the new model."),
    ] = None,
    json: Json = False,
) -> int:
    """Make a model file for medseg infer: of what nnU-Net or MONAI trained, or of several models in one.

    medseg convert nnunet nnUNet_results/Dataset005_Prostate/nnUNetTrainer__nnUNetPlans__3d_fullres

    medseg convert monai spleen_ct_segmentation -o spleen.safetensors

    The networks of one file are averaged, and each takes its time. Checkpoints are opened in a process
    without network, files and rights, and nothing in them or in a bundle is run: steps and expressions that
    medseg has not are refused by name.
    """
    from medseg.cli.printing import print_json, say
    from medseg.convert import convert_monai, convert_nnunet
    from medseg.errors import Code, UsageError
    from medseg.modelfile import model_summary, save_model

    notes: tuple[str, ...] = ()
    if kind == "ensemble":
        if folds is not None or orientation is not None:
            raise UsageError(
                Code.OPTION, "--folds and --orientation are for what others trained: leave them out"
            )
        model = _ensemble(sources, postprocessing)
    elif kind == "nnunet" and len(sources) == 1:
        final = checkpoint or "checkpoint_final.pth"
        converted = convert_nnunet(sources[0], folds=folds, checkpoint=final, orientation=orientation)
        model, notes = converted.model, converted.notes
    elif kind == "monai" and len(sources) == 1 and folds is None:
        converted = convert_monai(sources[0], checkpoint=checkpoint, orientation=orientation)
        model, notes = converted.model, converted.notes
    else:
        raise UsageError(
            Code.OPTION,
            f"{kind} of {len(sources)}: write medseg convert nnunet FOLDER, medseg convert monai BUNDLE "
            "(which has no folds), or medseg convert ensemble MODEL MODEL...",
        )
    save_model(out, model)
    for note in notes:
        say(f"note: {note}")
    summary = model_summary(model)
    if json:
        print_json({"model": str(out), "notes": list(notes), **summary})
    else:
        of = f"{model.members} networks, " if model.members > 1 else ""
        say(
            f"{summary['name']}: {of}{len(summary['labels'])} structure(s), "
            f"{summary['weights'] / 1e6:.1f} M weights -> {out}"
        )
    return 0


def _ensemble(sources: list[Path], postprocessing: Path | None) -> "ModelFile":
    from medseg.convert import merge_models, read_postprocessing
    from medseg.modelfile import load_model
    from medseg.shipped import find_model

    models = [load_model(find_model(path)) for path in sources]
    chosen = read_postprocessing(postprocessing) if postprocessing else None
    return merge_models(models, f"{models[0].experiment.name[:80]}-ensemble", chosen)

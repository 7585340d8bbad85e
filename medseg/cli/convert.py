"""medseg convert"""

from pathlib import Path
from typing import Annotated

import typer

from medseg.cli.options import Json


def convert(
    source: Annotated[str, typer.Argument(metavar="KIND", help="What trained the model: nnunet.")],
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL_FOLDER", help="nnunet: the folder with plans.json, dataset.json and fold_0."
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="The model file to write.")] = Path(
        "model.safetensors"
    ),
    fold: Annotated[str | None, typer.Option(help="0 to 4, or all. Default: 0, else all.")] = None,
    checkpoint: Annotated[str, typer.Option(help="The file in the fold's folder.")] = "checkpoint_final.pth",
    orientation: Annotated[
        str | None,
        typer.Option(
            help="Where the stored axes of the training scans run to, as in RAS. Default: LPS, the usual."
        ),
    ] = None,
    json: Json = False,
) -> int:
    """Make a model file of a network that nnU-Net trained, for medseg infer.

    The checkpoint is opened in a process without network, files and rights, and nothing in it is run.
    """
    from medseg.cli.printing import print_json, say
    from medseg.convert import convert_nnunet
    from medseg.errors import Code, UsageError
    from medseg.modelfile import model_summary, save_model

    if source != "nnunet":
        raise UsageError(Code.OPTION, f"{source}: not known; write medseg convert nnunet MODEL_FOLDER")
    converted = convert_nnunet(folder, fold=fold, checkpoint=checkpoint, orientation=orientation)
    save_model(out, converted.model)
    for note in converted.notes:
        say(f"note: {note}")
    summary = model_summary(converted.model)
    if json:
        print_json({"model": str(out), "notes": list(converted.notes), **summary})
    else:
        structures = len(summary["labels"])
        say(
            f"{summary['name']}: {structures} structure(s), {summary['weights'] / 1e6:.1f} M weights -> {out}"
        )
    return 0

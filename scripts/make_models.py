"""Make the models at hand again: train, segment the held-out patients, score them, write model and card.

    python scripts/make_models.py hippocampus_mr --cohort /path/to/hippocampus_mr
    python scripts/make_models.py prostate_ct_phantom            # its cohort is built in

Training, segmenting and scoring go through the command line, as a user would do it: ``medseg train`` with the
configuration in ``configs/``, ``medseg infer`` with the fp16 file on the patients that were held out, and
``medseg evaluate``. The Dice in the card is thus the Dice of the file that is shipped.
"""

import argparse
import hashlib
import json
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from medseg import __version__
from medseg.config import load_experiment
from medseg.data import Case, find_cases, split_cases
from medseg.files import write_bytes_atomically, write_json_atomically
from medseg.io import VOLUME_SUFFIXES
from medseg.modelfile import ModelFile, load_model, save_model
from medseg.shipped.card import Card

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ROOT / "medseg" / "shipped"
MOST_BYTES = 12_000_000


@dataclass(frozen=True)
class Recipe:
    """What a card tells beside the figures."""

    config: str
    cohort: str
    """Where the cohort lies unless told; also what the model file says, instead of a path of this machine."""
    title: str
    takes: str
    data: str
    source: str
    data_licence: str
    licence: str
    limits: tuple[str, ...]


RECIPES = {
    "hippocampus_mr": Recipe(
        config="configs/hippocampus_mr.yaml",
        cohort="data/hippocampus_mr",
        title="anterior and posterior hippocampus on T1 MR cropped around one hippocampus",
        takes="T1-weighted MR of about 1 mm, cropped to a box of about 35 x 50 x 35 mm around a hippocampus",
        data="200 scans of the Medical Segmentation Decathlon, Task04 Hippocampus (Vanderbilt, Nashville)",
        source="Simpson 2019, arXiv:1902.09063; medicaldecathlon.com",
        data_licence="CC-BY-SA 4.0",
        licence="CC-BY-SA 4.0, as its data",
        limits=(
            "Takes crops as those it learned from; it never saw a whole head, and finds false parts there.",
            "Adults, healthy or with psychotic disorders, of one hospital; not tried on atrophy, tumours or "
            "children.",
            "One scanner protocol (MPRAGE); other contrasts than T1 were never seen.",
            "The data do not tell which two scans (left and right) are of one person, so held-out scans may "
            "be of people whose other side was trained on.",
        ),
    ),
    "head_neck_ct": Recipe(
        config="configs/head_neck_ct.yaml",
        cohort="data/head_neck_ct",
        title="organs at risk on planning CT of the head and neck",
        takes="planning CT with intensities of about HU + 1024 and zero outside the patient",
        data="110 patients of OpenKBP, on a grid of 128^3",
        source="Babier 2021, Medical Physics 48:5549; github.com/ababier/open-kbp",
        data_licence="MIT",
        licence="MIT, as its data",
        limits=(
            "Intensities must be shifted as in its data: add 1024 to Hounsfield units, set the outside to 0.",
            "Coarse voxels (3.9 x 3.9 x 2.5 mm): small organs keep few of them, and edges are rough.",
            "Organs were drawn for planning by many people; in half to two thirds of the patients the larynx "
            "and the oesophagus were not drawn at all.",
            "The oesophagus (drawn in 35 patients) is found roughly: its Dice is about 0.5.",
            "In one held-out patient (pt_221) the references do not lie on the anatomy; it is counted.",
        ),
    ),
    "prostate_ct_phantom": Recipe(
        config="configs/prostate_ct.yaml",
        cohort="phantom:pelvis_ct",
        title="prostate, bladder, rectum and femoral heads on SIMULATED pelvic CT",
        takes="CT of the male pelvis in Hounsfield units, as the built-in phantom makes it",
        data="30 simulated patients, phantom:pelvis_ct",
        source="docs/phantom.md in the repository",
        data_licence="Apache-2.0, simulated",
        licence="Apache-2.0",
        limits=(
            "Learned from a simulation alone: it shows how medseg works, and is no model for patients.",
            "Its Dice is that of simulated patients and says nothing of real ones.",
        ),
    ),
}


def main() -> None:
    arguments = _arguments()
    recipe = RECIPES[arguments.name]
    work = arguments.work or Path("runs") / f"make-{arguments.name}"
    cohort = arguments.cohort or recipe.cohort
    changes = [f"name={arguments.name}", f"data.cohort={cohort}"]
    if arguments.minutes is not None:
        changes += [f"training.stop.minutes={arguments.minutes:g}"]
    changes += arguments.set
    experiment = load_experiment(ROOT / recipe.config, changes)
    run = work / "run"
    if not arguments.keep_run:
        shutil.rmtree(work, ignore_errors=True)
        settings = [word for change in changes for word in ("--set", change)]
        _medseg("train", str(ROOT / recipe.config), *settings, "-o", str(run))
    model_path = work / f"{arguments.name}.safetensors"
    neutral = _neutral(load_model(run / "model.safetensors"), recipe)
    save_model(model_path, neutral, half=True)
    _require_small(model_path)
    split = split_cases(find_cases(experiment.data, tuple(experiment.labels)), experiment.data)
    summary = _evaluated(work, model_path, split.test, run)
    card = _card(arguments.name, recipe, neutral, model_path, summary, _facts(run, split))
    out = arguments.out or SHIPPED
    out.mkdir(parents=True, exist_ok=True)
    write_bytes_atomically(out / model_path.name, model_path.read_bytes())
    write_json_atomically(out / f"{arguments.name}.json", card.model_dump(mode="json"))
    mean = card.mean_dice
    print(
        f"{out / model_path.name}: {card.bytes / 1e6:.1f} MB, Dice {mean.mean:.3f} ({mean.low}, {mean.high})"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("name", choices=sorted(RECIPES))
    parser.add_argument("--cohort", help="where the cohort lies (default: as the recipe names it)")
    parser.add_argument("--minutes", type=float, help="time to train (default: as the configuration says)")
    parser.add_argument("--set", action="append", default=[], help="change a key of the configuration")
    parser.add_argument("--work", type=Path, help="folder for the run, masks and scores")
    parser.add_argument("--out", type=Path, help=f"folder for model and card (default: {SHIPPED})")
    parser.add_argument("--keep-run", action="store_true", help="do not train again, take the run in --work")
    return parser.parse_args()


def _medseg(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "medseg", *arguments], check=True)


def _neutral(model: ModelFile, recipe: Recipe) -> ModelFile:
    """Without a path of this machine."""
    data = model.experiment.data.model_copy(update={"cohort": recipe.cohort})
    return replace(model, experiment=model.experiment.model_copy(update={"data": data}))


def _require_small(path: Path) -> None:
    size = path.stat().st_size
    if size > MOST_BYTES:
        sys.exit(
            f"{path}: {size / 1e6:.1f} MB, at most {MOST_BYTES / 1e6:.0f} are shipped: narrow the network"
        )


def _evaluated(work: Path, model: Path, cases: tuple[Case, ...], run: Path) -> dict[str, Any]:
    """The summary of the held-out patients, segmented by the file that is shipped."""
    scans, references = work / "scans", work / "references"
    for folder in (scans, references, work / "masks", work / "evaluation"):
        shutil.rmtree(folder, ignore_errors=True)
    for case in cases:
        if case.label is None or len(case.images) != 1:
            sys.exit(f"case {case.id}: one image and a reference are needed")
        _link(case.images[0], scans, case.id)
        _link(case.label, references, case.id)
    _medseg("infer", str(scans), "--model", str(model), "-o", str(work / "masks"))
    evaluation = work / "evaluation"
    _medseg("evaluate", str(work / "masks"), str(references), "-o", str(evaluation), "--config", str(run))
    summary: dict[str, Any] = json.loads((evaluation / "summary.json").read_text())
    return summary


def _link(path: Path, folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    suffix = next((s for s in VOLUME_SUFFIXES if path.name.lower().endswith(s)), path.suffix)
    (folder / f"{name}{suffix}").symlink_to(path.resolve())


@dataclass(frozen=True)
class Facts:
    """Of the training."""

    minutes: float
    hardware: str
    git: str | None
    train: int
    validation: int
    test: int


def _facts(run: Path, split: Any) -> Facts:
    manifest = json.loads((run / "manifest.json").read_text())
    hardware = manifest["hardware"]
    machine = ", ".join(hardware["gpus"]) or f"{hardware['cores']} cores of {hardware['processor']}"
    patients = [len({case.patient for case in part}) for part in (split.train, split.validation, split.test)]
    return Facts(manifest["seconds"] / 60, machine, manifest["git"], *patients)


def _card(
    name: str, recipe: Recipe, model: ModelFile, path: Path, summary: dict[str, Any], facts: Facts
) -> Card:
    experiment, network = model.experiment, model.experiment.model
    weights = sum(tensor.numel() for tensor in model.weights.values())
    by_name = {one["structure"]: one for one in summary["structures"]}
    stop = experiment.training.stop
    minutes = f" --minutes {stop.minutes:g}" if stop.minutes else ""
    cohort = "" if recipe.cohort.startswith("phantom:") else f" --cohort {shlex.quote(recipe.cohort)}"
    structures = [
        {"name": label, "value": value, "dice": _dice(by_name[label]["metrics"].get("dice"))}
        for label, value in experiment.labels.items()
    ]
    return Card.model_validate(
        {
            "name": name,
            "title": recipe.title,
            "input": recipe.takes,
            "network": f"{network.spatial_dims}D {network.kind}, {weights / 1e6:.1f} M weights",
            "spacing_mm": model.fitted["spacing_mm"],
            "structures": structures,
            "mean_dice": {**(_dice(summary["mean"]["dice"]) or {}), "cases": facts.test},
            "data": {
                "name": recipe.data,
                "source": recipe.source,
                "licence": recipe.data_licence,
                "training_patients": facts.train,
                "validation_patients": facts.validation,
                "held_out_patients": facts.test,
            },
            "training": {
                "command": f"python scripts/make_models.py {name}{cohort}{minutes}",
                "minutes": round(facts.minutes, 1),
                "hardware": facts.hardware,
                "date": datetime.now(UTC).date().isoformat(),
                "medseg": __version__,
                "git": facts.git,
            },
            "limits": recipe.limits,
            "licence": recipe.licence,
            "weights": "fp16",
            "bytes": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
    )


def _dice(metric: dict[str, Any] | None) -> dict[str, Any] | None:
    """Rounded: the fourth digit says nothing with so few patients."""
    if metric is None or metric["mean"] is None:
        return None
    ends = {end: None if metric[end] is None else round(metric[end], 4) for end in ("low", "high")}
    return {"mean": round(metric["mean"], 4), **ends, "cases": metric["n"]}


if __name__ == "__main__":
    main()

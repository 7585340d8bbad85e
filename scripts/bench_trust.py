"""What the review flag finds: held-out scans as they are, and each with one artefact of the scanner.

    python scripts/bench_trust.py hippocampus_mr configs/hippocampus_mr.yaml --cohort /path/to/hippocampus

Artefacts are TorchIO's, in turn over the patients, on intensities scaled to 0 to 1000. Told are, for each
artefact, the mean Dice that was measured and that was expected, and how many masks were flagged; and the
power to find the worst fifth by Dice (AUROC, 95 % interval by bootstrap) of the scans as they are and of all.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torchio as tio

from medseg.config import load_experiment
from medseg.data import find_cases, split_cases
from medseg.evaluation import overlap
from medseg.evaluation.confusion import confusion_matrix, structure_confusion, to_classes
from medseg.evaluation.ranking import auroc, auroc_interval, worst
from medseg.inference import Segmenter
from medseg.inference.review import review_of
from medseg.inference.volumes import structure_volumes
from medseg.io import read_label, read_volume
from medseg.shipped import find_model
from medseg.volume import Volume

AS_IT_IS = "none"
ARTEFACTS: dict[str, tio.Transform] = {
    "noise": tio.RandomNoise(std=(60, 150)),
    "motion": tio.RandomMotion(degrees=8, translation=5, num_transforms=2),
    "ghosting": tio.RandomGhosting(intensity=(0.8, 1.5)),
    "spikes": tio.RandomSpike(intensity=(0.5, 1.5)),
    "blur": tio.RandomBlur(std=(1.2, 2.5)),
    "thick slices": tio.RandomAnisotropy(downsampling=(3, 5)),
    "bias field": tio.RandomBiasField(coefficients=0.8),
}


@dataclass(frozen=True)
class Judged:
    """One mask; ``score`` is higher the less it is to be trusted."""

    case: str
    artefact: str
    dice: float
    score: float
    flagged: bool


def degraded(scan: Volume, artefact: str, seed: int) -> Volume:
    if artefact == AS_IT_IS:
        return scan
    array = scan.array.astype(np.float32)
    low, high = np.percentile(array, (1, 99))
    image = tio.ScalarImage(
        tensor=torch.from_numpy((array - low) / max(high - low, 1e-6) * 1000)[None],
        affine=scan.geometry.affine,
    )
    torch.manual_seed(seed)
    found = ARTEFACTS[artefact](image).data[0].numpy()
    return Volume(np.ascontiguousarray(found), scan.geometry)


def judge(segmenter: Segmenter, scan: Volume, label: Volume) -> tuple[float, float, bool]:
    """Mean Dice, score, and whether somebody should look."""
    found = segmenter.segment([scan])
    matrix = confusion_matrix(
        to_classes(label.array, segmenter.labels),
        to_classes(found.mask.array, segmenter.labels),
        len(segmenter.labels) + 1,
    )
    dice = [overlap.dice(structure_confusion(matrix, c)) or 0.0 for c in range(1, len(matrix))]
    volumes = structure_volumes(found.mask, segmenter.labels)
    review = review_of(segmenter.rule, found.expected_dice, volumes)
    if review is None:
        raise SystemExit("the model has no review rule")
    return float(np.mean(dice)), review.score, review.flagged


def power(name: str, judged: Sequence[Judged]) -> str:
    dice, scores = [one.dice for one in judged], [one.score for one in judged]
    bad = worst(dice)
    found, bounds = auroc(scores, bad), auroc_interval(scores, dice)
    area = "-" if found is None or bounds is None else f"{found:.2f} ({bounds[0]:.2f} to {bounds[1]:.2f})"
    hit = sum(one.flagged for one, is_bad in zip(judged, bad, strict=True) if is_bad)
    rest = sum(one.flagged for one in judged) - hit
    return (
        f"{name}: {len(judged)} masks, AUROC for the worst fifth {area}; flagged {hit} of the {sum(bad)} "
        f"worst, {rest} of the others"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("config", type=Path, help="that the model was trained by: it knows who was held out")
    parser.add_argument("--cohort", required=True)
    parser.add_argument("-o", "--out", type=Path, help="a JSON file for every mask's figures")
    args = parser.parse_args()
    experiment = load_experiment(args.config, [f"data.cohort={args.cohort}"])
    held_out = split_cases(find_cases(experiment.data, tuple(experiment.labels)), experiment.data).test
    segmenter = Segmenter.load(find_model(args.model), device="cpu")
    names, judged = list(ARTEFACTS), []
    for number, case in enumerate(held_out):
        if case.label is None:
            continue
        scan, label = read_volume(case.images[0]), read_label(case.label)
        for artefact in (AS_IT_IS, names[number % len(names)]):
            seen = degraded(scan, artefact, 1000 + number)
            judged.append(Judged(case.id, artefact, *judge(segmenter, seen, label)))
    if args.out is not None:
        args.out.write_text(json.dumps([asdict(one) for one in judged], indent=2))
    for artefact in (AS_IT_IS, *names):
        some = [one for one in judged if one.artefact == artefact]
        if some:
            dice, expected = (
                float(np.mean(x)) for x in zip(*((o.dice, 1 - o.score) for o in some), strict=True)
            )
            flagged = sum(one.flagged for one in some)
            print(
                f"{artefact:13} {len(some):3} masks, Dice {dice:.3f}, expected {expected:.3f}, "
                f"flagged {flagged}"
            )
    print(power("as they are", [one for one in judged if one.artefact == AS_IT_IS]))
    print(power("all", judged))
    low = [one for one in judged if one.dice < 0.8]
    print(f"Dice below 0.8: {len(low)} masks, {sum(one.flagged for one in low)} of them flagged")


if __name__ == "__main__":
    main()

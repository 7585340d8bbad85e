"""Training steps of medseg, at the bidding of bench_training.py; see steps_nnunet.py.

python steps_medseg.py FOLDER fp32|bf16
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from medseg.config import parse_experiment
from medseg.data import PreparedCache
from medseg.training import RunFolder
from medseg.training.batches import Batch
from medseg.training.dataset import PatchDataset
from medseg.training.fit import Job, train_step
from medseg.training.schedule import Budget
from medseg.training.state import Learner
from medseg.training.train import build_learner, build_team, new_network

folder, precision = Path(sys.argv[1]), sys.argv[2]


def main() -> None:
    settings = json.loads((folder / "settings.json").read_text())
    torch.set_num_threads(settings["threads"])
    raw = settings["experiment"]
    raw["training"]["precision"] = precision
    experiment = parse_experiment(raw, "bench")
    team = build_team(experiment)
    network = new_network(experiment)
    network.load_state_dict(load_file(folder / "first_weights.safetensors"))
    learner = build_learner(team.fabric, experiment, network)
    job = Job(
        team=team,
        dataset=PatchDataset(experiment, (), PreparedCache(), (1.0, 1.0, 1.0)),
        validation=(),
        cache=PreparedCache(),
        run=RunFolder(folder / "run"),
        budget=Budget(1, None),
        steps_per_epoch=1,
        workers=0,
        pin_memory=False,
        fingerprint="",
        frozen_steps=None,
        keep=lambda _network, _progress: None,
    )
    with np.load(folder / "batches.npz", allow_pickle=False) as file:
        images, labels = file["image"], file["label"]
    for step, line in enumerate(sys.stdin):
        words = line.split()
        if words[0] == "step":
            batch = as_batch(images[int(words[1])], labels[int(words[1])], experiment.class_count)
            start = time.perf_counter()
            loss = float(train_step(job, learner, [batch], experiment.training.learning_rate, step))
            told = {"seconds": time.perf_counter() - start, "loss": loss}
        else:
            told = score(learner, torch.from_numpy(images[-1]), torch.from_numpy(labels[-1]))
        print(json.dumps(told), flush=True)


def as_batch(image: np.ndarray, label: np.ndarray, classes: int) -> Batch:
    return Batch(
        image=torch.from_numpy(image),
        label=torch.from_numpy(label),
        known=torch.ones((len(image), classes), dtype=torch.bool),
        case=torch.zeros(len(image), dtype=torch.int64),
    )


@torch.no_grad()
def score(learner: Learner, image: torch.Tensor, target: torch.Tensor) -> dict[str, float]:
    logits = learner.network.eval()(image).float()
    cross_entropy = torch.nn.functional.cross_entropy(logits, target.long())
    found = logits.argmax(1)
    dice = [
        2
        * float(((found == c) & (target == c)).sum())
        / max(1, int((found == c).sum() + (target == c).sum()))
        for c in range(1, logits.shape[1])
    ]
    return {"cross_entropy": float(cross_entropy), "dice": sum(dice) / len(dice)}


if __name__ == "__main__":
    main()

"""Training steps of nnU-Net's own trainer, at the bidding of bench_training.py.

    python steps_nnunet.py FOLDER     with the Python of an environment with nnunetv2

FOLDER holds ``settings.json``, ``batches.npz`` and ``first_weights.npz``. Each line of standard input is
``step N`` (train on batch N) or ``score`` (the held-out batch); each is answered by a line of JSON.
"""

import json
import os
import sys
import time
from pathlib import Path

folder = Path(sys.argv[1])
answers, sys.stdout = sys.stdout, sys.stderr  # the trainer prints
for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
    os.environ[name] = str(folder / name)
os.environ["nnUNet_compile"] = "f"  # noqa: SIM112 - its name; as it does by itself on a CPU

import numpy as np  # noqa: E402
import torch  # noqa: E402
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer  # noqa: E402


def main() -> None:
    settings = json.loads((folder / "settings.json").read_text())
    torch.set_num_threads(settings["threads"])
    plans = {**settings["plans"], "continue_training": False}  # its training script sets that, too
    labels = {name: value for value, name in enumerate(settings["classes"])}
    dataset = {"channel_names": {"0": "MR"}, "labels": labels, "numTraining": 1, "file_ending": ".nii.gz"}
    cases = folder / "nnUNet_preprocessed" / plans["dataset_name"] / "bench"
    cases.mkdir(parents=True, exist_ok=True)
    (cases / "none.npz").touch()  # it looks for the kind of its files; patches come from ours
    trainer = nnUNetTrainer(plans, "3d_fullres", 0, dataset, device=torch.device("cpu"))
    trainer.initialize()
    weights = {
        name: torch.from_numpy(value)
        for name, value in np.load(folder / "first_weights.npz", allow_pickle=False).items()
    }
    trainer.network.load_state_dict(weights, strict=False)  # it lists encoder weights a second time
    trainer.network.train()
    with np.load(folder / "batches.npz", allow_pickle=False) as file:
        images, targets = file["image"], file["label"]
    for line in sys.stdin:
        words = line.split()
        if words[0] == "step":
            batch = {"data": tensor(images[int(words[1])])}
            batch["target"] = at_all_scales(tensor(targets[int(words[1])])[:, None], trainer)
            start = time.perf_counter()
            loss = float(trainer.train_step(batch)["loss"])
            told = {"seconds": time.perf_counter() - start, "loss": loss}
        else:
            told = score(trainer.network, tensor(images[-1]), tensor(targets[-1]))
        answers.write(json.dumps(told) + "\n")
        answers.flush()


def tensor(array: np.ndarray) -> torch.Tensor:
    """Axes as nnU-Net has them: k, j, i."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(array, (-1, -3), (-3, -1)))).float()


def at_all_scales(target: torch.Tensor, trainer: nnUNetTrainer) -> list[torch.Tensor]:
    scales = trainer._get_deep_supervision_scales()
    return [
        torch.nn.functional.interpolate(target, scale_factor=tuple(scale), mode="nearest") for scale in scales
    ]


@torch.no_grad()
def score(network: torch.nn.Module, image: torch.Tensor, target: torch.Tensor) -> dict[str, float]:
    logits = network(image)[0]
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

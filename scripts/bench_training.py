"""A training step of nnU-Net's own trainer and of medseg: the same network, weights, patches and batch.

    python -m venv /somewhere && /somewhere/bin/pip install nnunetv2==2.8.1
    python scripts/bench_training.py --cohort hippocampus --nnunet-python /somewhere/bin/python -o bench_out

The network is the one nnU-Net plans for the Decathlon's hippocampus: 4 stages of 32 to 256 feature maps,
patches of 40x56x40, 7 a batch; SGD with Nesterov momentum, Dice and cross-entropy, deep supervision. Patches
are cut from the cohort by medseg, augmented, and written to a file that all read. The programs are processes
of their own that take turns, step by step; the machine should be idle. nnU-Net computes in fp32 on a CPU.

Then the curves: cross-entropy and Dice of a batch that none trains on; and, through ``medseg train`` with its
own data path, the share of time spent waiting for data.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).resolve().parent))
from bench.curves import draw_curves
from bench.nnunet_folder import plan_of, their_weights
from medseg.config import Experiment, parse_experiment
from medseg.data import PreparedCache, find_cases, split_cases
from medseg.training.dataset import PatchDataset
from medseg.training.prepare import prepare_cohort
from medseg.training.train import new_network

HERE = Path(__file__).resolve().parent
EVERY = 10
"""Steps between looks at the held-out batch."""


@dataclass
class Program:
    name: str
    command: list[str]
    seconds: list[float] = field(default_factory=list)
    scores: list[tuple[int, dict[str, float]]] = field(default_factory=list)

    def start(self) -> None:
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def ask(self, line: str) -> dict[str, float]:
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit(f"{self.name} ended:\n{self.process.stderr.read()[-3000:]}")
        return json.loads(answer)


def main() -> None:
    args = parse()
    args.out.mkdir(parents=True, exist_ok=True)
    experiment = parse_experiment(settings(args), "bench")
    with tempfile.TemporaryDirectory() as place:
        write_inputs(Path(place), args, experiment)
        programs = [
            Program("nnU-Net, fp32", [str(args.nnunet_python), str(HERE / "bench/steps_nnunet.py"), place])
        ]
        programs += [
            Program(f"medseg, {p}", [sys.executable, str(HERE / "bench/steps_medseg.py"), place, p])
            for p in args.precision
        ]
        run(programs, args)
    report(programs, args)
    if args.train_steps:
        print(f"\n`medseg train`, {args.train_steps} steps: {waiting(experiment)}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cohort", type=Path, required=True, help="the hippocampus cohort")
    parser.add_argument("--nnunet-python", type=Path, required=True, help="Python with nnunetv2")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for the figures")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=7)
    parser.add_argument("--patch", type=int, nargs=3, default=(40, 56, 40))
    parser.add_argument("--channels", type=int, nargs="+", default=(32, 64, 128, 256))
    parser.add_argument("--precision", nargs="+", default=("fp32",), help="of medseg: fp32 bf16")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--train-steps", type=int, default=60, help="of medseg train, for the waiting; 0: none"
    )
    parser.add_argument("--quick", action="store_true", help="a small network, a few steps")
    args = parser.parse_args()
    if args.quick:
        args.steps, args.batch, args.channels, args.train_steps = 6, 2, (8, 16, 32, 64), 8
    return args


def settings(args: argparse.Namespace) -> dict[str, Any]:
    return {
        "name": "bench",
        "labels": {"anterior": 1, "posterior": 2},
        "data": {"cohort": str(args.cohort), "held_out": 0.2, "folds": 5},
        "preprocessing": {"spacing_mm": [1, 1, 1], "intensity": {"kind": "zscore"}},
        "augmentation": [
            {"kind": "spatial", "p": 0.5, "rotation_deg": 15, "scale": 0.15, "shift_mm": 2,
             "elastic": {"points": 5, "max_mm": 2}},
            {"kind": "noise", "p": 0.15, "std": 0.1},
            {"kind": "gamma", "p": 0.2, "log_gamma": 0.3},
            {"kind": "brightness_contrast", "p": 0.2, "brightness": 0.1, "contrast": 0.2},
        ],
        "sampling": {"patch_size": list(args.patch), "foreground": 0.5},
        "model": {"kind": "unet", "channels": list(args.channels), "deep_supervision": True},
        "training": {
            "loss": "dice_ce", "optimizer": {"kind": "sgd", "momentum": 0.99, "weight_decay": 3e-5},
            "learning_rate": 0.01, "schedule": "poly", "warmup": 0, "stop": {"epochs": 1}, "ema": None,
            "batch_size": args.batch, "steps_per_epoch": max(1, args.train_steps), "clip_norm": 12,
        },
    }  # fmt: skip


def write_inputs(place: Path, args: argparse.Namespace, experiment: Experiment) -> None:
    """Batches (the last is held out), first weights under both names, and what each program is told."""
    split = split_cases(find_cases(experiment.data, tuple(experiment.labels)), experiment.data)
    cache = PreparedCache()
    cohort = prepare_cohort(experiment, split, cache)
    batches = [
        [patches[n * args.batch + i] for i in range(args.batch)]
        for patches, numbers in (
            (PatchDataset(experiment, cohort.train, cache, cohort.fitted.spacing_mm), range(args.steps)),
            (PatchDataset(experiment, cohort.validation, cache, cohort.fitted.spacing_mm), range(1)),
        )
        for n in numbers
    ]
    stacked = {key: np.stack([[s[key] for s in batch] for batch in batches]) for key in ("image", "label")}
    np.savez(place / "batches.npz", **stacked)
    weights = {n: v.contiguous().clone() for n, v in new_network(experiment).state_dict().items()}
    save_file(weights, place / "first_weights.safetensors")
    theirs = their_weights(weights, len(args.channels))
    np.savez(place / "first_weights.npz", **{name: value.numpy() for name, value in theirs.items()})
    told = {
        "threads": args.threads,
        "classes": ["background", *experiment.labels],
        "plans": plan_of(experiment, args.batch),
        "experiment": experiment.model_dump(mode="json"),
    }
    (place / "settings.json").write_text(json.dumps(told))


def run(programs: list[Program], args: argparse.Namespace) -> None:
    for program in programs:
        program.start()
    for step in range(args.steps):
        for program in programs:
            if step % EVERY == 0:
                program.scores.append((step, program.ask("score")))
            program.seconds.append(program.ask(f"step {step}")["seconds"])
    for program in programs:
        program.scores.append((args.steps, program.ask("score")))
        program.process.stdin.close()
        program.process.wait()


def report(programs: list[Program], args: argparse.Namespace) -> None:
    size = "x".join(map(str, args.patch))
    print(f"{processor()}, {args.threads} threads, torch {version('torch')}, medseg {version('medseg')}")
    print(f"batch {args.batch} of {size}, feature maps {list(args.channels)}, {args.steps} steps\n")
    print("| program | s a step, median | middle half | ratio | cross-entropy, Dice at the end |")
    print("|---|---|---|---|---|")
    counted = [program.seconds[min(3, args.steps // 2) :] for program in programs]  # the first warm up
    base = statistics.median(counted[0])
    for program, seconds in zip(programs, counted, strict=True):
        low, middle, high = np.percentile(seconds, (25, 50, 75))
        end = program.scores[-1][1]
        print(
            f"| {program.name} | {middle:.3f} | {low:.3f} to {high:.3f} | {base / middle:.2f} | "
            f"{end['cross_entropy']:.4f}, {end['dice']:.3f} |"
        )
    for key, label in (
        ("cross_entropy", "cross-entropy of held-out patches"),
        ("dice", "Dice of held-out patches"),
    ):
        curves = {p.name: [(step, score[key]) for step, score in p.scores] for p in programs}
        path = args.out / f"training_{key}.svg"
        path.write_text(draw_curves(curves, "step", label), encoding="utf-8")
        print(f"\n{label}: {path}", end="")
    print()


def waiting(experiment: Experiment) -> str:
    with tempfile.TemporaryDirectory() as place:
        config, folder = Path(place) / "bench.json", Path(place) / "run"
        config.write_text(json.dumps(experiment.model_dump(mode="json")))  # JSON is YAML
        subprocess.run(
            [sys.executable, "-m", "medseg", "train", str(config), "-o", str(folder)],
            check=True, capture_output=True,
        )  # fmt: skip
        rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    last = [row for row in rows if "waiting" in row][-1]
    return f"{last['steps_per_second']:.3f} steps/s, waiting for data {100 * last['waiting']:.1f}%"


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


if __name__ == "__main__":
    main()

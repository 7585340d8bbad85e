"""Patches a second through loading and augmentation: medseg, TorchIO behind its queue, nnU-Net's loader.

    python -m venv /somewhere && /somewhere/bin/pip install nnunetv2
    python scripts/bench_data.py --nnunet-python /somewhere/bin/python -o bench_out

The same prepared volumes, patch size, batch and number of processes for all; the programs take turns, each a
process of its own that is timed once its stream runs. Three lists of transforms (bench/patch_lists.py):
``ct`` and ``mr`` as a configuration would have them, by each program's own transforms; ``nnunet`` is what
nnU-Net trains with, and its equivalent. The machine should be idle.
"""

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from bench.measure import CommandError, measure
from bench.patches_medseg import write_prepared
from bench.rates import Rates, machine_lines, rate_table, version_of
from bench.simulate import write_cohort

HERE = Path(__file__).resolve().parent / "bench"
MEDSEG, DEVICE = "medseg", "medseg, the device's way, on the trainer's CPU"
TORCHIO, WHOLE, NNUNET = "TorchIO", "TorchIO, 8 patches share draws", "nnU-Net"
VOLUMES = {(96, 96, 96): (160, 160, 160), (40, 56, 40): (44, 60, 44)}
"""Patch to the volumes it is cut from."""


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for all that is made")
    parser.add_argument("--nnunet-python", type=Path, help="Python of an environment with nnunetv2")
    parser.add_argument("--lists", nargs="+", default=["ct", "mr", "nnunet"])
    parser.add_argument("--patches", nargs="+", default=["96x96x96", "40x56x40"])
    parser.add_argument("--workers", type=int, default=2, help="processes that make patches")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--volumes", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=20, help="that each program is timed for, a round")
    parser.add_argument("--warm-up", type=float, default=8)
    parser.add_argument("--quick", action="store_true", help="one short round, to see that all runs")
    args = parser.parse_args()
    if args.quick:
        args.rounds, args.seconds, args.warm_up, args.volumes = 1, 4, 3, 3
    return args


def main() -> None:
    args = parse()
    args.out.mkdir(parents=True, exist_ok=True)
    texts, figures = [], {}
    for patch in args.patches:
        size = tuple(int(n) for n in patch.split("x"))
        spec = _prepared(args, args.out / patch, size)
        for name in args.lists:
            rates = _compare(args, {**spec, "list": name})
            figures[f"{patch} {name}"] = rates
            texts.append(f"Patches of {patch}, list `{name}`:\n\n{rate_table(rates, 'patches/s', MEDSEG)}")
            print(texts[-1], flush=True)
    versions = [version_of(Path(sys.executable), name) for name in ("torch", "torchio")]
    if args.nnunet_python is not None:
        versions += [version_of(args.nnunet_python, n) for n in ("nnunetv2", "batchgeneratorsv2", "torch")]
    told = f"{args.workers} processes, batches of {args.batch}, {args.rounds} rounds of {args.seconds:g} s"
    texts.append(f"{told}; median (range). {machine_lines(versions)}")
    (args.out / "data.md").write_text("\n".join(texts), encoding="utf-8")
    (args.out / "data.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(texts[-1])


def _prepared(args: argparse.Namespace, folder: Path, patch: tuple[int, ...]) -> dict[str, Any]:
    """Simulated torso CTs, prepared once for all programs."""
    shape = VOLUMES.get(patch, tuple(n * 5 // 3 for n in patch))
    folder = folder.with_name(f"{folder.name}_{args.volumes}")
    arrays, nifti = folder / "arrays", folder / "nifti"
    if not nifti.exists():
        write_cohort(folder / "cohort", (shape[0], shape[1], shape[2]), (1.5, 1.5, 1.5), args.volumes)
        write_prepared(folder / "cohort", folder / "cache", arrays)
        nifti.mkdir()
        for path in sorted(arrays.glob("*.npy")):
            array = np.load(path, allow_pickle=False)
            image = nibabel.Nifti1Image(array[0] if array.ndim == 4 else array, np.diag([1.5, 1.5, 1.5, 1]))
            nibabel.save(image, nifti / f"{path.stem}.nii")
    return {
        "cohort": str(folder / "cohort"),
        "cache": str(folder / "cache"),
        "arrays": str(arrays),
        "nifti": str(nifti),
        "nnunet": str(folder / "nnunet"),
        "patch": list(patch),
        "batch": args.batch,
        "workers": args.workers,
        "seconds": args.seconds,
        "warm_up": args.warm_up,
        "whole": False,
        "augment_on": "workers",
    }


def _compare(args: argparse.Namespace, spec: dict[str, Any]) -> Rates:
    programs = {
        MEDSEG: (sys.executable, "patches_medseg.py", {}),
        DEVICE: (sys.executable, "patches_medseg.py", {"augment_on": "device"}),
        TORCHIO: (sys.executable, "patches_torchio.py", {}),
        WHOLE: (sys.executable, "patches_torchio.py", {"whole": True}),
    }
    if args.nnunet_python is not None and spec["list"] != "mr":  # it has no transforms for what MR adds
        programs[NNUNET] = (str(args.nnunet_python), "patches_nnunet.py", {})
    rates: Rates = defaultdict(list)
    told = args.out / "spec.json"
    for number in range(args.rounds):
        for name, (python, script, more) in programs.items():
            told.write_text(json.dumps({**spec, **more}), encoding="utf-8")
            try:
                run = measure([python, str(HERE / script), str(told)], OMP_NUM_THREADS="1")
            except CommandError as failure:
                sys.exit(f"{name}, {spec['list']}: {failure}")
            rates[name].append(json.loads(run.stdout.strip().splitlines()[-1])["patches_a_second"])
            print(f"round {number + 1}, {spec['list']}, {name}: {rates[name][-1]:.2f} patches/s", flush=True)
    return dict(rates)


if __name__ == "__main__":
    main()

"""Cases a second from raw files to what training reads: medseg's cache and nnUNetv2_plan_and_preprocess.

    python -m venv /somewhere && /somewhere/bin/pip install nnunetv2
    python scripts/bench_preprocessing.py --data /path/to/cohorts \\
        --nnunet-python /somewhere/bin/python -o bench_out

``--data`` holds hippocampus_mr, head_neck_ct and sarcoma_ct, as configs/ describes them; it is only read.
nnU-Net gets links to the same files in its own layout, computes its fingerprint and plan, and prepares
3d_fullres. medseg goes twice: by its configuration, and with the same work as nnU-Net. Each run is a process
of its own, imports included, into an empty folder; the programs take turns. The machine should be idle.
"""

import argparse
import json
import shutil
import sys
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from bench.measure import CommandError, measure
from bench.rates import Rates, machine_lines, rate_table, version_of
from medseg.config import load_experiment
from medseg.data import Case, find_cases

ROOT = Path(__file__).resolve().parents[1]
COHORTS = ("hippocampus_mr", "head_neck_ct", "sarcoma_ct")
MEDSEG, SAME_WORK, NNUNET = "medseg", "medseg, the work of nnU-Net", "nnU-Net"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for all that is made")
    parser.add_argument("--data", type=Path, required=True, help="folder of the cohorts")
    parser.add_argument("--nnunet-python", type=Path, help="Python of an environment with nnunetv2")
    parser.add_argument("--cohorts", nargs="+", default=COHORTS)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cases", type=int, help="only the first of each cohort")
    parser.add_argument("--quick", action="store_true", help="one round of 6 cases, to see that all runs")
    args = parser.parse_args()
    if args.quick:
        args.rounds, args.cases = 1, 6
    return args


def main() -> None:
    args = parse()
    args.out.mkdir(parents=True, exist_ok=True)
    texts, figures = [], {}
    for cohort in args.cohorts:
        rates, count = _compare(args, cohort)
        figures[cohort] = rates
        texts.append(f"{cohort}, {count} cases:\n\n{rate_table(rates, 'cases/s', MEDSEG)}")
        if NNUNET in rates:
            same = {name: rates[name] for name in (SAME_WORK, NNUNET)}
            texts[-1] += f"\n{rate_table(same, 'cases/s', SAME_WORK)}"
        print(texts[-1], flush=True)
    versions = [version_of(Path(sys.executable), "torch")]
    if args.nnunet_python is not None:
        versions.append(version_of(args.nnunet_python, "nnunetv2"))
    told = f"{args.processes} processes, {args.rounds} rounds; median (range)"
    texts.append(f"{told}. {machine_lines(versions)}")
    (args.out / "preprocessing.md").write_text("\n".join(texts), encoding="utf-8")
    (args.out / "preprocessing.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(texts[-1])


def _compare(args: argparse.Namespace, cohort: str) -> tuple[Rates, int]:
    config, data = ROOT / "configs" / f"{cohort}.yaml", args.data / cohort
    told = load_experiment(config, [f"data.cohort={data}"])
    cases = find_cases(told.data, tuple(told.labels))[: args.cases]
    work = args.out / cohort
    shutil.rmtree(work, ignore_errors=True)
    ours = [sys.executable, str(ROOT / "scripts" / "bench" / "run_prepare.py"), str(config), str(data)]
    more = ["--cases", str(len(cases))]
    rates: Rates = defaultdict(list)
    for number in range(args.rounds):
        for name in (MEDSEG, SAME_WORK, NNUNET):
            place = work / "made"
            place.mkdir(parents=True)
            environment = {"OMP_NUM_THREADS": "1"}
            if name == NNUNET:
                if args.nnunet_python is None:
                    shutil.rmtree(place)
                    continue
                _link(work / "raw" / "Dataset901_Bench", cases, told.labels)
                command = [str(args.nnunet_python.parent / "nnUNetv2_plan_and_preprocess"), "-d", "901"]
                command += ["-c", "3d_fullres", "-np", str(args.processes), "-npfp", str(args.processes)]
                environment |= {"nnUNet_raw": str(work / "raw"), "nnUNet_preprocessed": str(place)}
                environment["nnUNet_results"] = str(place)
            else:
                command = [*ours, str(place), str(args.processes), *more]
                command += ["--as-nnunet"] if name == SAME_WORK else []
            try:
                run = measure(command, **environment)
            except CommandError as failure:
                sys.exit(f"{name}, {cohort}: {failure}")
            shutil.rmtree(place)
            rates[name].append(len(cases) / run.wall_seconds)
            spent = (
                f"{run.wall_seconds:.1f} s, {run.cpu_seconds:.1f} s of CPU, {run.peak_bytes / 2**30:.2f} GiB"
            )
            print(f"round {number + 1}, {cohort}, {name}: {spent}", flush=True)
    return dict(rates), len(cases)


def _link(folder: Path, cases: tuple[Case, ...], labels: dict[str, int]) -> None:
    if folder.exists():
        return
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    for case in cases:
        (folder / "imagesTr" / f"{case.id}_0000.nii.gz").symlink_to(case.images[0].resolve())
        if case.label is not None:
            (folder / "labelsTr" / f"{case.id}.nii.gz").symlink_to(case.label.resolve())
    channel = "MRI" if "mr" in folder.parts[-3] else "CT"
    told = {
        "channel_names": {"0": channel},
        "labels": {"background": 0, **labels},
        "numTraining": len(cases),
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    main()

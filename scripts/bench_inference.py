"""nnU-Net's predictor, a MONAI script and medseg on the same scan and weights, file to file.

    python -m venv /somewhere && /somewhere/bin/pip install nnunetv2
    python scripts/bench_inference.py --nnunet-python /somewhere/bin/python -o bench_out

makes a CT (512x512x100, int16), a 3D U-Net of 5 stages (32 to 320 feature maps, windows of 96 cubed) that is
taught on its like for a few minutes, and an nnU-Net model folder of the same weights. ``--model`` takes a
model file of yours that nnU-Net can hold, ``--model-folder`` a trained nnU-Net, and ``--scan`` a scan. The
programs take turns, each run a process of its own; the machine should be idle. Nobody mirrors. Model and scan
are kept in the output folder, and used again.
"""

import argparse
import json
import platform
import subprocess
import sys
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent))

from bench.measure import CommandError, Run, measure
from bench.nnunet_folder import write_nnunet_folder
from bench.scan import stored_lps
from bench.simulate import NetworkSize, write_cohort, write_model, write_scan
from bench.table import GIB, Agreement, agreement, dice_table, markdown, summary
from bench.tools import MEDSEG, Tool, medseg_tools, monai_tool, nnunet_tool
from medseg.modelfile import load_model

PROGRAMS = ("nnunet", "monai", "torch:fp32", "openvino:fp32", "openvino:bf16", "openvino:int8")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for all that is made")
    parser.add_argument("--nnunet-python", type=Path, help="Python of an environment with nnunetv2")
    parser.add_argument("--model", type=Path, help="model file of yours")
    parser.add_argument("--model-folder", type=Path, help="trained nnU-Net of yours")
    parser.add_argument(
        "--int8-model", type=Path, help="the same model as medseg export --precision int8 wrote"
    )
    parser.add_argument("--scan", type=Path, help="scan of yours")
    parser.add_argument("--add", type=float, default=0, help="to all values of that scan, as in 1024")
    parser.add_argument("--shape", type=int, nargs=3, default=(512, 512, 100), help="of the simulated CT")
    parser.add_argument("--spacing", type=float, nargs=3, default=(0.8, 0.8, 2.5), help="its, in mm")
    parser.add_argument("--channels", type=int, nargs="+", default=NetworkSize.channels)
    parser.add_argument("--patch", type=int, default=NetworkSize.patch)
    parser.add_argument("--network-spacing", type=float, nargs=3, default=NetworkSize.spacing_mm)
    parser.add_argument("--steps", type=int, default=300, help="that the network is taught for")
    parser.add_argument("--programs", nargs="+", default=PROGRAMS, help=f"of {' '.join(PROGRAMS)}")
    parser.add_argument("--repeats", type=int, default=3)
    return parser.parse_args()


def main() -> None:
    args = parse()
    args.out.mkdir(parents=True, exist_ok=True)
    tools = _tools(args)
    runs: dict[str, list[Run]] = {tool.name: [] for tool in tools}
    seconds: dict[str, list[dict[str, float]]] = {tool.name: [] for tool in tools}
    for repeat in range(args.repeats):
        for tool in list(tools):
            place = args.out / "runs" / tool.name.replace(" ", "_") / str(repeat)
            place.mkdir(parents=True, exist_ok=True)
            for old in place.iterdir():
                old.unlink()
            try:
                run = measure(tool.command(place))
            except CommandError as failure:
                print(f"{tool.name} is left out: {failure}", file=sys.stderr, flush=True)
                tools.remove(tool)
                del runs[tool.name], seconds[tool.name]
                continue
            runs[tool.name].append(run)
            seconds[tool.name].append(tool.seconds(run.stdout))
            told = f"{run.wall_seconds:.1f} s, {run.peak_bytes / GIB:.2f} GiB"
            print(f"round {repeat + 1}, {tool.name}: {told}", flush=True)
    if not tools:
        sys.exit("no program ran")
    _tell(args, summary(runs, seconds, _agreements(args.out, tools)))


def _tools(args: argparse.Namespace) -> list[Tool]:
    scan = args.out / f"ct_{'x'.join(map(str, args.shape))}.nii.gz"
    if args.scan is not None:
        scan = stored_lps(args.scan, args.out / "scan.nii.gz", args.add)
    elif not scan.exists():
        print(f"simulating {scan}", flush=True)
        write_scan(scan, tuple(args.shape), tuple(args.spacing))
    model, folder = args.model, args.model_folder
    if folder is not None:
        model = args.out / "converted.safetensors"
        subprocess.run(
            [*MEDSEG, "convert", "nnunet", str(folder), "--folds", "0", "-o", str(model)], check=True
        )
    else:
        if model is None:
            size = NetworkSize(tuple(args.channels), args.patch, tuple(args.network_spacing))
            model = args.out / f"taught_{'_'.join(map(str, args.channels))}_{args.patch}.safetensors"
            if not model.exists():
                print(f"teaching {model} for {args.steps} steps", flush=True)
                write_model(model, size, args.steps)
        folder = write_nnunet_folder(args.out / "nnunet", load_model(model))
        if "nnunet" in args.programs:  # what medseg runs went through nnU-Net's files, too
            model = args.out / "converted.safetensors"
            subprocess.run([*MEDSEG, "convert", "nnunet", str(folder), "-o", str(model)], check=True)
    tools = []
    if "nnunet" in args.programs and args.nnunet_python is not None:
        tools.append(nnunet_tool(args.nnunet_python, folder, scan))
    if "monai" in args.programs:
        tools.append(monai_tool(model, scan))
    int8_model = args.int8_model
    if int8_model is None and "openvino:int8" in args.programs and args.model is args.model_folder is None:
        int8_model = _int8_model(args, model)
    return tools + medseg_tools(model, scan, [p for p in args.programs if ":" in p], int8_model)


def _int8_model(args: argparse.Namespace, model: Path) -> Path:
    """Calibrated on simulated patients a window and a half wide."""
    path: Path = args.out / "int8.safetensors"
    if not path.exists():
        side = args.patch * 3 // 2
        cohort = write_cohort(args.out / "cohort", (side, side, side), tuple(args.network_spacing))
        command = ["export", str(model), "--precision", "int8", "--calibrate", str(cohort), "-o", str(path)]
        subprocess.run([*MEDSEG, *command], check=True)
    return path


def _agreements(out: Path, tools: list[Tool]) -> dict[str, Agreement]:
    """With the mask of the first program, of the first round each."""
    masks = {tool.name: tool.mask(out / "runs" / tool.name.replace(" ", "_") / "0") for tool in tools}
    reference = masks[tools[0].name]
    return {name: agreement(reference, mask) for name, mask in masks.items()}


def _tell(args: argparse.Namespace, told: dict[str, object]) -> None:
    told["machine"] = {
        "processor": platform.processor() or platform.machine(),
        "cores": psutil.cpu_count(logical=False),
        "memory_bytes": psutil.virtual_memory().total,
        "python": platform.python_version(),
    }
    told["command"] = " ".join(sys.argv)
    (args.out / "bench.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    text = f"{markdown(told)}\n{dice_table(told)}"
    (args.out / "bench.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()

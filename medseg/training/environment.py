"""What a result depends on besides configuration and data: versions, code, hardware, threads, settings."""

import json
import os
import platform
import subprocess
import sys
from contextlib import suppress
from functools import cache
from hashlib import sha256
from importlib.metadata import Distribution, PackageNotFoundError, distributions, requires, version
from pathlib import Path
from typing import Any

import torch
from packaging.requirements import Requirement

import medseg
from medseg.config import Experiment
from medseg.inference.device import choose_device, choose_precision

VARIABLES = (
    "CUBLAS_WORKSPACE_CONFIG",
    "CUDA_VISIBLE_DEVICES",
    "KMP_AFFINITY",
    "MKL_CBWR",
    "MKL_NUM_THREADS",
    "NVIDIA_TF32_OVERRIDE",
    "OMP_NUM_THREADS",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "ONEDNN_MAX_CPU_ISA",
    "OPENBLAS_NUM_THREADS",
    "PYTHONHASHSEED",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
)
"""Environment variables that libraries heed and that can change numbers."""


_COMPUTING = ("torch", "numpy", "scipy", "openvino", "monai", "torchio", "SimpleITK", "nibabel", "pydicom")
"""Named once more: what an installation from a folder tells of its requirements may be old."""


def environment() -> dict[str, Any]:
    """Versions, code and hardware. Nothing of a patient, and no path."""
    return {
        "python": sys.version.split()[0],
        "system": platform.platform(),
        "packages": packages(),
        "git": _git_state(),
        "code": code_parts(),
        "hardware": _hardware(),
        "numerics": _numerics(),
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
    }


def computing(experiment: Experiment, devices: int) -> dict[str, Any]:
    """What ``auto`` came to: on another machine it may come to something else."""
    device = choose_device(experiment.training.device)
    precision = choose_precision(experiment.training.precision, device)
    return {"device": device.type, "precision": precision, "devices": devices}


def environment_mark(told: dict[str, Any]) -> str:
    """A digest of what :func:`environment` gave: two starts of a run in one environment have the same."""
    return sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


@cache
def packages() -> dict[str, str]:
    """Versions of medseg and of every library that it asks for; not those of its extras."""
    names = ["medseg", *_COMPUTING]
    for line in requires("medseg") or ():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            names.append(requirement.name)
    found = {}
    for name in dict.fromkeys(names):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


@cache
def environment_lock() -> str:
    """All that is installed, as a requirements text: ``pip install -r environment.txt`` brings it back.

    What was installed from a folder has no address that another machine knows, and is a comment.
    """
    lines = {name.lower(): line for name, line in map(_locked, distributions()) if name}
    local = any("+cpu" in line for line in lines.values())
    head = [
        f"# python {sys.version.split()[0]} on {platform.system()} {platform.machine()}",
        *(["--extra-index-url https://download.pytorch.org/whl/cpu"] if local else []),
    ]
    return "\n".join([*head, *(lines[name] for name in sorted(lines))]) + "\n"


def read_lock(text: str) -> dict[str, str]:
    """Name, in lower case, to version of what :func:`environment_lock` wrote; other lines are left out."""
    found = {}
    for line in text.splitlines():
        name, equals, told = line.removeprefix("# ").partition("==")
        if equals and told:
            found[name.strip().lower()] = told.split()[0]
    return found


def _locked(distribution: Distribution) -> tuple[str, str]:
    """The name of a distribution, and its line."""
    name, told = distribution.metadata["Name"] or "", distribution.version
    if not (origin := distribution.read_text("direct_url.json")):
        return name, f"{name}=={told}"
    try:
        source = json.loads(origin)
        commit = source["vcs_info"]["commit_id"]
        return name, f"# {name}=={told} (from its repository, commit {str(commit)[:40]})"
    except (ValueError, KeyError, TypeError):
        return name, f"# {name}=={told} (from a folder or a file)"


@cache
def code_parts() -> dict[str, str]:
    """A digest of the source of each part of medseg: a version may be the same, and its code not."""
    root = Path(medseg.__file__).resolve().parent
    digests: dict[str, Any] = {}
    for path in sorted(root.rglob("*.py")):
        inside = path.relative_to(root)
        part = f"medseg/{inside.parts[0]}"
        digest = digests.setdefault(part, sha256())
        digest.update(inside.as_posix().encode() + b"\0" + sha256(path.read_bytes()).digest())
    return {part: digest.hexdigest()[:16] for part, digest in digests.items()}


def _hardware() -> dict[str, Any]:
    return {
        "machine": platform.machine(),
        "processor": _processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }


def _numerics() -> dict[str, Any]:
    """What comes with torch, and its switch between speed and exactness."""
    return {
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        "onednn": torch.backends.mkldnn.is_available(),  # type: ignore[no-untyped-call]
        "matmul_precision": torch.get_float32_matmul_precision(),
    }


def _git_state() -> str | None:
    """Commit of the working folder, with + when files may differ from it (by size and time).

    Not ``git status``: it runs programs (a monitor, filters) that the folder's own .git/config names, and a
    folder of scans may come from anywhere.
    """
    try:
        head = _git("rev-parse", "HEAD")
        changed = _git("diff-index", "--name-only", "--ignore-submodules=all", "HEAD", "--")
    except (OSError, subprocess.SubprocessError):
        return None
    return head + ("+" if changed else "")


def _git(*arguments: str) -> str:
    command = ["git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", *arguments]
    quiet = {**os.environ, "GIT_ALLOW_PROTOCOL": "none", "GIT_OPTIONAL_LOCKS": "0"}  # nothing is fetched
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True, env=quiet)  # noqa: S603
    return done.stdout.strip()


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor()

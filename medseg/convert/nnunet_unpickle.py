"""Run as a process of its own: a checkpoint on standard input, its weights as safetensors on standard output.

Its argument says who wrote the checkpoint: ``nnunet`` or ``monai``.

This is the only place that unpickles. The process first gives up what it does not need (network, other files,
memory beyond the checkpoint's, new processes, root), as far as the system allows; then ``torch.load`` reads
tensors and plain values only. Nothing of medseg is imported here.
"""

import ctypes
import io
import json
import os
import re
import sys
from contextlib import suppress
from typing import Any

REFUSED = 3
"""Exit code when the checkpoint cannot be used; standard error says why."""

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_PR_SET_NO_NEW_PRIVS = 38
_NOBODY = 65534
_SECONDS = 600


def main() -> int:
    leave_network()  # first: a process that has threads may not
    import torch  # noqa: PLC0415
    from safetensors.torch import save  # noqa: PLC0415

    rehearse(torch, numbers=allow_numbers(torch))
    save({"weight": torch.zeros(1)})
    size = os.fstat(0).st_size
    give_up_rights(size)
    try:
        with os.fdopen(0, "rb", closefd=False) as file:
            checkpoint = torch.load(file, map_location="cpu", weights_only=True)
        weights, told = READERS[sys.argv[1]](checkpoint, torch)
        data = save(weights, {"checkpoint": json.dumps(told)})
    except Exception as error:  # noqa: BLE001 - whatever went wrong, the file cannot be used
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        reason = f"holds {found[1]}, which is not a number" if found else f"{type(error).__name__}"
        sys.stderr.write(f"\n{reason}")
        return REFUSED
    with os.fdopen(1, "wb", closefd=False) as output:
        output.write(data)
    return 0


def wanted(checkpoint: Any, torch: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The weights, each once, and what inference needs to know of the training."""
    weights = {}
    for name, value in checkpoint["network_weights"].items():
        plain = name.removeprefix("module.").removeprefix("_orig_mod.")
        if "all_modules" not in plain and not plain.startswith("decoder.encoder."):  # second names
            weights[plain] = value.to(dtype=torch.float32 if value.is_floating_point() else None).clone(
                memory_format=torch.contiguous_format
            )
    axes = checkpoint.get("inference_allowed_mirroring_axes")
    told = {
        "trainer": str(checkpoint["trainer_name"]),
        "configuration": str(checkpoint["init_args"]["configuration"]),
        "epoch": int(checkpoint.get("current_epoch", 0)),
        "mirror_axes": [int(axis) for axis in axes or ()],
    }
    return weights, told


def state_dict(checkpoint: Any, torch: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The weights of a MONAI bundle: a network's ``state_dict``, or one under ``model`` or ``state_dict``."""
    for name in ("model", "state_dict", "network"):
        if isinstance(checkpoint.get(name), dict):
            checkpoint = checkpoint[name]
    weights = {
        name.removeprefix("module."): value.to(
            dtype=torch.float32 if value.is_floating_point() else None
        ).clone(memory_format=torch.contiguous_format)
        for name, value in checkpoint.items()
    }
    return weights, {}


READERS = {"nnunet": wanted, "monai": state_dict}


def rehearse(torch: Any, numbers: list[Any]) -> None:
    """Have everything imported that loading needs, while files can still be opened."""
    file = io.BytesIO()
    torch.save({"weight": torch.zeros(1), "numbers": numbers, "device": torch.device("cpu")}, file)
    file.seek(0)
    torch.load(file, weights_only=True)


def allow_numbers(torch: Any) -> list[Any]:
    """Let NumPy's scalars pass, which nnU-Net's training log holds. Returns one of each type."""
    import numpy as np  # noqa: PLC0415
    from numpy._core.multiarray import scalar  # noqa: PLC0415

    kinds = [
        np.dtype(kind) for kind in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?")
    ]
    torch.serialization.add_safe_globals(
        [
            np.dtype,
            *(type(kind) for kind in kinds),
            (scalar, "numpy.core.multiarray.scalar"),
            (scalar, "numpy._core.multiarray.scalar"),
        ]
    )
    return [kind.type(0) for kind in kinds]


def leave_network() -> None:
    """A network namespace with nothing in it, where Linux grants one."""
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        if libc.unshare(_CLONE_NEWNET) != 0:
            libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)


def give_up_rights(size: int) -> None:
    """No more files, sockets or processes; memory and output in proportion to ``size`` bytes; not root."""
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        return
    limits = {
        resource.RLIMIT_CPU: _SECONDS,
        resource.RLIMIT_FSIZE: 2 * size + (1 << 20),
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 3,
    }
    with suppress(OSError, ValueError), open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
        pages = int(file.read().split()[0])
        limits[resource.RLIMIT_AS] = pages * resource.getpagesize() + 6 * size + (1 << 28)
    for limit, value in limits.items():
        with suppress(OSError, ValueError):
            resource.setrlimit(limit, (value, value))
    if os.geteuid() == 0:
        with suppress(OSError):
            os.setgroups([])
            os.setgid(_NOBODY)
            os.setuid(_NOBODY)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


if __name__ == "__main__":
    sys.exit(main())

"""Segments a scan in a process of its own under a memory limit, and tells what became of it as JSON.

Arguments: model, blocks of the scan (i,j,k), structures, share of the way between the least and the most need
that is allowed (below 0: less than the least).
"""

import hashlib
import json
import re
import sys
import time
from pathlib import Path

import psutil
import torch

from medseg.errors import EnvironmentProblem
from medseg.inference import Segmenter
from support.short_memory import coded_scan


def peak_rss() -> int:
    told = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert told is not None
    return int(told[1]) * 1024


def main(model: str, shape: str, structures: str, share: str) -> None:
    torch.set_num_threads(1)
    segmenter = Segmenter.load(model, device="cpu", precision="fp32")
    i, j, k = (int(n) for n in shape.split(","))
    scan = coded_scan((i, j, k), int(structures))
    least = segmenter.with_memory(1).need_bytes(scan.geometry)
    most = segmenter.need_bytes(scan.geometry)
    held = psutil.Process().memory_info().rss
    allowed = float(share)
    room = least + allowed * (most - least) if allowed >= 0 else (1 + allowed) * least
    told: dict[str, object] = {"least": least, "most": most, "held": held, "room": room}
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    began = time.perf_counter()
    try:
        mask = segmenter.with_memory(int(held + room) + 2**22)(scan)
        told["labels"] = hashlib.sha256(mask.array.tobytes()).hexdigest()
    except EnvironmentProblem as error:
        told["refused"] = str(error)
    told |= {"seconds": time.perf_counter() - began, "peak": peak_rss() - held}
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])

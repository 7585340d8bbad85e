"""Where time and memory of an inference went, as a table and as JSON."""

from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from medseg.inference.profile import STAGES, Profile, peak_rss_bytes
from medseg.inference.workspace import gib


def print_profile(profile: Profile) -> None:
    """A row a stage with its seconds and its share; below it memory, windows and speed."""
    total = sum(profile.seconds.values())
    table = Table(box=SIMPLE, header_style="bold", pad_edge=False)
    table.add_column("stage")
    table.add_column("seconds", justify="right")
    table.add_column("share", justify="right")
    for stage in STAGES:
        if stage in profile.seconds:
            seconds = profile.seconds[stage]
            table.add_row(stage, f"{seconds:.2f}", f"{100 * seconds / max(total, 1e-9):.1f} %")
    console = Console(stderr=True, highlight=False)
    console.print(table)
    if profile.beside:
        console.print("reading, preparing and writing went on beside the network, in processes of their own")
    speed = profile.voxels / max(profile.elapsed, 1e-9) / 1e6
    console.print(
        f"{profile.scans} scan(s), {profile.windows} windows, {profile.elapsed:.1f} s: "
        f"{speed:.2f} million voxels a second",
    )
    need = f", {gib(profile.needed_bytes)} were predicted" if profile.needed_bytes else ""
    console.print(f"this process took up to {gib(peak_rss_bytes())}{need}")


def profile_json(profile: Profile) -> dict[str, Any]:
    return {
        "seconds": {stage: profile.seconds.get(stage, 0.0) for stage in STAGES},
        "elapsed_seconds": profile.elapsed,
        "side_by_side": profile.beside,
        "scans": profile.scans,
        "windows": profile.windows,
        "voxels": profile.voxels,
        "peak_rss_bytes": peak_rss_bytes(),
        "predicted_bytes": profile.needed_bytes or None,
    }

"""medseg merge"""

from pathlib import Path
from typing import Annotated

import typer

from medseg.cli.options import Json


def merge(
    shards: Annotated[
        list[Path], typer.Argument(metavar="SHARD...", help="Folders that medseg infer --shard wrote.")
    ],
    out: Annotated[
        Path,
        typer.Option(
            "-o", "--out", help="Folder for summary.csv, failures.json, merged.json and report.html."
        ),
    ] = Path("merged"),
    json: Json = False,
) -> int:
    """Put the shards of a cohort together: each patient once, volumes of all, failures of all.

    Masks stay where they are; the column shard tells where. Shards of different models or settings, patients
    that are there twice, and shards that are not finished are refused.
    """
    from medseg.batch.merge import merge_shards, read_shard, write_merged
    from medseg.cli.batch_report import write_shards_report
    from medseg.cli.printing import print_json, say
    from medseg.files import write_json_atomically

    merged = merge_shards([read_shard(folder) for folder in shards])
    write_merged(merged, out)
    told = {
        "shards": [str(folder) for folder in shards],
        "patients": len(merged.rows),
        "done": merged.with_status("done"),
        "failed": merged.with_status("failed"),
        "volumes": merged.volumes(),
    }
    write_json_atomically(out / "merged.json", told)
    report = write_shards_report(merged, shards, out)
    if json:
        print_json(told)
    else:
        typer.echo(f"{told['done']} of {told['patients']} patients done, {told['failed']} failed")
        for name, volume in merged.volumes().items():
            typer.echo(
                f"{name}: median {volume['median_ml']:.2f} mL "
                f"({volume['smallest_ml']:.2f} to {volume['largest_ml']:.2f}; {volume['patients']} patients)"
            )
        say(f"table: {out / 'summary.csv'}")
        say(f"report: {report}")
    return 3 if told["failed"] else 0

"""The page of a batch, from the tables that it left."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medseg.batch.merge import Merged

PAGE = "report.html"


def write_shards_report(merged: "Merged", shards: Sequence[Path], out: Path) -> Path:
    """The page of several batches, into the folder ``out``.

    Raises:
        EnvironmentProblem: the disk is full.
    """
    from medseg.report.batch_page import BatchPage, write_batch_page

    title = f"{len(merged.rows)} patients of {len(shards)} shards"
    origin = {**merged.origin, "shards": [str(folder) for folder in shards]}
    return write_batch_page(out / PAGE, BatchPage(title, merged.rows, merged.volumes(), origin))


def write_folder_report(folder: Path) -> Path:
    """The page of the finished batch in ``folder``.

    Raises:
        CohortError: its tables are damaged, or not finished.
        EnvironmentProblem: the disk is full.
    """
    from medseg.batch.merge import merge_shards, read_shard
    from medseg.report.batch_page import BatchPage, write_batch_page

    batch = merge_shards([read_shard(folder)])
    rows = [{name: cell for name, cell in row.items() if name != "shard"} for row in batch.rows]
    page = BatchPage(f"{len(rows)} patients", rows, batch.volumes(), batch.origin)
    return write_batch_page(folder / PAGE, page)

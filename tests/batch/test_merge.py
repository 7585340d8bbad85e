"""Shards of a cohort put together: each patient once."""

import csv
import html
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from medseg.batch.merge import merge_shards, read_shard, write_merged
from medseg.cli import main
from medseg.cli.options import parse_shard
from medseg.errors import Code, CohortError, UsageError


def shard(folder: Path, rows: list[tuple[str, str, str]], **manifest: Any) -> Path:
    """``rows``: patient, status, volume."""
    folder.mkdir(parents=True)
    with (folder / "summary.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["patient", "status", "liver_ml", "mask", "code", "problem"])
        writer.writerows(
            [name, status, volume, f"{name}_seg.nii.gz", "", ""] for name, status, volume in rows
        )
    failed = [{"patient": name, "code": "E406"} for name, status, _ in rows if status == "failed"]
    if failed:
        (folder / "failures.json").write_text(json.dumps(failed))
    (folder / "manifest.json").write_text(json.dumps({"model": "a", "settings": {}, **manifest}))
    return folder


def test_all_patients_once_in_order(tmp_path: Path) -> None:
    first = shard(tmp_path / "1", [("p0", "done", "10"), ("p2", "failed", "")])
    second = shard(tmp_path / "2", [("p1", "done", "30")])
    merged = merge_shards([read_shard(first), read_shard(second)])
    assert [(row["patient"], row["shard"]) for row in merged.rows] == [("p0", "1"), ("p1", "2"), ("p2", "1")]
    assert merged.volumes()["liver"] == {
        "patients": 2, "mean_ml": 20, "median_ml": 20, "smallest_ml": 10, "largest_ml": 30,
    }  # fmt: skip
    write_merged(merged, tmp_path / "all")
    with (tmp_path / "all" / "summary.csv").open(newline="") as file:
        assert [row["patient"] for row in csv.DictReader(file)] == ["p0", "p1", "p2"]
    assert [f["patient"] for f in json.loads((tmp_path / "all" / "failures.json").read_text())] == ["p2"]


@pytest.mark.parametrize(
    ("second", "told"),
    [
        ({"rows": [("p0", "done", "1")]}, "patient p0: in"),
        ({"rows": [("p1", "not done", "")]}, "patient p1 is not done"),
        ({"rows": [("p1", "done", "1")], "model": "b"}, "another model"),
        ({"rows": [("p1", "done", "1")], "settings": {"mirror": True}}, "another settings"),
    ],
)
def test_what_does_not_belong_together_is_refused(second: dict[str, Any], told: str, tmp_path: Path) -> None:
    shards = [shard(tmp_path / "1", [("p0", "done", "1")]), shard(tmp_path / "2", **second)]
    with pytest.raises(CohortError, match=told) as caught:
        merge_shards([read_shard(folder) for folder in shards])
    assert caught.value.code == Code.SHARD


@pytest.mark.parametrize("damage", ["summary.csv", "manifest.json"])
def test_a_shard_that_is_not_whole_is_refused(damage: str, tmp_path: Path) -> None:
    folder = shard(tmp_path / "1", [("p0", "done", "1")])
    (folder / damage).unlink()
    with pytest.raises(CohortError, match="not a whole batch"):
        read_shard(folder)
    (folder / damage).write_text("nothing of ours")
    with pytest.raises(CohortError):
        read_shard(folder)


def test_the_command_line_writes_a_page_of_all_patients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "<img src=x onerror=alert(1)>"
    first = shard(tmp_path / "1", [("p0", "done", "10"), (name, "failed", "")])
    second = shard(tmp_path / "2", [("'=p1", "done", "30"), ("p2", "done", "20.5")])
    out = tmp_path / "all"
    monkeypatch.setattr(sys, "argv", ["medseg", "merge", str(first), str(second), "-o", str(out), "--json"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 3, "one failed"
    assert json.loads(capsys.readouterr().out)["done"] == 3
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in page and "<img" not in page and "&lt;img src=x" in page
    cells = re.findall(r'<th scope="row" data-order="[^"]*">([^<]*)</th>', page)
    assert [html.unescape(cell) for cell in cells] == [name, "=p1", "p0", "p2"], "failed ones first"
    assert '<th scope="row"><span class="swatch s0" aria-hidden="true"></span>liver</th><td>3</td>' in page
    assert "<dt>shards</dt>" in page and str(second) in page


def test_shards_are_written_as_number_and_count() -> None:
    assert parse_shard("2/8") == (2, 8)
    for wrong in ("0/8", "9/8", "2", "a/b", "-1/2", "1/"):
        with pytest.raises(UsageError, match="NUMBER/COUNT"):
            parse_shard(wrong)

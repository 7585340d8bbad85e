"""The record of a folder: a line that is torn or damaged costs that patient alone, and nothing raises."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medseg.batch.record import Entry, Record
from medseg.errors import EnvironmentProblem

DONE = Entry(status="done", model="m", settings="s", inputs=["i"], volumes_ml={"a": 0.1 + 0.2})
FAILED = Entry(status="failed", code="E407", problems=["damaged"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / ".medseg").mkdir()
    record = Record(tmp_path)
    record.add("a", DONE, "seen a")
    record.add("b", FAILED)
    return tmp_path


def test_what_was_added_is_known_to_the_next_run(folder: Path) -> None:
    again = Record(folder)
    assert again.entries == {"a": DONE, "b": FAILED}
    assert again.seen["a"] == "seen a"
    assert not again.damaged


def test_a_torn_line_is_left_out_and_the_next_one_is_whole(folder: Path) -> None:
    journal = folder / ".medseg" / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-10])
    record = Record(folder)
    assert set(record.entries) == {"a"}
    assert record.damaged
    record.add("c", DONE)
    assert set(Record(folder).entries) == {"a", "c"}


def test_a_changed_line_is_left_out(folder: Path) -> None:
    journal = folder / ".medseg" / "journal.jsonl"
    journal.write_text(journal.read_text().replace("E407", "E408"))
    assert set(Record(folder).entries) == {"a"}


def test_merging_keeps_masks_of_other_patients_apart(folder: Path) -> None:
    record = Record(folder)
    record.add("old", DONE)
    record.merge({"a", "b"}, "m", {"precision": "fp32"})
    told = json.loads((folder / "manifest.json").read_text())
    assert (list(told["patients"]), list(told["others"])) == (["a", "b"], ["old"])
    (folder / ".medseg" / "journal.jsonl").unlink()
    assert set(Record(folder).entries) == {"a", "b", "old"}, "from the manifest alone"


def test_the_manifest_depends_on_the_results_alone(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    (other / ".medseg").mkdir()
    record = Record(other)
    for name, entry in (("b", DONE), ("b", FAILED), ("a", DONE)):
        record.add(name, entry, "seen at another time")
    for one in (Record(folder), record):
        one.merge({"a", "b"}, "m", {})
    assert (folder / "manifest.json").read_bytes() == (other / "manifest.json").read_bytes()


def test_a_journal_that_cannot_be_written_is_named(folder: Path) -> None:
    record = Record(folder)
    (folder / ".medseg" / "journal.jsonl").unlink()
    (folder / ".medseg" / "journal.jsonl").mkdir()
    with pytest.raises(EnvironmentProblem, match=r"journal\.jsonl"):
        record.add("c", DONE)


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_whatever_the_files_hold_nothing_else_is_raised(
    tmp_path_factory: pytest.TempPathFactory, manifest: bytes, journal: bytes
) -> None:
    folder = tmp_path_factory.mktemp("any")
    (folder / ".medseg").mkdir()
    (folder / "manifest.json").write_bytes(manifest)
    (folder / ".medseg" / "journal.jsonl").write_bytes(journal)
    assert Record(folder).entries == {}

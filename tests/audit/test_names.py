"""Names of findings are stable: each is in the documentation."""

from pathlib import Path

from medseg.audit.check import EXPLAINS
from medseg.audit.findings import KINDS

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "checking.md").read_text()


def test_each_kind_is_documented() -> None:
    assert [name for name in KINDS if f"`{name}`" not in TEXT] == []


def test_what_explains_and_is_explained_has_a_name() -> None:
    assert set(EXPLAINS) | {name for hidden in EXPLAINS.values() for name in hidden} <= set(KINDS)

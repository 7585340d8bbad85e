"""G33: every code has an entry in docs/errors.md, a place that raises it, a fix in its message, and a cause
that is tried here."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from medseg.batch.results import PatientResult
from medseg.errors import Code, MedsegError
from support.provoke_batches import BATCHES, supervisor
from support.provoke_others import OTHERS
from support.provoke_volumes import VOLUMES

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
PROVOKED = {**VOLUMES, **OTHERS, **BATCHES}
FIX_VERBS = """
    add allow ask check choose close convert copy correct create download drop export extract free get give
    install keep leave look lower make mend move name pass please put raise read remove rename repair report
    resample rewrite run save set split stop take test train try unpack upgrade use wait write
""".split()  # noqa: SIM905 - read as words
_FIX = re.compile(rf"[:;,] (?:or |and |then )?(?:{'|'.join(FIX_VERBS)})\b|did you mean|nearest that fits")


@pytest.fixture(scope="module", autouse=True)
def _ended_supervisor() -> Iterator[None]:
    yield
    supervisor().close()
    supervisor.cache_clear()


def page_entries() -> dict[str, str]:
    """Heading (``E406 TRUNCATED``) to the text below it."""
    parts = re.split(r"^## (E\d{3} [A-Z0-9_]+)$", PAGE, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@cache
def codes_raised() -> dict[str, set[str]]:
    """Names of the codes that each file of the package uses, the enumeration itself left out."""
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / "medseg").rglob("*.py")):
        if path.name == "errors.py":
            continue
        names = {
            node.attr
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "Code"
        }
        found[str(path.relative_to(ROOT))] = names
    return found


def test_page_and_codes_are_the_same() -> None:
    assert sorted(page_entries()) == sorted(f"{code} {code.name}" for code in Code)


def test_codes_and_provocations_are_the_same() -> None:
    assert PROVOKED.keys() == set(Code)
    assert len(PROVOKED) == len(VOLUMES) + len(OTHERS) + len(BATCHES)


def test_codes_raised_are_codes() -> None:
    assert set().union(*codes_raised().values()) <= {code.name for code in Code}


def is_fix(problem: str) -> bool:
    return _FIX.search(problem) is not None


def test_a_complaint_alone_is_no_fix() -> None:
    assert not is_fix("a.nii: truncated, 3 bytes found, 4 expected")
    assert is_fix("a.nii: truncated, 3 bytes found, 4 expected; copy the file anew")


@pytest.mark.row("G33")
@pytest.mark.parametrize("code", Code, ids=lambda code: code.name)
def test_every_code_has_its_page_its_fix_and_its_cause(
    code: Code, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = page_entries()[f"{code} {code.name}"]
    assert "**Do:**" in entry and len(entry) > 60
    assert any(code.name in names for names in codes_raised().values()), "nobody raises it"
    monkeypatch.setenv("MEDSEG_CACHE", str(tmp_path / "cache"))
    told: list[str] = []
    try:
        result = PROVOKED[code](tmp_path)
    except MedsegError as error:
        told = list(error.told)
        told += [
            f"{line} [{inner}]" for line in error.problems for inner in re.findall(r"\[(E\d{3})\]", line)
        ]
    else:
        assert isinstance(result, PatientResult), "nothing was refused"
        told = [f"{problem} [{result.code}]" for problem in result.problems]
    own = [problem for problem in told if problem.endswith(f"[{code}]")]
    assert own, told
    assert any(is_fix(problem) for problem in own), own
    assert all("\n" not in problem and problem.isprintable() for problem in own)

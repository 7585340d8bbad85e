"""Names of files and cases."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medseg.data import Case
from medseg.data.naming import looks_like_image, looks_like_label, safe_id, star_pattern, without_role
from medseg.errors import CohortError


@settings(max_examples=50)
@given(st.text(max_size=200))
def test_safe_names_stay_in_their_folder(text: str) -> None:
    name = safe_id(text)
    assert safe_id(name) == name
    assert Path("/out", name).parent == Path("/out") and Path("/out", name).name == name
    assert name.isprintable() and not name.startswith(".")
    assert len(name.encode()) <= 160
    assert Case(name, (Path("x.nii"),)).patient == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "../a", "a\\b", "a\nb", ".hidden", "a\u202eb", "x" * 300]
)
def test_unsafe_names_are_refused(name: str) -> None:
    with pytest.raises(CohortError, match="not a safe file name"):
        Case(name, (Path("x.nii"),))


def test_a_case_has_an_image() -> None:
    with pytest.raises(CohortError, match="no image"):
        Case("a", ())


@pytest.mark.parametrize(
    "stem", ["ct", "CT", "planning_ct", "ct1", "T2", "t1w", "MR", "mri", "image_01", "scan", "vol_ct"]
)
def test_images(stem: str) -> None:
    assert looks_like_image(stem) and not looks_like_label(stem)


@pytest.mark.parametrize(
    "stem", ["label", "ct_seg", "Segmentation", "gtv", "ctv", "t1_mask", "organs", "tumor", "RTSTRUCT"]
)
def test_labels(stem: str) -> None:
    assert looks_like_label(stem) and not looks_like_image(stem)


@pytest.mark.parametrize("stem", ["dose", "structural", "p01", "product"])
def test_neither(stem: str) -> None:
    assert not looks_like_label(stem)
    assert stem == "product" or not looks_like_image(stem)


def test_roles_and_patterns() -> None:
    assert {without_role(stem) for stem in ("p01", "p01_seg", "p01-label", "p01.mask", "p01_ct")} == {"p01"}
    match = star_pattern("*_t2_*.nii.gz").fullmatch("p01_t2_x.nii.gz")
    assert match is not None and match.group(1) == "p01"
    assert star_pattern("a.b").fullmatch("axb") is None

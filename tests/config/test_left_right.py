"""Left and right from the names of structures."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medseg.config import find_left_right_pairs

words = st.sampled_from(["kidney", "femoral_head", "parotid gland", "lung lower", "L4", "rib_7"])
sides = st.sampled_from([("left", "right"), ("Left", "Right"), ("L", "R"), ("l", "r")])
shapes = st.sampled_from(
    ["{side}_{word}", "{word}_{side}", "{word} {side}", "{word} ({side})", "{side}-{word}"]
)


@given(words, sides, shapes, st.booleans())
def test_names_that_differ_in_their_side_only(
    word: str, side: tuple[str, str], shape: str, turned: bool
) -> None:
    left, right = (shape.format(side=name, word=word) for name in side)
    names = ("liver", right, left) if turned else (left, "liver", right)
    assert find_left_right_pairs(names) == ((left, right),)


@pytest.mark.parametrize(
    "names",
    [
        ("left_kidney", "liver"),
        ("l4", "r5"),
        ("cleft", "cright"),
        ("leftover", "rightover"),
        ("left_lung", "right_kidney"),
        ("lung", "rung"),
        (),
    ],
)
def test_names_that_are_no_pair(names: tuple[str, ...]) -> None:
    assert find_left_right_pairs(names) == ()


def test_several_pairs_keep_their_order() -> None:
    names = ("parotid_right", "parotid_left", "mandible", "eye_l", "eye_r")
    assert find_left_right_pairs(names) == (("parotid_left", "parotid_right"), ("eye_l", "eye_r"))

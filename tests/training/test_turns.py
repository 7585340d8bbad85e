"""Which structure a patch is centred on, where some were not drawn in all cases."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from medseg.training.dataset import turns


def test_all_take_equal_turns_where_all_was_drawn():
    assert turns([(True, True, True)] * 3) is None
    assert turns([]) is None


def test_what_few_cases_show_has_its_turn_there_the_oftener():
    found = turns([(True, True, True, False)] * 6 + [(True, True, False, False)] * 3)
    assert found is not None
    nowhere_to_be = 1  # what was never drawn
    np.testing.assert_allclose(found, [0, 1 / 9, 1 / 6, nowhere_to_be], rtol=1e-6)


@given(st.integers(1, 6).flatmap(lambda n: st.lists(st.tuples(*[st.booleans()] * n), min_size=1)))
def test_rarer_is_never_lighter(rows: list[tuple[bool, ...]]):
    drawn = np.sum(rows, axis=0)
    found = turns([(True, *row) for row in rows])
    if found is None:
        assert len(set(drawn)) == 1
    else:
        assert found[0] == 0 and len(found) == 1 + len(drawn)
        pairs = list(zip(drawn, found[1:], strict=True))
        assert all(weight >= other for n, weight in pairs for m, other in pairs if n <= m)

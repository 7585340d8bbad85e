"""The plots are well-formed, say what they show, and take any name."""

import statistics
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medseg.evaluation.case import Status, StructureScore
from medseg.report.agreement import agreement, plot_agreement
from medseg.report.marks import MOST_NAMED, Mark
from medseg.report.plots import plot_loss, plot_spread, plot_validation, smoothed
from medseg.report.svg import Drawing, Scale, tick_text

HOSTILE = "<script>alert('x')</script> & \"quotes\" {{ 7*7 }}"


def mark(dice: float | None, status: Status = "scored", case: str = "p1") -> Mark:
    return Mark(case, StructureScore("liver", status, 10.0, 12.0 if dice else 0.0, {"dice": dice}))


def texts(svg: str, tag: str) -> list[str]:
    return [each.text or "" for each in ElementTree.fromstring(svg).iter(tag)]  # noqa: S314 - our own drawing


def test_every_case_is_a_dot_with_its_name() -> None:
    svg = plot_spread({"liver": [mark(0.9), mark(0.0, "missed", HOSTILE)], "spleen": [mark(None)]})
    assert "p1: Dice 0.900" in texts(svg, "title")
    assert f"{HOSTILE}: Dice 0.000 (missed)" in texts(svg, "title")
    assert {"liver", "spleen", "no case to measure"} <= set(texts(svg, "text"))
    assert "<script>" not in svg and svg.count("hollow") == 1


def volumes(reference: float | None, predicted: float | None, status: Status = "scored") -> Mark:
    return Mark("p1", StructureScore("liver", status, reference, predicted, {}))


def test_agreement_needs_something_to_compare() -> None:
    nothing = [volumes(None, 3.0, "not_contoured"), volumes(5.0, None, "missed"), volumes(0, 0, "both_empty")]
    assert plot_agreement("liver", 0, nothing) is None and agreement(nothing) is None
    svg = plot_agreement(HOSTILE, 3, [*nothing, volumes(10.0, 12.0)])
    assert svg is not None and "<script>" not in svg
    assert "p1: +2 mL at 11 mL" in texts(svg, "title")
    assert "bias +2 mL, n = 1" in texts(svg, "text"), "one case has no limits"


@given(st.lists(st.tuples(st.floats(0, 1e4), st.floats(0, 1e4)), min_size=2, max_size=30))
def test_bias_and_limits_are_those_of_bland_and_altman(pairs: list[tuple[float, float]]) -> None:
    told = agreement([volumes(reference, predicted) for reference, predicted in pairs])
    differences = [predicted - reference for reference, predicted in pairs]
    assert told is not None and told.low is not None and told.high is not None
    assert told.bias == pytest.approx(statistics.fmean(differences), abs=1e-6)
    assert told.high - told.bias == pytest.approx(1.96 * statistics.stdev(differences), abs=1e-6)
    assert told.bias - told.low == pytest.approx(told.high - told.bias, abs=1e-6)
    drawn = plot_agreement("liver", 0, [volumes(reference, predicted) for reference, predicted in pairs])
    assert drawn is not None and "nan" not in drawn


def test_large_cohorts_are_drawn_as_one_path() -> None:
    many = [volumes(10.0 + at / 100, 11.0) for at in range(MOST_NAMED + 1)]
    svg = plot_agreement("liver", 2, many)
    assert svg is not None and svg.count("<circle") == 0 and svg.count("h0") == len(many)
    assert len(svg) < 30 * len(many)
    wide = plot_spread({"liver": [mark(0.5 + at / 1000) for at in range(300)] + [mark(0.0, "missed")]})
    assert wide.count("h0") == 301 and 'class="dots hollow s0"' in wide


def test_curves_come_from_the_rows_that_have_them() -> None:
    rows: list[dict[str, float]] = [{"step": step, "loss": 1 / step} for step in range(1, 40)]
    rows.append({"step": 20, "validation_dice": 0.5, "validation_dice/liver": 0.4})
    rows.append({"step": 39, "validation_dice": 0.7, "validation_dice/liver": float("nan")})
    loss, validation = plot_loss(rows), plot_validation(rows, ["liver", "spleen"])
    assert loss is not None and validation is not None
    assert "mean over structures, step 39: 0.700" in texts(validation, "title")
    assert "liver, step 20: 0.400" in texts(validation, "title")
    assert plot_loss([]) is None and plot_validation(rows[:39], ["liver"]) is None


def test_not_finite_losses_are_left_out() -> None:
    rows = [
        {"step": step, "loss": value}
        for step, value in enumerate([1.0, float("nan"), 0.5, float("inf"), 0.2])
    ]
    svg = plot_loss(rows)
    assert svg is not None and "nan" not in svg and "inf" not in svg


def test_long_logs_stay_small() -> None:
    rows = [{"step": step, "loss": 1.0} for step in range(4_000)]
    svg = plot_loss(rows)
    assert svg is not None and len(svg) < 40_000


def test_smoothing_is_the_mean_of_the_last_values() -> None:
    values = np.array([4.0, 2.0, np.nan, 6.0])
    assert smoothed(values, 2).tolist() == [4.0, 3.0, 2.0, 6.0]


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(2, 8))
def test_ticks_are_inside_and_even(low: float, extent: float, about: int) -> None:
    scale = Scale(low, low + extent, 0, 100)
    ticks = scale.ticks(about)
    assert all(low - extent * 1e-6 <= tick <= low + extent * (1 + 1e-6) for tick in ticks)
    assert len(ticks) <= about + 1
    if len(ticks) > 2:
        assert np.allclose(np.diff(ticks), ticks[1] - ticks[0], rtol=1e-5)


@pytest.mark.parametrize(("value", "text"), [(0.25, "0.25"), (1500, "1500"), (20000, "20k"), (0, "0")])
def test_tick_text(value: float, text: str) -> None:
    assert tick_text(value) == text


def test_path_of_one_point_draws_nothing() -> None:
    drawing = Drawing(10, 10, HOSTILE)
    drawing.path([(1, 1)], "curve")
    assert "<path" not in drawing.finish() and "<script>" not in drawing.finish()

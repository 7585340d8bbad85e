"""What is paired with what, what is refused, and what is told."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from medseg.comparison import Comparison, Row, compare, read_evaluations
from medseg.errors import Code, CohortError, UsageError
from support.compared import WORST_MM, failed, scored, structure, write

A_AND_B = [structure("a", 0.8), structure("b", 0.6)]


def pair(tmp_path: Path, first: Sequence, second: Sequence, *metrics: str, **options: object) -> Comparison:
    folders = [write(tmp_path / "one", *first), write(tmp_path / "two", *second)]
    return compare(read_evaluations(folders), metrics or ("dice",), **options)  # type: ignore[arg-type]


def row(comparison: Comparison, name: str, metric: str = "dice") -> Row:
    return next(r for r in comparison.pairs[0].rows if (r.structure, r.metric) == (name, metric))


def test_a_case_in_one_alone_is_told(tmp_path: Path) -> None:
    found = pair(tmp_path, [scored("1", *A_AND_B), scored("2", *A_AND_B)], [scored("1", *A_AND_B)])
    assert [(each.case, each.reason) for each in found.pairs[0].left_out] == [("2", "not in two")]
    assert row(found, "a").cases == row(found, "a").left_out == 1


def test_a_missed_organ_and_a_failed_case_count_with_their_worst(tmp_path: Path) -> None:
    missed = structure("a", None, "missed")
    first = [scored(case, structure("a", 0.8)) for case in "123"]
    second = [scored("1", missed), failed("2", missed), scored("3", structure("a", 0.8))]
    found = pair(tmp_path, first, second, "dice", "hd95")
    dice, hd95 = row(found, "a"), row(found, "a", "hd95")
    assert dice.cases == hd95.cases == 3
    assert dice.difference == pytest.approx(-1.6 / 3)
    assert hd95.other_mean == pytest.approx((2 * WORST_MM + 7) / 3)
    assert (hd95.wins, hd95.ties, hd95.losses) == (0, 1, 2)
    assert {each.pair.other_status for each in found.pairs[0].cases} == {"missed", "failed", "scored"}


def test_an_invented_organ_is_seen_against_its_right_absence(tmp_path: Path) -> None:
    absent, invented = structure("a", None, "both_empty", 0.0), structure("a", None, "false_positive", 0.0)
    first = [scored("1", absent), scored("2", invented), scored("3", absent)]
    second = [scored("1", invented), scored("2", absent), scored("3", absent)]
    found = pair(tmp_path, first, second, "dice", "hd95")
    cases = {each.pair.case: each.pair for each in found.pairs[0].cases if each.metric == "hd95"}
    assert (cases["1"].baseline, cases["1"].other) == (0.0, WORST_MM)
    assert [(p.pair.case, p.pair.difference) for p in found.pairs[0].cases[:2]] == [("1", -1.0), ("2", 1.0)]
    assert row(found, "a").unmeasured == 1
    assert row(found, "a").cases == 2


def test_a_failed_case_without_reference_is_told(tmp_path: Path) -> None:
    found = pair(tmp_path, [scored("1", *A_AND_B), scored("2", *A_AND_B)],
                 [scored("1", *A_AND_B), failed("2")])  # fmt: skip
    assert [each.reason for each in found.pairs[0].left_out] == ["dice is undefined in two (failed)"] * 2


def test_the_mean_is_of_what_is_paired_in_each_case(tmp_path: Path) -> None:
    unknown = structure("b", None, "not_contoured", None, "")
    first = [scored("1", *A_AND_B), scored("2", structure("a", 0.5), unknown)]
    second = [
        scored("1", structure("a", 0.9), structure("b", 0.9)),
        scored("2", structure("a", 0.7), unknown),
    ]
    found = row(pair(tmp_path, first, second), "mean of structures")
    assert found.cases == 2
    assert found.difference == pytest.approx((0.2 + 0.2) / 2)


def test_scans_of_one_patient_are_tested_as_one(tmp_path: Path) -> None:
    scans = [(patient, scan) for patient in range(6) for scan in range(4)]
    tables = [
        [scored(f"{p}-{s}", structure("a", 0.5 + 0.01 * p * better), patient=f"p{p}") for p, s in scans]
        for better in (0, 1)
    ]
    found = row(pair(tmp_path, *tables), "a")
    assert (found.cases, found.patients, found.wins, found.ties) == (24, 6, 20, 4)
    assert found.test is not None
    assert found.test.p == 2 * 0.5**5


def test_a_patient_that_only_one_evaluation_knows_is_used(tmp_path: Path) -> None:
    known = [scored(str(n), structure("a", 0.8), patient=f"p{n // 2}") for n in range(4)]
    alone = [scored(str(n), structure("a", 0.7)) for n in range(4)]
    assert row(pair(tmp_path, alone, known), "a").patients == 2


def test_one_case_of_two_patients_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="case 1: given to 2 different patients") as caught:
        pair(tmp_path, [scored("1", *A_AND_B, patient="p")], [scored("1", *A_AND_B, patient="q")])
    assert caught.value.code is Code.NOT_COMPARABLE


@pytest.mark.parametrize(
    "changed",
    [structure("a", 0.8, tag="other"), structure("a", 0.8, reference_ml=11.0, tag=""),
     structure("a", None, "not_contoured", None, "")],
)  # fmt: skip
def test_other_references_are_refused_unless_it_is_said(tmp_path: Path, changed: object) -> None:
    first, second = (
        [scored("1", *A_AND_B), scored("2", *A_AND_B)],
        [scored("1", changed), scored("2", *A_AND_B)],
    )
    with pytest.raises(CohortError, match=r"differ in 1 of 2 common cases \(1\).*--different-references"):
        pair(tmp_path, first, second)
    found = pair(tmp_path, first, second, different_references=True)
    assert "references differ in 1 of 2" in found.pairs[0].notes[0]


def test_other_rules_of_the_metric_are_refused(tmp_path: Path) -> None:
    folders = [
        write(tmp_path / name, scored("1", *A_AND_B), rules=(f"NSD tolerance: {mm} mm.", "else"))
        for name, mm in (("one", 2), ("two", 3))
    ]
    evaluations = read_evaluations(folders)
    assert compare(evaluations, ("dice",)).pairs
    with pytest.raises(
        CohortError, match=r"nsd by different rules \(NSD tolerance: 2 mm; NSD tolerance: 3 mm\)"
    ):
        compare(evaluations, ("nsd",))


def test_no_case_in_common(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="no case in common"):
        pair(tmp_path, [scored("1", *A_AND_B)], [scored("2", *A_AND_B)])


def test_metrics_are_known_and_there(tmp_path: Path) -> None:
    folders = [write(tmp_path / name, scored("1", *A_AND_B)) for name in ("one", "two")]
    evaluations = read_evaluations(folders)
    with pytest.raises(UsageError, match=r"--metric dise: not a metric.*give one of dice"):
        compare(evaluations, ("dise",))
    with pytest.raises(UsageError, match="--metric assd: one and two have no pair"):
        compare(evaluations, ("assd",))
    whole = compare(evaluations, ("overall_pixel_accuracy",)).pairs[0].rows
    assert [each.structure for each in whole] == ["whole volume"]


def test_volume_errors_are_compared_without_their_sign(tmp_path: Path) -> None:
    found = pair(
        tmp_path, [scored("1", structure("a", 0.9))], [scored("1", structure("a", 0.6))], "volume_error_ml"
    )
    assert row(found, "a", "volume_error_ml").losses == 1


def test_a_margin_makes_ties(tmp_path: Path) -> None:
    first = [scored(str(n), structure("a", 0.8)) for n in range(3)]
    second = [
        scored("0", structure("a", 0.81)),
        scored("1", structure("a", 0.82)),
        scored("2", structure("a", 0.7)),
    ]
    found = row(pair(tmp_path, first, second, tie=0.015), "a")
    assert (found.wins, found.ties, found.losses) == (1, 1, 1)


def test_all_pairs_or_all_with_the_first(tmp_path: Path) -> None:
    folders = [write(tmp_path / name, scored("1", *A_AND_B)) for name in ("x/run", "y/run", "z/run")]
    evaluations = read_evaluations([folders[0], folders[1] / "cases.csv", folders[2]])
    assert [each.name for each in evaluations] == ["x/run", "y/run", "z/run"]
    assert len(compare(evaluations).pairs) == 2
    assert [(p.baseline, p.other) for p in compare(evaluations, all_pairs=True).pairs][-1] == (
        "y/run",
        "z/run",
    )


def test_what_is_given_must_be_there_and_different(tmp_path: Path) -> None:
    folder = write(tmp_path / "one", scored("1", *A_AND_B))
    with pytest.raises(UsageError, match="give two or more"):
        read_evaluations([folder])
    with pytest.raises(UsageError, match="given twice"):
        read_evaluations([folder, folder / "cases.csv"])
    with pytest.raises(UsageError, match=r"no cases\.csv there; give a finished run"):
        read_evaluations([folder, tmp_path])
    (folder / "summary.json").write_text("{", encoding="utf-8")
    with pytest.raises(CohortError, match="no summary that medseg wrote"):
        read_evaluations([folder, write(tmp_path / "two", scored("1", *A_AND_B))])


def test_a_verdict_needs_the_mean_and_the_ranks_to_agree(tmp_path: Path) -> None:
    first = [scored(f"{n:02d}", structure("a", 0.8)) for n in range(20)]
    gains = [0.01 + 0.001 * n for n in range(18)]
    clear = [scored(f"{n:02d}", structure("a", 0.8 + gain)) for n, gain in enumerate([*gains, 0.01, 0.01])]
    torn = [*clear[:18], *(scored(f"{n}", structure("a", None, "missed")) for n in (18, 19))]
    assert row(pair(tmp_path / "a", first, clear), "a").verdict == "better"
    assert row(pair(tmp_path / "b", clear, first), "a").verdict == "worse"
    assert row(pair(tmp_path / "c", first, clear, "hd95"), "a", "hd95").verdict == "better"
    assert row(pair(tmp_path / "d", first, torn), "a").verdict == "mixed"
    assert row(pair(tmp_path / "e", first, first), "a").verdict == "not shown"

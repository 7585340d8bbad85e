"""Rows of a comparison as a reader sees them, on the page and in the terminal."""

from medseg.comparison.compare import Row
from medseg.report.words import NONE, format_value

COLUMNS = (
    "Verdict", "Difference", "95 % interval", "p (Holm)", "p", "Baseline", "Other", "Rank-biserial",
    "Cohen's dz", "Win / tie / loss", "Cases / patients",
)  # fmt: skip


def row_texts(row: Row) -> tuple[str, ...]:
    """A text for each of ``COLUMNS``; a dash where a number is not defined."""
    test = row.test
    return (
        row.verdict,
        format_value(row.metric, row.difference, signed=True),
        interval(row),
        p_value(row.p_holm),
        p_value(test.p if test else None),
        format_value(row.metric, row.baseline_mean),
        format_value(row.metric, row.other_mean),
        format_value("", test.rank_biserial if test else None, signed=True),
        format_value("", row.cohen_dz, signed=True),
        f"{row.wins} / {row.ties} / {row.losses}",
        f"{row.cases} / {row.patients}",
    )


def interval(row: Row) -> str:
    if row.low is None or row.high is None:
        return NONE
    low, high = (format_value(row.metric, bound, signed=True) for bound in (row.low, row.high))
    return f"{low} to {high}"


def p_value(p: float | None) -> str:
    """Three decimals, as in 0.012; smaller ones as < 0.001."""
    if p is None:
        return NONE
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def cautions(row: Row) -> str | None:
    """What must be said beside a row, in one line."""
    if row.test is not None and row.test.smallest_p > 0.05:
        return (
            f"{row.structure}, {row.metric}: too few pairs differ; the smallest p possible is "
            f"{row.test.smallest_p:.2g}, so nothing can be shown"
        )
    return None

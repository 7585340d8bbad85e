"""From scores to statements: means with their intervals, spreads and counts, by structure and over all."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from medseg.errors import Code, UsageError
from medseg.evaluation.bootstrap import (
    INTERVAL,
    RESAMPLES,
    Interval,
    Resampled,
    bca_interval,
    resample_patients,
)
from medseg.evaluation.case import CaseScore, FailedCase
from medseg.evaluation.rules import RULES

_OVERALL = ""  # stands for the whole volume where a structure's name would be


@dataclass(frozen=True)
class MetricSummary:
    """One metric over cases. All but ``n`` are None when no case defines it (``sd`` also when one does).

    ``low`` and ``high`` bound the mean at 95 % (see ``INTERVAL``; None with fewer than two patients); ``iqr``
    is the 75th minus the 25th percentile (``q1`` and ``q3``).
    """

    mean: float | None
    low: float | None
    high: float | None
    sd: float | None
    median: float | None
    iqr: float | None
    minimum: float | None
    maximum: float | None
    n: int
    q1: float | None = None
    q3: float | None = None


@dataclass(frozen=True)
class Counts:
    """How many cases stand how. ``expected`` = ``predicted`` + ``failed``.

    Failed cases whose reference is at hand are also in ``missed`` (or ``not_contoured``); the other failed
    ones are in ``failed_without_reference``.
    """

    expected: int
    predicted: int
    failed: int
    failed_without_reference: int
    scored: int
    missed: int
    false_positive: int
    both_empty: int
    not_contoured: int


@dataclass(frozen=True)
class StructureSummary:
    structure: str
    counts: Counts
    metrics: Mapping[str, MetricSummary]


@dataclass(frozen=True)
class Summary:
    """A whole evaluation.

    ``structures``: one by one, in the order of the labels. ``mean``: metric name to the mean over structures
    of the structures' means (``n`` counts structures; ``low``/``high`` bootstrap patients). ``overall``:
    pixel accuracies over all classes of each volume. ``cases``: how many are expected, predicted, failed and
    failed_without_reference. ``rules`` are printed beside the means.
    """

    structures: tuple[StructureSummary, ...]
    mean: Mapping[str, MetricSummary]
    overall: Mapping[str, MetricSummary]
    cases: Mapping[str, int]
    failures: tuple[FailedCase, ...]
    rules: tuple[str, ...]
    interval: str


def summarise(
    scores: Sequence[CaseScore],
    failed: Sequence[FailedCase] = (),
    *,
    expected: Iterable[str] = (),
    rules: tuple[str, ...] = RULES,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Summary:
    """Put cases together.

    Args:
        scores: one for each case with a prediction.
        failed: the cases without; with their ``structures`` they count as missed.
        expected: ids of all cases that should be there; those neither scored nor failed count as failed.
        rules: printed beside the means; ``rules_for(config)`` adds the tolerance of NSD.
        seed: of the bootstrap.
        resamples: of the bootstrap.

    Raises:
        UsageError: a case is there twice.
    """
    known = [score.case for score in scores] + [failure.case for failure in failed]
    twice = sorted(case for case, times in Counter(known).items() if times > 1)
    UsageError.raise_if(
        Code.PAIRING,
        (f"case {case}: scored more than once; give each case one prediction" for case in twice),
    )
    lost = (
        FailedCase(case, case, "no prediction") for case in dict.fromkeys(expected) if case not in set(known)
    )
    failures = (*failed, *lost)
    table = _Table.of(scores, failures)
    drawn = (
        resample_patients(table.patients, table.values, seed=seed, resamples=resamples)
        if table.patients
        else None
    )
    cases = {
        "expected": len(scores) + len(failures),
        "predicted": len(scores),
        "failed": len(failures),
        "failed_without_reference": sum(not failure.structures for failure in failures),
    }
    structures = tuple(
        StructureSummary(name, _count(name, scores, failures, cases), table.summaries(name, drawn))
        for name in table.structures
    )
    mean = {metric: table.mean_over_structures(metric, drawn) for metric in table.metrics}
    return Summary(
        structures, mean, table.summaries(_OVERALL, drawn), cases, failures, rules, INTERVAL.format(resamples)
    )


def _count(
    name: str, scores: Sequence[CaseScore], failures: Sequence[FailedCase], cases: Mapping[str, int]
) -> Counts:
    found = [case.structures for case in scores] + [failure.structures for failure in failures]
    times = Counter(one.status for structures in found for one in structures if one.structure == name)
    return Counts(
        **cases,
        scored=times["scored"],
        missed=times["missed"],
        false_positive=times["false_positive"],
        both_empty=times["both_empty"],
        not_contoured=times["not_contoured"],
    )


@dataclass(frozen=True, eq=False)
class _Table:
    """All values as one matrix: a row a case, a column a pair of (structure, metric); NaN is undefined."""

    patients: tuple[str, ...]
    columns: Mapping[tuple[str, str], int]
    values: Float64[np.ndarray, "n m"]

    @classmethod
    def of(cls, scores: Sequence[CaseScore], failures: Sequence[FailedCase]) -> "_Table":
        overall_names = dict.fromkeys(metric for score in scores for metric in score.overall)
        worst = dict.fromkeys(overall_names, 0.0)
        rows = [(score.patient or score.case, score.structures, score.overall) for score in scores]
        rows += [(failure.patient or failure.case, failure.structures, worst) for failure in failures]
        cells: list[dict[tuple[str, str], float | None]] = []
        for _, structures, overall in rows:
            row = {
                (one.structure, metric): value for one in structures for metric, value in one.values.items()
            }
            cells.append(row | {(_OVERALL, metric): value for metric, value in overall.items()})
        columns = {
            key: column for column, key in enumerate(dict.fromkeys(key for row in cells for key in row))
        }
        values = np.full((len(rows), len(columns)), np.nan)
        for index, row in enumerate(cells):
            for key, value in row.items():
                values[index, columns[key]] = np.nan if value is None else value
        return cls(tuple(patient for patient, _, _ in rows), columns, values)

    @property
    def structures(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for name, _ in self.columns if name != _OVERALL))

    @property
    def metrics(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(metric for name, metric in self.columns if name != _OVERALL))

    def summaries(self, name: str, drawn: Resampled | None) -> dict[str, MetricSummary]:
        found: dict[str, MetricSummary] = {}
        for (structure, metric), column in self.columns.items():
            if structure == name and drawn is not None:
                mean = float(drawn.mean[column])
                interval = bca_interval(mean, drawn.resampled[:, column], drawn.left_out[:, column])
                found[metric] = _describe(self.values[:, column], interval)
        return found

    def mean_over_structures(self, metric: str, drawn: Resampled | None) -> MetricSummary:
        """The structures' means, told as a sample of structures; its interval still resamples patients."""
        columns = [at for (name, key), at in self.columns.items() if key == metric and name != _OVERALL]
        if drawn is None or not columns:
            return _describe(np.zeros(0), None)
        means = drawn.mean[columns]
        interval = bca_interval(
            float(_mean_of_rows(means[None])[0]),
            _mean_of_rows(drawn.resampled[:, columns]),
            _mean_of_rows(drawn.left_out[:, columns]),
        )
        return _describe(means, interval)


def _mean_of_rows(values: Float64[np.ndarray, "b m"]) -> Float64[np.ndarray, " b"]:
    """Like nanmean along the rows, without its warning for rows of NaN."""
    there = ~np.isnan(values)
    sizes = there.sum(axis=1)
    sums = np.where(there, values, 0.0).sum(axis=1)
    return np.asarray(np.divide(sums, sizes, out=np.full(len(values), np.nan), where=sizes > 0))


def _describe(values: Float64[np.ndarray, " n"], interval: Interval | None) -> MetricSummary:
    there = np.sort(values[~np.isnan(values)])  # sorted, so that the order of cases cannot change a digit
    if not len(there):
        return MetricSummary(None, None, None, None, None, None, None, None, 0)
    low, high = interval if interval is not None else (None, None)
    first, median, third = (float(q) for q in np.percentile(there, (25, 50, 75)))
    return MetricSummary(
        mean=float(there.mean()),
        low=low,
        high=high,
        sd=float(there.std(ddof=1)) if len(there) > 1 else None,
        median=median,
        iqr=third - first,
        minimum=float(there[0]),
        maximum=float(there[-1]),
        n=len(there),
        q1=first,
        q3=third,
    )

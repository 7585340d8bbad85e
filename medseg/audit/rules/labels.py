"""References by themselves: what is drawn, what is not, and what is unlike the rest of the cohort."""

from collections.abc import Iterator

import numpy as np

from medseg.audit.cohort import Cohort
from medseg.audit.findings import Finding, of_case
from medseg.audit.robust import ENOUGH, deviations

USUAL = 0.2
"""What more than this share of the cases show is told once, of the cohort."""

SIZE_FLOOR, SIZE_FAR = 0.2, 6.0
"""Of the logarithm of a volume: at least exp(1.2) = 3.3 times off the median."""

PARTS_FLOOR, PARTS_FAR = 0.35, 6.0
"""Of the logarithm of 1 + parts: at least 16 where the median is 1."""

CUT, TOUCHED, FEW_TOUCH = 0.25, 0.05, 0.1
"""A structure is cut when its face on the border is this share of its largest section, while of the other
cases at most ``FEW_TOUCH`` so much as touch it (``TOUCHED``)."""


def empty_labels(cohort: Cohort) -> Iterator[Finding]:
    empty = [name for name, each in cohort.facts.items() if not each.drawn]
    fix = "draw it, or take the case out if it should show something"
    if len(empty) > USUAL * len(cohort.facts):
        told = f"{len(empty)} of {len(cohort.facts)} references show no structure (as {empty[0]})"
        yield Finding("empty-label", "cohort", told, fix, tuple(empty))
        return
    for name in empty:
        yield of_case("empty-label", name, "its reference shows none of the structures", fix)


def unknown_values(cohort: Cohort) -> Iterator[Finding]:
    named = set(cohort.experiment.labels.values())
    having: dict[int, list[str]] = {}
    for name, each in cohort.facts.items():
        for value in each.look.values:
            if value not in named:
                having.setdefault(value, []).append(name)
    usual = {value for value, cases in having.items() if len(cases) > USUAL * len(cohort.facts)}
    if usual:
        told = f"label values {_listed(sorted(usual))} have no name in labels and become background"
        yield Finding("values-left-out", "cohort", told, "name them if they should be learnt")
    for name, each in cohort.facts.items():
        rare = sorted(set(each.look.values) - named - usual)
        if rare:
            told = f"its reference has values {_listed(rare)}, which labels does not name and few cases have"
            yield of_case("unknown-label-value", name, told, "correct the reference, or name them in labels")


def undrawn(cohort: Cohort) -> Iterator[Finding]:
    """A structure that the training part never shows cannot be learnt; elsewhere it cannot be judged."""
    split = cohort.split
    if split is None:
        return
    for structure, value in cohort.experiment.labels.items():
        shown = cohort.drawn(structure)
        told = f"no case of the {{}} shows {structure} (value {value})"
        if not any(case.id in shown for case in split.train):
            fix = "correct its value in labels, or remove it"
            where = "training part" if shown else "cohort"
            yield Finding("structure-never-drawn", "cohort", told.format(where), fix)
            continue
        for part, cases in (("validation part", split.validation), ("held-out part", split.test)):
            if cases and not any(case.id in shown for case in cases):
                fix = "it is not judged there: choose another data.seed, or more patients"
                yield Finding("structure-not-judged", "cohort", told.format(part), fix)


def contoured_after_all(cohort: Cohort) -> Iterator[Finding]:
    for case in cohort.cases:
        both = (
            sorted(case.not_contoured & set(cohort.facts[case.id].drawn)) if case.id in cohort.facts else []
        )
        if both:
            told = f"declared not contoured, yet its reference shows {', '.join(both)}"
            yield of_case("contoured-after-all", case.id, told, "correct the table, or the reference")


def cut_by_border(cohort: Cohort) -> Iterator[Finding]:
    for structure in cohort.experiment.labels:
        shown = cohort.drawn(structure)
        shares = np.array([each.drawn[structure].border for each in shown.values()])
        if len(shown) < ENOUGH:
            continue
        for name, share in zip(shown, shares, strict=True):
            others = int(np.count_nonzero(shares > TOUCHED)) - 1
            if share > CUT and others <= FEW_TOUCH * (len(shown) - 1):
                told = (
                    f"{structure} is cut by the border of the scan ({100 * share:.0f} % of its largest "
                    "section; "
                    f"{others} of {len(shown) - 1} other cases touch it)"
                )
                yield of_case("cut-by-border", name, told, "look whether the organ is all there")


def sizes(cohort: Cohort) -> Iterator[Finding]:
    for structure, value in cohort.experiment.labels.items():
        shown = cohort.drawn(structure)
        volumes = np.array([each.look.values[value].volume_ml for each in shown.values()])
        far = deviations(np.log(volumes), SIZE_FLOOR)
        for name, volume, off in zip(shown, volumes, far, strict=True):
            if abs(off) > SIZE_FAR:
                told = f"{structure} has {volume:.3g} mL, the median is {np.median(volumes):.3g} mL"
                yield of_case("size-outlier", name, told, "look at the reference")


def speckle(cohort: Cohort) -> Iterator[Finding]:
    for structure, value in cohort.experiment.labels.items():
        shown = cohort.drawn(structure)
        parts = np.array([each.look.values[value].parts for each in shown.values()])
        far = deviations(np.log1p(parts), PARTS_FLOOR)
        for name, count, off in zip(shown, parts, far, strict=True):
            if off > PARTS_FAR:
                told = f"{structure} is in {count} pieces, the median is {np.median(parts):.3g}"
                yield of_case("speckle", name, told, "remove the specks from the reference")


def _listed(values: list[int]) -> str:
    return ", ".join(str(value) for value in values[:10]) + (" ..." if len(values) > 10 else "")


RULES = (empty_labels, unknown_values, undrawn, contoured_after_all, cut_by_border, sizes, speckle)

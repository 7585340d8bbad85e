"""The fingerprint of a cohort and the choices of a plan, as tables."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from medseg.planning import Budget, Fingerprint, Plan

_SHOWN = (
    "preprocessing.spacing_mm",
    "preprocessing.crop",
    "preprocessing.keep_spacing",
    "preprocessing.intensity",
    "sampling.patch_size",
    "sampling.foreground",
    "model.spatial_dims",
    "model.plane",
    "model.channels",
    "model.kernel",
    "training.batch_size",
    "training.stop",
    "data.held_out",
    "data.folds",
    "inference.postprocessing.largest_component",
)


def print_plan(found: "Fingerprint", made: "Plan", budget: "Budget") -> None:
    """Three tables on standard output: the cohort, its structures, and what was chosen and why."""
    console = Console(highlight=False)
    _print_facts(console, found)
    console.print()
    _print_structures(console, found)
    console.print()
    _print_choices(console, made)
    gib, allowed = made.memory / 2**30, budget.memory / 2**30
    where = "of the GPU's memory" if budget.device == "cuda" else "of RAM"
    console.print(
        f"\nabout {made.steps} steps of {made.step_seconds:.2g} s in {budget.hours:g} h, "
        f"and {gib:.1f} GiB {where} ({allowed:.1f} allowed)"
    )


def _table(*columns: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _print_facts(console: Console, found: "Fingerprint") -> None:
    table = _table("cohort", "")
    for name, value in _facts(found):
        table.add_row(name, value)
    console.print(table)


def _facts(found: "Fingerprint") -> Iterator[tuple[str, str]]:
    yield "cases", f"{found.cases} of {found.patients} patients"
    yield "modality", f"{found.modality} ({found.modality_reason})"
    yield (
        "shape",
        f"{_by(found.shape, 'd')} voxels, {_by(found.size_mm, '.0f')} mm (median; right, anterior, superior)",
    )
    low, high = _by(found.spacing_low_mm, ".3g"), _by(found.spacing_high_mm, ".3g")
    yield (
        "spacing",
        f"{_by(found.spacing_mm, '.3g')} mm (median; {low} to {high}), {found.anisotropy:.1f} to 1",
    )
    yield (
        "intensity",
        f"{found.intensity_low.median:.4g} to {found.intensity_high.median:.4g} (percentiles 0.5, 99.5)",
    )
    inside = found.labelled_median
    yield "in labels", f"{inside.median:.4g} ({inside.low:.4g} to {inside.high:.4g} over cases)"
    yield "labelled", f"{100 * found.labelled_share:.2g} % of the median scan"


def _print_structures(console: Console, found: "Fingerprint") -> None:
    table = _table("structure", "value", "in cases", "volume (5-95 %)", "box", "in one part")
    for one in found.structures:
        volume = one.volume_ml
        table.add_row(
            one.name,
            str(one.value),
            str(one.present_in),
            f"{volume.median:.3g} mL ({volume.low:.3g}-{volume.high:.3g})",
            f"{_by(one.extent_mm, '.0f')} mm",
            f"{100 * one.one_part:.0f} %",
        )
    console.print(table)


def _print_choices(console: Console, made: "Plan") -> None:
    table = _table("choice", "value", "why")
    for key in _SHOWN:
        if key in made.reasons:
            table.add_row(key.rpartition(".")[2], _value(made.raw, key), made.reasons[key])
    console.print(table)


def _value(raw: dict[str, Any], key: str) -> str:
    value: Any = raw
    for name in key.split("."):
        value = value[name]
    if isinstance(value, dict):
        return ", ".join(f"{name} {inner}" for name, inner in value.items())
    if isinstance(value, list):
        return (
            ", ".join("x".join(map(str, one)) if isinstance(one, list) else f"{one}" for one in value) or "-"
        )
    return str(value)


def _by(values: "tuple[float, ...]", form: str) -> str:
    return "x".join(format(value, form) for value in values)

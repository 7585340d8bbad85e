"""medseg models"""

from typing import TYPE_CHECKING, Annotated

import typer

from medseg.cli.options import Json

if TYPE_CHECKING:
    from medseg.shipped import Card, Shipped
    from medseg.shipped.card import MeasuredDice


def models(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Print the card of this model.", show_default=False)
    ] = None,
    json: Json = False,
) -> int:
    """List the models that come with medseg, or print the card of one.

    medseg infer scan.nii.gz --model NAME segments with it; nothing is downloaded.
    """
    from medseg.cli.printing import print_json
    from medseg.shipped import shipped_model, shipped_models

    if name is None:
        found = shipped_models()
        if json:
            print_json([_told(model) for model in found])
        else:
            _print_list(found)
        return 0
    model = shipped_model(name)
    if json:
        print_json(_told(model))
    else:
        _print_card(model.card)
    return 0


def _told(model: "Shipped") -> dict[str, object]:
    return {**model.card.model_dump(mode="json"), "path": str(model.path)}


def _print_list(found: "tuple[Shipped, ...]") -> None:
    from rich.console import Console
    from rich.table import Table

    from medseg.cli.printing import say

    if not found:
        say("no models come with this installation; train one (medseg plan COHORT, medseg train CONFIG)")
        return
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("name", "what", "structures", "Dice (95 %)", "size"):
        table.add_column(title, no_wrap=title in ("name", "Dice (95 %)", "size"), overflow="fold")
    for model in found:
        card = model.card
        names = ", ".join(structure.name for structure in card.structures)
        size = f"{card.bytes / 1e6:.1f} MB"
        table.add_row(f"[bold]{card.name}[/bold]", card.title, names, _dice(card.mean_dice), size)
    console = Console(highlight=False)
    console.print(table)
    console.print(
        "[dim]Dice: mean over structures, on patients held out of training.\n"
        "Not for clinical use.\n"
        "card:    medseg models NAME\n"
        "segment: medseg infer scan.nii.gz --model NAME[/dim]"
    )


def _dice(dice: "MeasuredDice | None") -> str:
    if dice is None:
        return "-"
    if dice.low is None or dice.high is None:
        return f"{dice.mean:.3f}"
    return f"{dice.mean:.3f} ({dice.low:.3f}-{dice.high:.3f})"


def _print_card(card: "Card") -> None:
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table

    console = Console(highlight=False)
    console.print(f"[bold]{card.name}[/bold]: {card.title}")
    console.print(f"[bold red]{card.use}[/bold red]")
    console.print()
    facts = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    facts.add_column(no_wrap=True, style="bold")
    facts.add_column(overflow="fold")
    for name, text in _facts(card):
        facts.add_row(name, text)
    console.print(facts)
    console.print()
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("structure")
    for title in ("value", "Dice (95 %)", "patients"):
        table.add_column(title, justify="right", no_wrap=True)
    for structure in card.structures:
        cases = str(structure.dice.cases) if structure.dice else "0"
        table.add_row(structure.name, str(structure.value), _dice(structure.dice), cases)
    if len(card.structures) > 1:
        table.add_row("[bold]mean[/bold]", "", _dice(card.mean_dice), "")
    console.print(table)
    console.print(f"[dim]on {card.data.held_out_patients} patients held out of training[/dim]")
    console.print("\n[bold]limits[/bold]")
    for limit in card.limits:
        console.print(Padding(f"- {limit}", (0, 0, 0, 2)))
    console.print(f"\nmedseg infer scan.nii.gz --model {card.name}", soft_wrap=True)


def _facts(card: "Card") -> list[tuple[str, str]]:
    data, training = card.data, card.training
    spacing = " x ".join(f"{s:g}" for s in card.spacing_mm)
    return [
        ("takes", card.input),
        ("network", f"{card.network}, at {spacing} mm"),
        (
            "data",
            f"{data.name}: {data.training_patients} patients trained, {data.validation_patients} validated, "
            f"{data.held_out_patients} held out",
        ),
        ("source", data.source),
        ("data licence", data.licence),
        ("licence", card.licence),
        ("made by", training.command),
        (
            "made on",
            f"{training.date}, {training.minutes:.0f} min, {training.hardware}, medseg {training.medseg}",
        ),
        ("file", f"{card.bytes / 1e6:.1f} MB, {card.weights}, sha256 {card.sha256[:16]}..."),
    ]

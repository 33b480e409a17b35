"""What ``vl4pose select`` tells its user: what was chosen, what was not and why."""

from __future__ import annotations

from collections import Counter

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from vl4pose.active import Selection
from vl4pose.cli.errors import printable
from vl4pose.score_table import ScoreTable

__all__ = ["show_selection"]

_SHOWN = 5
_NOT_SELECTABLE = {
    "without_score": "have no score to rank by: they failed, or were not finite",
    "without_embedding": "have no embedding",
    "without_order": "have no order within their group (--order-by)",
    "labelled": "are labelled already",
}


def show_selection(
    selection: Selection,
    table: ScoreTable,
    out: str,
    console: Console,
    labelled: ScoreTable | None = None,
) -> None:
    """Print counts, what was passed over, the first rows with their reasons and the file."""
    counts, settings = selection.counts, selection.settings
    numbers = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("rows", "selectable", "selected"):
        numbers.add_column(name, justify="right")
    numbers.add_row(*(f"{counts[name]:,}" for name in ("rows", "selectable", "selected")))
    console.print(numbers)

    def show(title: str, lines: list[str]) -> None:
        if lines:
            console.print(Text(f"\n{title}"))
        for line in lines:
            console.print(Padding(Text(line), (0, 0, 0, 2)))

    how = Counter(selection.chosen_by.tolist())
    show(
        f"chosen, by {_strategy(settings)}",
        [
            f"{how[name]:,} {what}"
            for name, what in (
                ("ranking", "by their rank"),
                ("diversity", f"that differ most, of the {settings['shortlist'] or 0:,} first"),
                ("random", "at random from all that are selectable"),
            )
            if how[name]
        ],
    )
    lacking = [f"{counts[n]:,} {why}" for n, why in _NOT_SELECTABLE.items() if counts.get(n)]
    if labelled is not None and len(labelled) and not counts["labelled"]:
        lacking.append(_nobody_labelled(labelled, table))
    show("not selectable", lacking)
    close = {
        name: f"closer than {option} {settings[key]:g} to a chosen or labelled {what}"
        for name, key, option, what in (
            ("gap", "min_gap", "--min-gap", "frame"),
            ("near-duplicate", "min_separation", "--min-separation", "embedding"),
        )
        if settings[key] is not None
    }
    show("passed over", [f"{counts[n]:,} {why}" for n, why in close.items() if counts.get(n)])
    if selection.shortfall is not None:
        missing = settings["budget"] - len(selection)
        why = " and ".join(
            option
            for option, given in (
                ("--min-gap", settings["min_gap"]),
                ("--min-separation", settings["min_separation"]),
            )
            if given
        )
        console.print(
            Text(
                f"\nonly {len(selection):,} of {settings['budget']:,} rows could be chosen: {why} "
                f"leaves {missing:,} too few",
                "yellow",
            )
        )
    if len(selection):
        console.print(Text("\nto annotate first"))
    first = table.rows.slice(0, _SHOWN).select(["rank", "image", "person_id", "reasons"])
    for row in first.to_pylist():
        name = row["image"] if row["person_id"] is None else f"{row['image']} #{row['person_id']}"
        console.print(Text(f"  {row['rank']}  {printable(name)}", "bold"))
        console.print(Padding(Text(printable(row["reasons"])), (0, 0, 0, 5)))
    if settings["reference"]["kind"] == "pool" and len(selection):
        console.print(
            Text(
                "\nPercentages are of the pool itself: --reference FILE, a table of scores of "
                "validation data, makes them say how unusual a pose is."
            )
        )
    console.print(Text(f"\nwritten to {printable(out)}"), soft_wrap=True)


def _nobody_labelled(labelled: ScoreTable, table: ScoreTable) -> str:
    """Return that labels were given and none counts, and why if they are of another folder."""
    there, here = (
        printable(str(t.metadata.get("source", {}).get("root"))) for t in (labelled, table)
    )
    why = f": their images are in {there}, those of SCORES in {here}" if there != here else ""
    return f"0 of the {len(labelled):,} people of --labelled{why}"


def _strategy(settings: dict[str, object]) -> str:
    name = str(settings["strategy"])
    if name.startswith("column:"):
        end = "lowest" if settings["lowest_first"] else "highest"
        return f"{name.removeprefix('column:')}, {end} first"
    return name

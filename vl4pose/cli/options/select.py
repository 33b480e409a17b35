"""The options of ``vl4pose select`` alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vl4pose.cli.checks import finite_number, whole_number
from vl4pose.cli.options.shared import default

_RANKING = "Ranking"
_DIVERSITY = "Diversity and spacing"

Scores = Annotated[
    str,
    typer.Argument(
        metavar="SCORES",
        help="The table of vl4pose score: a .parquet file, or a folder of them.",
        show_default=False,
    ),
]
Budget = Annotated[
    int,
    typer.Option(
        metavar="INT",
        parser=whole_number("--budget"),
        help="How many rows to choose.",
    ),
]
Out = Annotated[
    Path,
    typer.Option(
        metavar="FILE.parquet",
        help="The selection to write: the chosen rows, the most urgent first, with their rank, "
        "percentile and reasons.",
    ),
]
StrategyName = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="likelihood (low first), entropy (multi-peak entropy, high first), "
        "likelihood+entropy (the mean of both ranks), confidence (low first), random, or "
        "column:NAME (high first).",
        rich_help_panel=_RANKING,
    ),
]
LowestFirst = Annotated[
    bool,
    typer.Option(
        "--lowest-first",
        metavar="",
        help="Of column:NAME, the low values come first.",
        rich_help_panel=_RANKING,
    ),
]
RandomShare = Annotated[
    float,
    typer.Option(
        metavar="SHARE",
        parser=finite_number("--random-share"),
        help="Share of the budget drawn at random from all that is selectable, for an unbiased "
        "estimate; marked so, and spread over the selection.",
        rich_help_panel=_RANKING,
    ),
]
Seed = Annotated[
    int,
    typer.Option(
        "--seed",
        metavar="INT",
        parser=whole_number("--seed", 0),
        help="Of everything random.",
        rich_help_panel=_RANKING,
    ),
]
Diversity = Annotated[
    str,
    typer.Option(
        metavar="none|k-centre",
        help="k-centre: of the shortlist, always the row that is least like all chosen ones, by "
        "their embeddings (vl4pose score --embeddings).",
        rich_help_panel=_DIVERSITY,
    ),
]
Shortlist = Annotated[
    float | None,
    typer.Option(
        metavar="INT|SHARE",
        parser=finite_number("--shortlist"),
        help="How many of the first rows k-centre chooses from, or up to 1 the share."
        + default("0.2, and twice the budget at least"),
        show_default=False,
        rich_help_panel=_DIVERSITY,
    ),
]
Approximate = Annotated[
    bool,
    typer.Option(
        "--approximate",
        metavar="",
        help="k-centre with an approximate index of neighbours: faster where 100,000 rows and "
        "more are chosen or labelled.",
        rich_help_panel=_DIVERSITY,
    ),
]
Labelled = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="What is annotated already: a table of scores or a selection, whose people are not "
        "chosen again, or embeddings (M, D) as .npy. Diversity keeps away from it."
        + default("nothing"),
        show_default=False,
        rich_help_panel=_DIVERSITY,
    ),
]
MinSeparation = Annotated[
    float | None,
    typer.Option(
        metavar="NUMBER",
        parser=finite_number("--min-separation"),
        help="Pass over rows whose embedding is nearer than this to a chosen one."
        + default("none"),
        show_default=False,
        rich_help_panel=_DIVERSITY,
    ),
]
MinGap = Annotated[
    float | None,
    typer.Option(
        metavar="NUMBER",
        parser=finite_number("--min-gap"),
        help="For frames of videos: choose two of a group only if this far apart."
        + default("none"),
        show_default=False,
        rich_help_panel=_DIVERSITY,
    ),
]
GroupBy = Annotated[
    str | None,
    typer.Option(
        metavar="folder|name|COLUMN",
        help="Which video a row is of: the image's folder, its name without the frame number, or a "
        "column." + default("folder"),
        show_default=False,
        rich_help_panel=_DIVERSITY,
    ),
]
OrderBy = Annotated[
    str | None,
    typer.Option(
        metavar="name|COLUMN",
        help="Its place there: the last number in the image's name, or a column." + default("name"),
        show_default=False,
        rich_help_panel=_DIVERSITY,
    ),
]
Reference = Annotated[
    str | None,
    typer.Option(
        "--reference",
        metavar="FILE",
        help="A table of scores of validation data, which percentiles refer to."
        + default("SCORES"),
        show_default=False,
        rich_help_panel=_RANKING,
    ),
]

"""The options of ``vl4pose report`` alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vl4pose.cli.checks import whole_number
from vl4pose.cli.options.shared import MODELS, default

Scores = Annotated[
    str,
    typer.Argument(
        metavar="SCORES",
        help="What vl4pose score wrote, a file or a folder, or a selection alone.",
        show_default=False,
    ),
]
Out = Annotated[
    Path,
    typer.Option(metavar="FILE.html", help="The page to write; an existing one is replaced."),
]
Selection = Annotated[
    str | None,
    typer.Option(
        metavar="FILE.parquet",
        help="What vl4pose select chose of the scores: marked in the page.",
        show_default=False,
    ),
]
ImagesDir = Annotated[
    str | None,
    typer.Option(
        "--images",
        metavar="DIR|URL",
        help="Where the images are now, a folder or a URL." + default("where they were scored"),
        show_default=False,
    ),
]
NumPictures = Annotated[
    int,
    typer.Option(
        metavar="INT",
        parser=whole_number("--num-pictures", 0),
        help="Pictures of the least likely poses that are not selected, and as many of the "
        "most likely.",
    ),
]
NumSelected = Annotated[
    int,
    typer.Option(
        metavar="INT",
        parser=whole_number("--num-selected", 0),
        help="Pictures of selected poses at most, the first by rank.",
    ),
]
MaxImageSize = Annotated[
    int,
    typer.Option(
        metavar="INT",
        parser=whole_number("--max-image-size", 16, 8192),
        help="Longer side of a picture in the page, in pixels.",
    ),
]
NumRows = Annotated[
    int,
    typer.Option(
        metavar="INT",
        parser=whole_number("--num-rows", 1),
        help="Rows in the page at most: pictured and selected ones, then the least likely.",
    ),
]
Pose = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="The pose network that the scores come from: with it the page shows heatmaps, "
        "computed anew for the people in its pictures.",
        show_default=False,
        rich_help_panel=MODELS,
    ),
]

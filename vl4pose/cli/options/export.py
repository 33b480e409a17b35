"""The options of ``vl4pose export`` alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vl4pose.cli.checks import whole_number
from vl4pose.cli.options.shared import default

Scores = Annotated[
    str,
    typer.Argument(
        metavar="SCORES",
        help="A selection of vl4pose select, or a table of scores.",
        show_default=False,
    ),
]
Format = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="coco|cvat|label-studio|deeplabcut|sleap|csv",
        help="The tool, or the kind of file.",
    ),
]
Out = Annotated[
    Path,
    typer.Option(
        metavar="FILE|DIR",
        help="What to write: a .json (coco), a .csv (csv), a .slp (sleap), or a folder (cvat, "
        "label-studio, deeplabcut), in which other files stay.",
    ),
]
Limit = Annotated[
    int | None,
    typer.Option(
        metavar="INT",
        parser=whole_number("--limit", 1),
        help="The first so many rows only." + default("all"),
        show_default=False,
    ),
]
ImagesDir = Annotated[
    str | None,
    typer.Option(
        "--images",
        metavar="DIR|URL",
        help="Where the images are now." + default("where they were scored"),
        show_default=False,
    ),
]
UrlPrefix = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="For label-studio, what comes before an image's name: s3://bucket/folder/, "
        "https://server/, or /data/local-files/?d=folder/ below its document root."
        + default("local files of the images' folder, or their URL"),
        show_default=False,
    ),
]
CopyImages = Annotated[
    bool,
    typer.Option(
        "--copy-images",
        metavar="",
        help="Put the images beside the annotations: for deeplabcut into its folders, for cvat "
        "into images.zip.",
    ),
]
ScorerName = Annotated[
    str | None,
    typer.Option(
        "--scorer",
        metavar="NAME",
        help="The scorer in DeepLabCut's files." + default("vl4pose"),
        show_default=False,
    ),
]

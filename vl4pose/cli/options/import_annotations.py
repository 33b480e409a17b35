"""The options of ``vl4pose import`` alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vl4pose.cli.checks import whole_number
from vl4pose.cli.options.shared import default

AnnotatedFile = Annotated[
    Path,
    typer.Argument(
        metavar="ANNOTATED",
        help="What the tool exported: COCO keypoints .json; CVAT for images 1.1, .xml or .zip; "
        "Label Studio's JSON; a DeepLabCut project, a folder of it, or CollectedData_*.csv or .h5; "
        "a .slp of SLEAP; or a .csv.",
        show_default=False,
    ),
]
Out = Annotated[
    Path,
    typer.Option(
        metavar="FILE.json", help="The training data to write: COCO keypoints for vl4pose fit."
    ),
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="coco|cvat|label-studio|deeplabcut|sleap|csv",
        help="Of ANNOTATED." + default("told from the file"),
        show_default=False,
    ),
]
Selection = Annotated[
    str | None,
    typer.Option(
        "--selection",
        metavar="FILE",
        help="The selection that was exported: images and people are matched with it, boxes and "
        "ids are taken from it, and what is missing and what was changed is said.",
        show_default=False,
    ),
]
SkeletonName = Annotated[
    str | None,
    typer.Option(
        "--skeleton",
        metavar="NAME|FILE.json",
        help="lsp, mpii, coco, hand, icvl, or a skeleton file." + default("that of --selection"),
        show_default=False,
    ),
]
ImagesDir = Annotated[
    Path | None,
    typer.Option(
        "--images",
        metavar="DIR",
        help="Where the images are." + default("where those of --selection were scored"),
        show_default=False,
    ),
]
Merge = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Earlier training data, a .json, .csv or .mat as vl4pose fit takes, of images in the "
        "same folder. An image that is in both has the people of ANNOTATED.",
        show_default=False,
    ),
]
MergeLimit = Annotated[
    int | None,
    typer.Option(
        metavar="INT",
        parser=whole_number("--merge-limit", 1),
        help="The first so many people of --merge only." + default("all"),
        show_default=False,
    ),
]

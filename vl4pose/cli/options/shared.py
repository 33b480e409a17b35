"""The options that several commands have, and the panels that their help shows them in."""

from __future__ import annotations

from typing import Annotated

import typer

from vl4pose._options import MAX_NUM_PEAKS
from vl4pose.cli.checks import whole_number

MODELS = "Models"
INPUT = "Image to network and back (also from aux.json or pose.json)"
SCORING = "Peaks and scores"
RUNNING = "Running"
MOST_THREADS = 1024  # torch ends the process when the system refuses to start so many


def default(text: str) -> str:
    """Say a default that the option itself does not hold, so that settings in a file can."""
    return rf" [dim]\[default: {text}][/dim]"


SkeletonName = Annotated[
    str,
    typer.Option(
        "--skeleton",
        metavar="NAME|FILE.json",
        help="lsp, mpii, coco, hand, icvl, or a skeleton file.",
        rich_help_panel=MODELS,
    ),
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust",
        metavar="",
        help="Needed to load model files: they can run code, so give it for files you trust only.",
        rich_help_panel=MODELS,
    ),
]
Device = Annotated[
    str,
    typer.Option(
        metavar="DEVICE", help="Where the networks run: cpu, cuda, cuda:1.", rich_help_panel=MODELS
    ),
]
InputSize = Annotated[
    str | None,
    typer.Option(
        metavar="WIDTHxHEIGHT",
        help="Pixels of the network's input." + default("256x256"),
        show_default=False,
        rich_help_panel=INPUT,
    ),
]
Fit = Annotated[
    str | None,
    typer.Option(
        metavar="letterbox|crop",
        help="letterbox: the whole image or box, aspect kept, centred on black. "
        "crop: the image around the box, in the input's aspect; images without boxes are "
        "letterboxed." + default("letterbox"),
        show_default=False,
        rich_help_panel=INPUT,
    ),
]
CropScale = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBER",
        help="How much larger than its box a crop is." + default("1.75"),
        show_default=False,
        rich_help_panel=INPUT,
    ),
]
Scale = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBER",
        help="Channels are (value / scale - mean) / std, value 0 to 255, in the order R, G, B."
        + default("256"),
        show_default=False,
        rich_help_panel=INPUT,
    ),
]
Mean = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBER|R,G,B",
        help="One number, or three with commas." + default("0"),
        show_default=False,
        rich_help_panel=INPUT,
    ),
]
Std = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBER|R,G,B",
        help="One number, or three with commas." + default("1"),
        show_default=False,
        rich_help_panel=INPUT,
    ),
]
HeatmapAlign = Annotated[
    str | None,
    typer.Option(
        metavar="corners|centers",
        help="corners: first and last pixels of heatmap and input coincide (64 for 256: "
        "times 255/63). centers: every heatmap pixel is the centre of its block of input pixels."
        + default("corners"),
        show_default=False,
        rich_help_panel=INPUT,
    ),
]
NumPeaks = Annotated[
    int,
    typer.Option(
        metavar="INT",
        parser=whole_number("--num-peaks", 1, MAX_NUM_PEAKS),
        help="Peaks kept per joint.",
        rich_help_panel=SCORING,
    ),
]
MinDistance = Annotated[
    int,
    typer.Option(
        metavar="INT",
        parser=whole_number("--min-distance", 1),
        help="Closest two peaks, in heatmap pixels per axis.",
        rich_help_panel=SCORING,
    ),
]
NumThreads = Annotated[
    int | None,
    typer.Option(
        metavar="INT",
        parser=whole_number("--num-threads", 1, MOST_THREADS),
        help="Threads that compute." + default("torch's choice"),
        show_default=False,
        rich_help_panel=RUNNING,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        metavar="INT",
        parser=whole_number("--workers", 1, MOST_THREADS),
        help="Threads that read and resize images ahead of the network."
        + default("one per CPU, at most 8"),
        show_default=False,
        rich_help_panel=RUNNING,
    ),
]
Label = Annotated[
    str,
    typer.Option(metavar="NAME", help="What the tool calls a person: the category, or the label."),
]

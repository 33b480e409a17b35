"""The options of the commands: their types, help and panels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vl4pose._options import MAX_NUM_PEAKS
from vl4pose.cli.checks import finite_number, whole_number

_MODELS = "Models"
_INPUT = "Image to network and back (also from pose.json beside pose.pt)"
_SCORING = "Peaks and scores"
_RUNNING = "Running"
_MOST_THREADS = 1024  # torch ends the process when the system refuses to start so many


def _default(text: str) -> str:
    """Say a default that the option itself does not hold, so that settings in a file can."""
    return rf" [dim]\[default: {text}][/dim]"


Images = Annotated[
    list[str],
    typer.Argument(
        metavar="IMAGES",
        help="A folder (with its subfolders), image files, or quoted globs ('photos/**/*.jpg'); "
        "or one COCO keypoints .json, or one .csv with the columns image, x, y, width, height and "
        "perhaps id (or person_id): a box per person.",
        show_default=False,
    ),
]
ImagesDir = Annotated[
    Path | None,
    typer.Option(
        "--images",
        metavar="DIR",
        help="Where the images that a .json or .csv names are." + _default("beside it"),
        show_default=False,
    ),
]
Out = Annotated[
    Path,
    typer.Option(
        metavar="FILE.parquet",
        help="The table to write, one row per person; an existing one is replaced once the run has "
        "finished.",
    ),
]

Pose = Annotated[
    Path,
    typer.Option(
        metavar="FILE",
        help="Pose network, TorchScript or .pt2: images to heatmaps, or to (heatmaps, features). "
        "Of stacked heatmaps (B, S, J, H, W) the last stack is taken. From a PyTorch module: "
        "torch.jit.script(module).save('pose.pt'), or torch.export.save.",
        rich_help_panel=_MODELS,
    ),
]
Aux = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Auxiliary network: features to a length and a log-variance per link. "
        "Either this or --params.",
        rich_help_panel=_MODELS,
    ),
]
Params = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.json",
        help=r"Fixed \[length, log-variance] per link, in heatmap pixels.",
        rich_help_panel=_MODELS,
    ),
]
SkeletonName = Annotated[
    str,
    typer.Option(
        "--skeleton",
        metavar="NAME|FILE.json",
        help="lsp, mpii, coco, hand, icvl, or a skeleton file.",
        rich_help_panel=_MODELS,
    ),
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust",
        metavar="",
        help="Needed to load model files: they can run code, so give it for files you trust only.",
        rich_help_panel=_MODELS,
    ),
]
Device = Annotated[
    str,
    typer.Option(
        metavar="DEVICE", help="Where the networks run: cpu, cuda, cuda:1.", rich_help_panel=_MODELS
    ),
]

InputSize = Annotated[
    str | None,
    typer.Option(
        metavar="WIDTHxHEIGHT",
        help="Pixels of the network's input." + _default("256x256"),
        show_default=False,
        rich_help_panel=_INPUT,
    ),
]
Fit = Annotated[
    str | None,
    typer.Option(
        metavar="letterbox|crop",
        help="letterbox: the whole image or box, aspect kept, centred on black. "
        "crop: the image around the box, in the input's aspect; images without boxes are "
        "letterboxed." + _default("letterbox"),
        show_default=False,
        rich_help_panel=_INPUT,
    ),
]
CropScale = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBER",
        help="How much larger than its box a crop is." + _default("1.75"),
        show_default=False,
        rich_help_panel=_INPUT,
    ),
]
Scale = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBER",
        help="Channels are (value / scale - mean) / std, value 0 to 255, in the order R, G, B."
        + _default("256"),
        show_default=False,
        rich_help_panel=_INPUT,
    ),
]
Mean = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBER|R,G,B",
        help="One number, or three with commas." + _default("0"),
        show_default=False,
        rich_help_panel=_INPUT,
    ),
]
Std = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBER|R,G,B",
        help="One number, or three with commas." + _default("1"),
        show_default=False,
        rich_help_panel=_INPUT,
    ),
]
HeatmapAlign = Annotated[
    str | None,
    typer.Option(
        metavar="corners|centers",
        help="corners: first and last pixels of heatmap and input coincide (64 for 256: "
        "times 255/63). centers: every heatmap pixel is the centre of its block of input pixels."
        + _default("corners"),
        show_default=False,
        rich_help_panel=_INPUT,
    ),
]
Temperature = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBER",
        help="Divides heatmap values before the softmax over peaks." + _default("1"),
        show_default=False,
        rich_help_panel=_INPUT,
    ),
]

Method = Annotated[
    str,
    typer.Option(
        metavar="expected|max|marginal|sum",
        help="How poses are summed into a score.",
        rich_help_panel=_SCORING,
    ),
]
Objective = Annotated[
    str,
    typer.Option(
        metavar="map|eq6", help="What the refined pose maximises.", rich_help_panel=_SCORING
    ),
]
Subpixel = Annotated[
    str | None,
    typer.Option(
        metavar="quarter|centroid|dark",
        help="Move keypoints off the grid of heatmap pixels." + _default("no move"),
        show_default=False,
        rich_help_panel=_SCORING,
    ),
]
NumPeaks = Annotated[
    int,
    typer.Option(
        metavar="INT",
        parser=whole_number("--num-peaks", 1, MAX_NUM_PEAKS),
        help="Peaks kept per joint.",
        rich_help_panel=_SCORING,
    ),
]
MinDistance = Annotated[
    int,
    typer.Option(
        metavar="INT",
        parser=whole_number("--min-distance", 1),
        help="Closest two peaks, in heatmap pixels per axis.",
        rich_help_panel=_SCORING,
    ),
]
ThresholdAbs = Annotated[
    float | None,
    typer.Option(
        metavar="NUMBER",
        parser=finite_number("--threshold-abs"),
        help="A peak is higher than this." + _default("the map's minimum"),
        show_default=False,
        rich_help_panel=_SCORING,
    ),
]
ThresholdRel = Annotated[
    float | None,
    typer.Option(
        metavar="NUMBER",
        parser=finite_number("--threshold-rel"),
        help="A peak is higher than this share of the map's maximum." + _default("none"),
        show_default=False,
        rich_help_panel=_SCORING,
    ),
]
ExcludeBorder = Annotated[
    str,
    typer.Option(
        metavar="INT|true",
        help="Heatmap pixels along the edges without peaks; true: as many as --min-distance.",
        rich_help_panel=_SCORING,
    ),
]

BatchSize = Annotated[
    int,
    typer.Option(
        metavar="INT",
        parser=whole_number("--batch-size", 1),
        help="People per batch.",
        rich_help_panel=_RUNNING,
    ),
]
NumThreads = Annotated[
    int | None,
    typer.Option(
        metavar="INT",
        parser=whole_number("--num-threads", 1, _MOST_THREADS),
        help="Threads of the networks and of the scoring." + _default("torch's choice"),
        show_default=False,
        rich_help_panel=_RUNNING,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        metavar="INT",
        parser=whole_number("--workers", 1, _MOST_THREADS),
        help="Threads that read and resize images ahead of the network."
        + _default("one per CPU, at most 8"),
        show_default=False,
        rich_help_panel=_RUNNING,
    ),
]

"""The options of ``vl4pose score`` alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vl4pose.cli.checks import finite_number, whole_number
from vl4pose.cli.options.shared import INPUT, MODELS, RUNNING, SCORING, default

_RAY = "Running on Ray (--engine ray)"

Images = Annotated[
    list[str],
    typer.Argument(
        metavar="IMAGES",
        help="A folder (with its subfolders), image files, or quoted globs ('photos/**/*.jpg'); "
        "or one COCO keypoints .json, or one .csv with the columns image, x, y, width, height and "
        "perhaps id (or person_id): a box per person. URLs (s3://...) work as well.",
        show_default=False,
    ),
]
ImagesDir = Annotated[
    str | None,
    typer.Option(
        "--images",
        metavar="DIR",
        help="Where the images that a .json or .csv names are." + default("beside it"),
        show_default=False,
    ),
]
Out = Annotated[
    str,
    typer.Option(
        metavar="DIR|FILE.parquet",
        help="The table to write, one row per person: a new folder, or its URL, for shards that a "
        "run which is stopped can go on from (--resume); or one file, which replaces an existing "
        "one once the run has finished.",
    ),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        metavar="",
        help="Go on in the folder where the same command was stopped, at whatever moment; begin "
        "where there is none.",
        rich_help_panel=RUNNING,
    ),
]
ShardRows = Annotated[
    int,
    typer.Option(
        metavar="INT",
        parser=whole_number("--shard-rows", 1),
        help="Rows of each file in a folder: what a run that is stopped loses at most.",
        rich_help_panel=RUNNING,
    ),
]
Engine = Annotated[
    str,
    typer.Option(
        metavar="local|ray",
        help="What scores: this process, or the workers of Ray, with the same result.",
        rich_help_panel=RUNNING,
    ),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT|auto",
        help="Of the Ray cluster; auto: the one that this machine belongs to. Images and models "
        "must be where every node finds them, and vl4pose installed there."
        + default("RAY_ADDRESS, or a Ray of its own on this machine"),
        show_default=False,
        rich_help_panel=_RAY,
    ),
]
RayActors = Annotated[
    str | None,
    typer.Option(
        metavar="INT|MIN:MAX",
        help="Processes that hold the networks; between the two numbers it is Ray that starts and "
        "stops them. Each reserves as many CPUs as --num-threads says, or --ray-gpus."
        + default("1: and as many as there is room for"),
        show_default=False,
        rich_help_panel=_RAY,
    ),
]
RayGpus = Annotated[
    float | None,
    typer.Option(
        metavar="NUMBER",
        parser=finite_number("--ray-gpus"),
        help="GPUs of each, with --device cuda: 0.5 puts two of them on one GPU." + default("1"),
        show_default=False,
        rich_help_panel=_RAY,
    ),
]
Pose = Annotated[
    Path,
    typer.Option(
        metavar="FILE",
        help="Pose network, TorchScript or .pt2: images to heatmaps, or to (heatmaps, features). "
        "Of stacked heatmaps (B, S, J, H, W) the last stack is taken. From a PyTorch module: "
        "torch.jit.script(module).save('pose.pt'), or torch.export.save.",
        rich_help_panel=MODELS,
    ),
]
Aux = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Auxiliary network: features to a length and a log-variance per link. "
        "Either this or --params.",
        rich_help_panel=MODELS,
    ),
]
Params = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.json",
        help=r"Fixed \[length, log-variance] per link, in heatmap pixels.",
        rich_help_panel=MODELS,
    ),
]
Temperature = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBER",
        help="Divides heatmap values before the softmax over peaks." + default("1"),
        show_default=False,
        rich_help_panel=INPUT,
    ),
]
Method = Annotated[
    str,
    typer.Option(
        metavar="expected|max|marginal|sum",
        help="How poses are summed into a score.",
        rich_help_panel=SCORING,
    ),
]
Objective = Annotated[
    str,
    typer.Option(
        metavar="map|eq6", help="What the refined pose maximises.", rich_help_panel=SCORING
    ),
]
Subpixel = Annotated[
    str | None,
    typer.Option(
        metavar="quarter|centroid|dark",
        help="Move keypoints off the grid of heatmap pixels." + default("no move"),
        show_default=False,
        rich_help_panel=SCORING,
    ),
]
ThresholdAbs = Annotated[
    float | None,
    typer.Option(
        metavar="NUMBER",
        parser=finite_number("--threshold-abs"),
        help="A peak is higher than this." + default("the map's minimum"),
        show_default=False,
        rich_help_panel=SCORING,
    ),
]
ThresholdRel = Annotated[
    float | None,
    typer.Option(
        metavar="NUMBER",
        parser=finite_number("--threshold-rel"),
        help="A peak is higher than this share of the map's maximum." + default("none"),
        show_default=False,
        rich_help_panel=SCORING,
    ),
]
ExcludeBorder = Annotated[
    str,
    typer.Option(
        metavar="INT|true",
        help="Heatmap pixels along the edges without peaks; true: as many as --min-distance.",
        rich_help_panel=SCORING,
    ),
]
Embeddings = Annotated[
    bool,
    typer.Option(
        "--embeddings",
        metavar="",
        help="Keep the pose network's features, averaged over each map, for a selection of images "
        "that differ (vl4pose select --diversity).",
        rich_help_panel=SCORING,
    ),
]
BatchSize = Annotated[
    int,
    typer.Option(
        metavar="INT",
        parser=whole_number("--batch-size", 1),
        help="People per batch.",
        rich_help_panel=RUNNING,
    ),
]

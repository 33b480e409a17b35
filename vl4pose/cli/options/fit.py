"""The options of ``vl4pose fit`` alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vl4pose.cli.checks import finite_number, whole_number
from vl4pose.cli.options.shared import MODELS, RUNNING, SCORING, default

_DATA = "Data"
_TRAINING = "Training"

Annotations = Annotated[
    Path,
    typer.Argument(
        metavar="ANNOTATIONS",
        help="A COCO keypoints .json; joints.mat of Leeds Sports Pose or of its extended training "
        "set; or a .csv with one person per line: image, then <joint>_x and <joint>_y in image "
        "pixels for each joint (empty where not annotated; lelb_x for left_elbow_x will do), and "
        "if need be <joint>_visible (1 or 0), a box in x, y, width and height, and id.",
        show_default=False,
    ),
]
ImagesDir = Annotated[
    Path | None,
    typer.Option(
        "--images",
        metavar="DIR",
        help="Where the images that ANNOTATIONS names are." + default("beside it"),
        show_default=False,
        rich_help_panel=_DATA,
    ),
]
Validation = Annotated[
    str,
    typer.Option(
        "--val",
        metavar="FRACTION|FILE",
        help="What to validate on: a share of the images, chosen by the seed, with all people in "
        "them; or another file of annotations.",
        rich_help_panel=_DATA,
    ),
]
ValidationImagesDir = Annotated[
    Path | None,
    typer.Option(
        "--val-images",
        metavar="DIR",
        help="Where the images that the file of --val names are." + default("as --images"),
        show_default=False,
        rich_help_panel=_DATA,
    ),
]
Limit = Annotated[
    int | None,
    typer.Option(
        metavar="INT",
        parser=whole_number("--limit", 1),
        help="Use the first so many people of ANNOTATIONS only." + default("all"),
        show_default=False,
        rich_help_panel=_DATA,
    ),
]
MatFlag = Annotated[
    str | None,
    typer.Option(
        metavar="occluded|annotated",
        help="What a flag of 1 in a .mat says of a joint: occluded, with all joints annotated, or "
        "annotated."
        + default("occluded for joints of 3 x 14 x N, annotated for 14 x 3 x N, as published"),
        show_default=False,
        rich_help_panel=_DATA,
    ),
]
Out = Annotated[
    Path,
    typer.Option(
        metavar="FILE.safetensors",
        help="The auxiliary network to write. Beside it go the programs .pt and .pt2 for vl4pose "
        "score with their settings (.json), a report (.report.json, .calibration.png), and while "
        "the training runs its checkpoints.",
    ),
]
Pose = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Pose network that returns (heatmaps, features): TorchScript or .pt2 as for vl4pose "
        "score, or a .safetensors of vl4pose.nn.save, which needs no --trust and is the only one "
        "to start from with --train-pose.",
        show_default=False,
        rich_help_panel=MODELS,
    ),
]
TrainPose = Annotated[
    bool,
    typer.Option(
        "--train-pose",
        metavar="",
        help="Train the pose network as well: the one of --pose, or without it a new stacked "
        "hourglass.",
        rich_help_panel=MODELS,
    ),
]
NumStacks = Annotated[
    int | None,
    typer.Option(
        metavar="INT",
        parser=whole_number("--num-stacks", 1),
        help="Hourglasses of a new pose network." + default("2"),
        show_default=False,
        rich_help_panel=MODELS,
    ),
]
Channels = Annotated[
    int | None,
    typer.Option(
        metavar="INT",
        parser=whole_number("--channels", 2),
        help="Width of a new pose network, even." + default("256"),
        show_default=False,
        rich_help_panel=MODELS,
    ),
]
Epochs = Annotated[
    int,
    typer.Option(
        metavar="INT",
        parser=whole_number("--epochs", 1),
        help="The most passes over the training images.",
        rich_help_panel=_TRAINING,
    ),
]
BatchSize = Annotated[
    int,
    typer.Option(
        "--batch-size",
        metavar="INT",
        parser=whole_number("--batch-size", 1),
        help="People per step, over all processes.",
        rich_help_panel=_TRAINING,
    ),
]
LearningRate = Annotated[
    float,
    typer.Option(
        metavar="NUMBER",
        parser=finite_number("--learning-rate"),
        help="The highest, of the auxiliary network.",
        rich_help_panel=_TRAINING,
    ),
]
PoseLearningRate = Annotated[
    float,
    typer.Option(
        metavar="NUMBER",
        parser=finite_number("--pose-learning-rate"),
        help="The highest, of the pose network.",
        rich_help_panel=_TRAINING,
    ),
]
WeightDecay = Annotated[
    float,
    typer.Option(
        metavar="NUMBER",
        parser=finite_number("--weight-decay"),
        help="Of AdamW.",
        rich_help_panel=_TRAINING,
    ),
]
Patience = Annotated[
    int,
    typer.Option(
        metavar="INT",
        parser=whole_number("--patience", 1),
        help="Epochs without improvement on the validation images after which to stop.",
        rich_help_panel=_TRAINING,
    ),
]
Augment = Annotated[
    bool,
    typer.Option(
        "--augment/--no-augment",
        metavar="",
        help="Flip, rotate (30 degrees) and scale (0.75 to 1.25) the training images.",
        rich_help_panel=_TRAINING,
    ),
]
Views = Annotated[
    int,
    typer.Option(
        metavar="INT",
        parser=whole_number("--views", 0),
        help="Augmented versions of each image whose features are cached, beside the image's own.",
        rich_help_panel=_TRAINING,
    ),
]
FitPeaks = Annotated[
    bool,
    typer.Option(
        "--fit-peaks",
        metavar="",
        help="Let the network allow for what lies between joints and peaks, and set the "
        "temperature that goes with it: for refined poses and --method max.",
        rich_help_panel=SCORING,
    ),
]
Seed = Annotated[
    int,
    typer.Option(
        metavar="INT",
        parser=whole_number("--seed", 0),
        help="Of initial weights, order, augmentation and split.",
        rich_help_panel=_TRAINING,
    ),
]
Amp = Annotated[
    bool,
    typer.Option(
        "--amp",
        metavar="",
        help="Half precision in the networks: bfloat16, or float16 on a GPU without it.",
        rich_help_panel=RUNNING,
    ),
]
CheckpointSeconds = Annotated[
    float,
    typer.Option(
        metavar="NUMBER",
        parser=finite_number("--checkpoint-seconds"),
        help="From one checkpoint to the next: what a run that is killed loses at most.",
        rich_help_panel=RUNNING,
    ),
]
Restart = Annotated[
    bool,
    typer.Option(
        "--restart",
        metavar="",
        help="Begin anew where the same command has begun before and was stopped. Without this it "
        "goes on there.",
        rich_help_panel=RUNNING,
    ),
]
Cache = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Where the features of a frozen pose network are kept, for later runs too."
        + default("until the end, beside the output"),
        show_default=False,
        rich_help_panel=RUNNING,
    ),
]
CacheLimit = Annotated[
    float | None,
    typer.Option(
        metavar="GB",
        parser=finite_number("--cache-limit"),
        help="What the cache may take. Features that need more are computed anew in each epoch, "
        "from images augmented anew; 0 asks for that."
        + default("20 on a CPU; on a GPU, with --cache only"),
        show_default=False,
        rich_help_panel=RUNNING,
    ),
]
TensorBoard = Annotated[
    Path | None,
    typer.Option(
        "--tensorboard",
        metavar="DIR",
        help="Write the course of the training for TensorBoard." + default("no"),
        show_default=False,
        rich_help_panel=RUNNING,
    ),
]

"""The options of the commands: their types, help and panels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vl4pose._options import MAX_NUM_PEAKS
from vl4pose.cli.checks import finite_number, whole_number

_DATA = "Data"
_MODELS = "Models"
_INPUT = "Image to network and back (also from aux.json or pose.json)"
_SCORING = "Peaks and scores"
_TRAINING = "Training"
_RUNNING = "Running"
_RAY = "Running on Ray (--engine ray)"
_RANKING = "Ranking"
_DIVERSITY = "Diversity and spacing"
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
        "perhaps id (or person_id): a box per person. URLs (s3://...) work as well.",
        show_default=False,
    ),
]
ImagesDir = Annotated[
    str | None,
    typer.Option(
        "--images",
        metavar="DIR",
        help="Where the images that a .json or .csv names are." + _default("beside it"),
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
        rich_help_panel=_RUNNING,
    ),
]
ShardRows = Annotated[
    int,
    typer.Option(
        metavar="INT",
        parser=whole_number("--shard-rows", 1),
        help="Rows of each file in a folder: what a run that is stopped loses at most.",
        rich_help_panel=_RUNNING,
    ),
]
Engine = Annotated[
    str,
    typer.Option(
        metavar="local|ray",
        help="What scores: this process, or the workers of Ray, with the same result.",
        rich_help_panel=_RUNNING,
    ),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT|auto",
        help="Of the Ray cluster; auto: the one that this machine belongs to. Images and models "
        "must be where every node finds them, and vl4pose installed there."
        + _default("RAY_ADDRESS, or a Ray of its own on this machine"),
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
        + _default("1: and as many as there is room for"),
        show_default=False,
        rich_help_panel=_RAY,
    ),
]
RayGpus = Annotated[
    float | None,
    typer.Option(
        metavar="NUMBER",
        parser=finite_number("--ray-gpus"),
        help="GPUs of each, with --device cuda: 0.5 puts two of them on one GPU." + _default("1"),
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
Embeddings = Annotated[
    bool,
    typer.Option(
        "--embeddings",
        metavar="",
        help="Keep the pose network's features, averaged over each map, for a selection of images "
        "that differ (vl4pose select --diversity).",
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
        help="Threads that compute." + _default("torch's choice"),
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

AnnotationFile = Annotated[
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
AnnotatedImagesDir = Annotated[
    Path | None,
    typer.Option(
        "--images",
        metavar="DIR",
        help="Where the images that ANNOTATIONS names are." + _default("beside it"),
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
        help="Where the images that the file of --val names are." + _default("as --images"),
        show_default=False,
        rich_help_panel=_DATA,
    ),
]
Limit = Annotated[
    int | None,
    typer.Option(
        metavar="INT",
        parser=whole_number("--limit", 1),
        help="Use the first so many people of ANNOTATIONS only." + _default("all"),
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
        + _default("occluded for joints of 3 x 14 x N, annotated for 14 x 3 x N, as published"),
        show_default=False,
        rich_help_panel=_DATA,
    ),
]
FitOut = Annotated[
    Path,
    typer.Option(
        metavar="FILE.safetensors",
        help="The auxiliary network to write. Beside it go the programs .pt and .pt2 for vl4pose "
        "score with their settings (.json), a report (.report.json, .calibration.png), and while "
        "the training runs its checkpoints.",
    ),
]
FitPose = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Pose network that returns (heatmaps, features): TorchScript or .pt2 as for vl4pose "
        "score, or a .safetensors of vl4pose.nn.save, which needs no --trust and is the only one "
        "to start from with --train-pose.",
        show_default=False,
        rich_help_panel=_MODELS,
    ),
]
TrainPose = Annotated[
    bool,
    typer.Option(
        "--train-pose",
        metavar="",
        help="Train the pose network as well: the one of --pose, or without it a new stacked "
        "hourglass.",
        rich_help_panel=_MODELS,
    ),
]
NumStacks = Annotated[
    int | None,
    typer.Option(
        metavar="INT",
        parser=whole_number("--num-stacks", 1),
        help="Hourglasses of a new pose network." + _default("2"),
        show_default=False,
        rich_help_panel=_MODELS,
    ),
]
Channels = Annotated[
    int | None,
    typer.Option(
        metavar="INT",
        parser=whole_number("--channels", 2),
        help="Width of a new pose network, even." + _default("256"),
        show_default=False,
        rich_help_panel=_MODELS,
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
TrainingBatchSize = Annotated[
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
        rich_help_panel=_SCORING,
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
        rich_help_panel=_RUNNING,
    ),
]
CheckpointSeconds = Annotated[
    float,
    typer.Option(
        metavar="NUMBER",
        parser=finite_number("--checkpoint-seconds"),
        help="From one checkpoint to the next: what a run that is killed loses at most.",
        rich_help_panel=_RUNNING,
    ),
]
Restart = Annotated[
    bool,
    typer.Option(
        "--restart",
        metavar="",
        help="Begin anew where the same command has begun before and was stopped. Without this it "
        "goes on there.",
        rich_help_panel=_RUNNING,
    ),
]
Cache = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Where the features of a frozen pose network are kept, for later runs too."
        + _default("until the end, beside the output"),
        show_default=False,
        rich_help_panel=_RUNNING,
    ),
]
CacheLimit = Annotated[
    float | None,
    typer.Option(
        metavar="GB",
        parser=finite_number("--cache-limit"),
        help="What the cache may take. Features that need more are computed anew in each epoch, "
        "from images augmented anew; 0 asks for that."
        + _default("20 on a CPU; on a GPU, with --cache only"),
        show_default=False,
        rich_help_panel=_RUNNING,
    ),
]
TensorBoard = Annotated[
    Path | None,
    typer.Option(
        "--tensorboard",
        metavar="DIR",
        help="Write the course of the training for TensorBoard." + _default("no"),
        show_default=False,
        rich_help_panel=_RUNNING,
    ),
]

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
SelectionOut = Annotated[
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
SelectionSeed = Annotated[
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
        + _default("0.2, and twice the budget at least"),
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
        + _default("nothing"),
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
        + _default("none"),
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
        + _default("none"),
        show_default=False,
        rich_help_panel=_DIVERSITY,
    ),
]
GroupBy = Annotated[
    str | None,
    typer.Option(
        metavar="folder|name|COLUMN",
        help="Which video a row is of: the image's folder, its name without the frame number, or a "
        "column." + _default("folder"),
        show_default=False,
        rich_help_panel=_DIVERSITY,
    ),
]
OrderBy = Annotated[
    str | None,
    typer.Option(
        metavar="name|COLUMN",
        help="Its place there: the last number in the image's name, or a column."
        + _default("name"),
        show_default=False,
        rich_help_panel=_DIVERSITY,
    ),
]
ReferenceTable = Annotated[
    str | None,
    typer.Option(
        "--reference",
        metavar="FILE",
        help="A table of scores of validation data, which percentiles refer to."
        + _default("SCORES"),
        show_default=False,
        rich_help_panel=_RANKING,
    ),
]

ExportedTable = Annotated[
    str,
    typer.Argument(
        metavar="SCORES",
        help="A selection of vl4pose select, or a table of scores.",
        show_default=False,
    ),
]
ExportFormat = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="coco|cvat|label-studio|deeplabcut|sleap|csv",
        help="The tool, or the kind of file.",
    ),
]
ExportOut = Annotated[
    Path,
    typer.Option(
        metavar="FILE|DIR",
        help="What to write: a .json (coco), a .csv (csv), a .slp (sleap), or a folder (cvat, "
        "label-studio, deeplabcut), in which other files stay.",
    ),
]
ExportLimit = Annotated[
    int | None,
    typer.Option(
        metavar="INT",
        parser=whole_number("--limit", 1),
        help="The first so many rows only." + _default("all"),
        show_default=False,
    ),
]
ExportLabel = Annotated[
    str,
    typer.Option(metavar="NAME", help="What the tool calls a person: the category, or the label."),
]
ExportImages = Annotated[
    str | None,
    typer.Option(
        "--images",
        metavar="DIR|URL",
        help="Where the images are now." + _default("where they were scored"),
        show_default=False,
    ),
]
UrlPrefix = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="For label-studio, what comes before an image's name: s3://bucket/folder/, "
        "https://server/, or /data/local-files/?d=folder/ below its document root."
        + _default("local files of the images' folder, or their URL"),
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
        help="The scorer in DeepLabCut's files." + _default("vl4pose"),
        show_default=False,
    ),
]
AnnotatedResult = Annotated[
    Path,
    typer.Argument(
        metavar="ANNOTATED",
        help="What the tool exported: COCO keypoints .json; CVAT for images 1.1, .xml or .zip; "
        "Label Studio's JSON; a DeepLabCut project, a folder of it, or CollectedData_*.csv or .h5; "
        "a .slp of SLEAP; or a .csv.",
        show_default=False,
    ),
]
TrainingOut = Annotated[
    Path,
    typer.Option(
        metavar="FILE.json", help="The training data to write: COCO keypoints for vl4pose fit."
    ),
]
ImportFormat = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="coco|cvat|label-studio|deeplabcut|sleap|csv",
        help="Of ANNOTATED." + _default("told from the file"),
        show_default=False,
    ),
]
AskedFor = Annotated[
    str | None,
    typer.Option(
        "--selection",
        metavar="FILE",
        help="The selection that was exported: images and people are matched with it, boxes and "
        "ids are taken from it, and what is missing and what was changed is said.",
        show_default=False,
    ),
]
ImportSkeleton = Annotated[
    str | None,
    typer.Option(
        "--skeleton",
        metavar="NAME|FILE.json",
        help="lsp, mpii, coco, hand, icvl, or a skeleton file." + _default("that of --selection"),
        show_default=False,
    ),
]
ImportImages = Annotated[
    Path | None,
    typer.Option(
        "--images",
        metavar="DIR",
        help="Where the images are." + _default("where those of --selection were scored"),
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
        help="The first so many people of --merge only." + _default("all"),
        show_default=False,
    ),
]

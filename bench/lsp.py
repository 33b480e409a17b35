"""``python -m bench.lsp``: real photographs from file to score, and what the scores are worth.

Everything goes the way a user would go: a network is converted to TorchScript, bone lengths are
fitted to the training annotations, and ``vl4pose score`` runs on the test images. Then the table it
wrote is compared with the annotations.

The data folder (``--data`` or VL4POSE_TEST_DATA) holds ``lsp/images/im0001.jpg ... im2000.jpg`` and
``lsp/joints.mat`` of Leeds Sports Pose (Johnson and Everingham, BMVC 2010), and
``lsp_hourglass32.pth``, a stacked hourglass of 32 channels trained on it. On images 1001 to 1300
(``--limit 300``) the argmax of that network has PCK@0.2 0.733 and PCK@0.5 0.880.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, NoReturn

try:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa
    import pyarrow.parquet as pq
    import scipy.io
    import scipy.stats
    import torch
    import typer
    from PIL import Image
    from rich import box
    from rich.console import Console
    from rich.table import Table

    import vl4pose
    from vl4pose import metrics
    from vl4pose.cli.app import app
    from vl4pose.demo.evaluation import MANY_WRONG, WRONG, joint_errors
    from vl4pose.demo.evaluation import auroc as share_in_order
    from vl4pose.image_transform import ImageTransform
    from vl4pose.nn import StackedHourglass
except ModuleNotFoundError as error:
    if __name__ != "__main__":
        raise
    package = str(error.name).partition(".")[0]
    sys.exit(f"bench.lsp: {package} is not installed: pip install -e '.[bench]'")

FloatArray = npt.NDArray[np.float64]

TRAINING, TEST = range(1, 1001), range(1001, 2001)
HEATMAP_SIZE = (64, 64)
# Where the joints of the "lsp" skeleton are in the annotations' order.
ANNOTATED_AS = [13, 12, 9, 10, 11, 8, 7, 6, 3, 4, 5, 2, 1, 0]


def main() -> None:
    """Score the test images and print the table."""
    arguments, score_options = parse()
    console = Console()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            scores = score_test_images(arguments.data, folder, arguments.limit, score_options)
        except subprocess.CalledProcessError as error:
            sys.exit(error.returncode)  # the command line has said what is wrong
        console.print(report(scores, load_annotations(arguments.data)))
        if arguments.keep:
            console.print(f"model, bones and scores are in {folder}", soft_wrap=True)


class Parser(argparse.ArgumentParser):
    """Shows an error as one sentence."""

    def error(self, message: str) -> NoReturn:
        """Print the message and end the process."""
        self.exit(2, f"{self.prog}: {message}\n")


def parse(arguments: Sequence[str] | None = None) -> tuple[argparse.Namespace, list[str]]:
    """Return the command line's own arguments, and those for ``vl4pose score``."""
    parser = Parser(
        prog="python -m bench.lsp",
        description="Score real photographs with a real network and compare with annotations.",
        epilog="Other options, such as --temperature 5, go to 'vl4pose score'.",
        allow_abbrev=False,
    )
    add_data_argument(parser)
    parser.add_argument(
        "--limit",
        type=image_count,
        default=len(TEST),
        metavar="N",
        help="the first N test images only",
    )
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="keep the model, the bones and the scores there"
    )
    own, rest = parser.parse_known_args(arguments)
    known = ["--data", "--limit", "--keep", "--help", *score_option_names()]
    for name in (argument.partition("=")[0] for argument in rest if argument.startswith("--")):
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            parser.error(f"no such option: {name}{hint}")
    return own, rest


def add_data_argument(parser: argparse.ArgumentParser) -> None:
    folder = os.environ.get("VL4POSE_TEST_DATA")
    parser.add_argument(
        "--data",
        type=data_folder,
        default=folder,
        required=folder is None,
        help="folder of the data (default: $VL4POSE_TEST_DATA)",
    )


def data_folder(text: str) -> Path:
    folder = Path(text)
    for part in ("lsp/images", "lsp/joints.mat", "lsp_hourglass32.pth"):
        if not (folder / part).exists():
            raise argparse.ArgumentTypeError(f"must hold {part}, got '{text}' without it")
    return folder


def image_count(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= len(TEST)):
        raise argparse.ArgumentTypeError(
            f"must be a whole number between 1 and {len(TEST)}, got {text!r}"
        )
    return int(text)


def score_option_names() -> list[str]:
    """Return the long options of ``vl4pose score``."""
    command: Any = typer.main.get_command(app)
    return [name for option in command.commands["score"].params for name in option.opts]


def score_test_images(
    data: Path, folder: Path, limit: int = len(TEST), score_options: Sequence[str] = ()
) -> Scores:
    """Make pose.pt, bones.json and scores.parquet in a folder, by way of the command line."""
    pose, bones, out = (folder / name for name in ("pose.pt", "bones.json", "scores.parquet"))
    convert(data / "lsp_hourglass32.pth", pose)
    vl4pose.save_params(bones, fit_bones(data), "lsp")
    images = [str(image_path(data, number)) for number in TEST[:limit]]
    program = Path(sysconfig.get_path("scripts")) / "vl4pose"
    models = ["--pose", str(pose), "--params", str(bones), "--skeleton", "lsp", "--trust"]
    done = subprocess.run(
        [str(program), "score", *models, "--out", str(out), *score_options, *images],
        check=False,
        stdout=subprocess.PIPE,
        text=True,
    )
    # Its last line is where the table is, which may be a folder that is gone in a moment.
    print(done.stdout.partition("\nwritten to ")[0], end="")
    done.check_returncode()
    return read_scores(out, seconds_of(done.stdout))


def seconds_of(summary: str) -> dict[str, float]:
    """Return the seconds of each part of a run, as its summary names them, and the total."""
    lines = re.findall(r"^(\w.*?) +(\d+\.\d\d) +\d", summary, re.MULTILINE)
    return {name: float(seconds) for name, seconds in lines}


def convert(checkpoint: Path, path: Path) -> None:
    """Write the network of a released state dict as TorchScript."""
    network = StackedHourglass.from_released(checkpoint)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit", DeprecationWarning)
        torch.jit.script(network).save(str(path))


def image_path(data: Path, number: int) -> Path:
    return data / "lsp" / "images" / f"im{number:04d}.jpg"


def load_annotations(data: Path) -> FloatArray:
    """Return (2000, 14, 2): all joints in image pixels, occluded ones too, in our order."""
    joints = scipy.io.loadmat(data / "lsp" / "joints.mat")["joints"]  # (x, y, flag) x 14 x 2000
    return np.asarray(joints[:2, ANNOTATED_AS].transpose(2, 1, 0), np.float64)


def fit_bones(data: Path) -> FloatArray:
    """Return length and log-variance of the links in the training annotations, heatmap pixels."""
    annotations = load_annotations(data)
    transform = ImageTransform()
    poses = []
    for number in TRAINING:
        with Image.open(image_path(data, number)) as image:
            placement = transform.place(image.size)
        joints = annotations[number - 1]
        poses.append(transform.image_to_heatmap(joints, HEATMAP_SIZE, placement))
    return vl4pose.fit_params(np.stack(poses), None, "lsp")


class Scores(NamedTuple):
    """What ``vl4pose score`` wrote and printed: the rows that have a score, and all else."""

    rows: pa.Table
    metadata: dict[str, Any]
    failed: int
    seconds: dict[str, float]

    def column(self, name: str) -> FloatArray:
        """Return a column, lists becoming further axes."""
        return np.array(self.rows[name].to_pylist(), np.float64)

    def image_numbers(self) -> list[int]:
        """Return which image each row is of, 1 to 2000."""
        return [int(Path(name).stem.removeprefix("im")) for name in self.rows["image"].to_pylist()]


def read_scores(path: Path, seconds: Mapping[str, float] = MappingProxyType({})) -> Scores:
    table = pq.read_table(path)
    metadata = json.loads(pq.read_metadata(path).metadata[b"vl4pose"])
    rows = table.filter(table["score"].is_valid())
    return Scores(rows, metadata, failed=len(table) - len(rows), seconds=dict(seconds))


def pck(errors: FloatArray, threshold: float) -> float:
    """Return the percentage of correct keypoints, as a fraction."""
    return float(metrics.pck_of_errors(errors, threshold).mean)


def suspicions(scores: Scores) -> dict[str, FloatArray]:
    """Return what is compared as a guess of how wrong the argmax pose is: high means wrong."""
    return {
        "- expected score": -scores.column("score"),
        "multi-peak entropy": scores.column("multi_peak_entropy"),
        "1 - mean confidence": 1 - scores.column("confidence").mean(axis=1),
    }


def spearman(suspicion: FloatArray, errors: FloatArray) -> float:
    """Return the rank correlation with the mean error of the 14 joints."""
    return float(scipy.stats.spearmanr(suspicion, errors.mean(axis=1)).statistic)


def auroc(suspicion: FloatArray, errors: FloatArray) -> float:
    """Return how often a pose with many wrong joints is more suspicious than one without."""
    bad = (errors > WRONG).sum(axis=1) >= MANY_WRONG
    return share_in_order(suspicion, bad, ~bad)


def report(scores: Scores, annotations: FloatArray) -> Table:
    """Return speed, accuracy of both poses and worth of the rankings, as one table."""
    truth = annotations[np.array(scores.image_numbers()) - 1]
    errors = {
        name: joint_errors(scores.column(column), truth)
        for name, column in (("argmax", "keypoints"), ("refined", "refined_keypoints"))
    }
    num_bad = int(((errors["argmax"] > WRONG).sum(axis=1) >= MANY_WRONG).sum())
    total = scores.seconds["total"]
    num_images = len(truth) + scores.failed

    table = Table(title="Leeds Sports Pose", box=box.SIMPLE_HEAD, show_header=False)
    for justify in ("left", "right", "right"):
        table.add_column(justify=justify)
    table.add_row("[bold]images", "failed", f"{MANY_WRONG}+ wrong")
    table.add_row(str(num_images), str(scores.failed), str(num_bad))
    table.add_section()
    table.add_row("[bold]speed", "images/s", "of the time")
    table.add_row("all", f"{num_images / total:.1f}", "100 %")
    for name in ("networks", "vl4pose"):
        seconds = scores.seconds[name]
        speed = f"{num_images / seconds:.1f}" if seconds else "-"  # of less than 0.01 s
        table.add_row(name, speed, f"{100 * seconds / total:.2f} %")
    table.add_section()
    table.add_row("[bold]pose", "PCK@0.2", "PCK@0.5")
    for name, of_joints in errors.items():
        table.add_row(name, f"{pck(of_joints, 0.2):.3f}", f"{pck(of_joints, 0.5):.3f}")
    table.add_section()
    table.add_row("[bold]ranking", "Spearman", "AUROC")
    for name, suspicion in suspicions(scores).items():
        values = (f(suspicion, errors["argmax"]) for f in (spearman, auroc))
        table.add_row(name, *(f"{value:.3f}" for value in values))
    return table


if __name__ == "__main__":
    main()

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
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.io
import scipy.stats
import torch
from PIL import Image
from rich import box
from rich.console import Console
from rich.table import Table

import vl4pose
from vl4pose.image_transform import ImageTransform
from vl4pose.nn import StackedHourglass

FloatArray = npt.NDArray[np.float64]

TRAINING, TEST = range(1, 1001), range(1001, 2001)
HEATMAP_SIZE = (64, 64)
# Where the joints of the "lsp" skeleton are in the annotations' order.
ANNOTATED_AS = [13, 12, 9, 10, 11, 8, 7, 6, 3, 4, 5, 2, 1, 0]
WRONG = 0.5  # of the torso
MANY_WRONG = 3  # of 14 joints


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


def parse() -> tuple[argparse.Namespace, list[str]]:
    """Return the command line's own arguments, and those for ``vl4pose score``."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.lsp",
        description="Score real photographs with a real network and compare with annotations.",
        epilog="Other options, such as --temperature 5, go to 'vl4pose score'.",
    )
    folder = os.environ.get("VL4POSE_TEST_DATA")
    parser.add_argument(
        "--data",
        type=Path,
        default=folder,
        required=folder is None,
        help="folder of the data (default: $VL4POSE_TEST_DATA)",
    )
    parser.add_argument(
        "--limit", type=int, default=len(TEST), metavar="N", help="the first N test images only"
    )
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="keep the model, the bones and the scores there"
    )
    return parser.parse_known_args()


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
    subprocess.run(
        [str(program), "score", *models, "--out", str(out), *score_options, *images], check=True
    )
    return read_scores(out)


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
    """What ``vl4pose score`` wrote: the rows that have a score, and all else."""

    rows: pa.Table
    metadata: dict[str, Any]
    failed: int

    def column(self, name: str) -> FloatArray:
        """Return a column, lists becoming further axes."""
        return np.array(self.rows[name].to_pylist(), np.float64)

    def image_numbers(self) -> list[int]:
        """Return which image each row is of, 1 to 2000."""
        return [int(Path(name).stem.removeprefix("im")) for name in self.rows["image"].to_pylist()]


def read_scores(path: Path) -> Scores:
    table = pq.read_table(path)
    metadata = json.loads(pq.read_metadata(path).metadata[b"vl4pose"])
    rows = table.filter(table["score"].is_valid())
    return Scores(rows, metadata, failed=len(table) - len(rows))


def torso_lengths(annotations: FloatArray) -> FloatArray:
    """Return (N,): the longer of left shoulder to right hip and right shoulder to left hip."""
    joint = vl4pose.get_skeleton("lsp").joint_index
    diagonals = [
        annotations[:, joint("lsho")] - annotations[:, joint("rhip")],
        annotations[:, joint("rsho")] - annotations[:, joint("lhip")],
    ]
    return np.linalg.norm(diagonals, axis=2).max(axis=0)


def joint_errors(keypoints: FloatArray, annotations: FloatArray) -> FloatArray:
    """Return (N, 14): how far each joint is from its annotation, in torsos."""
    distances = np.linalg.norm(keypoints - annotations, axis=2)
    return distances / torso_lengths(annotations)[:, None]


def pck(errors: FloatArray, threshold: float) -> float:
    """Return the percentage of correct keypoints, as a fraction."""
    return float((errors < threshold).mean())


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
    pairs = bad.sum() * (~bad).sum()
    if pairs == 0:
        return float("nan")
    return float(scipy.stats.mannwhitneyu(suspicion[bad], suspicion[~bad]).statistic / pairs)


def report(scores: Scores, annotations: FloatArray) -> Table:
    """Return speed, accuracy of both poses and worth of the rankings, as one table."""
    truth = annotations[np.array(scores.image_numbers()) - 1]
    errors = {
        name: joint_errors(scores.column(column), truth)
        for name, column in (("argmax", "keypoints"), ("refined", "refined_keypoints"))
    }
    num_bad = int(((errors["argmax"] > WRONG).sum(axis=1) >= MANY_WRONG).sum())
    timing = scores.metadata["timing"]
    total = timing["total_s"]
    num_images = len(truth) + scores.failed

    table = Table(title="Leeds Sports Pose", box=box.SIMPLE_HEAD, show_header=False)
    for justify in ("left", "right", "right"):
        table.add_column(justify=justify)
    table.add_row("[bold]images", "failed", f"{MANY_WRONG}+ wrong")
    table.add_row(str(num_images), str(scores.failed), str(num_bad))
    table.add_section()
    table.add_row("[bold]speed", "images/s", "of the time")
    table.add_row("all", f"{num_images / total:.1f}", "100 %")
    for name, part in (("networks", "network_s"), ("vl4pose", "score_s")):
        seconds = timing[part]
        table.add_row(name, f"{num_images / seconds:.1f}", f"{100 * seconds / total:.2f} %")
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

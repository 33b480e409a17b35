"""``python -m bench.lsp_reasons``: how often the reasons of a selection are right.

The test images of Leeds Sports Pose are scored as in ``bench.lsp``, all are selected, and what
their reasons say of joints is compared with the annotations: how often a joint that a reason names
is wrong (farther than half a torso from the truth), and how often any joint is.

- a bone that a sentence calls too long or too short: either of its joints;
- a joint with several peaks of weight;
- a pair whose exchange makes the pose ten times as likely: whether the exchange brings the joints
  that it moves nearer to the truth, by a tenth of a torso each on average.

``--scores FILE`` takes a table that ``vl4pose score`` made of these images, ``im1001.jpg`` and so
on.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

import vl4pose
from bench import lsp
from vl4pose.active.left_right import exchanges
from vl4pose.active.reasons import TOLD_GAIN, TOLD_Z
from vl4pose.score_table import ScoreTable, read_scores

Case = tuple[str, bool, bool]  # what is told of, whether it was told, whether it is so
NEARER = 0.1  # torsos


def main() -> None:
    """Score, select and print how often each kind of reason is right."""
    parser = argparse.ArgumentParser(prog="python -m bench.lsp_reasons", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    lsp.add_data_argument(parser)
    parser.add_argument("--limit", type=lsp.image_count, default=len(lsp.TEST), metavar="N")
    parser.add_argument("--scores", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    if arguments.scores:
        scores = read_scores(arguments.scores)
    else:
        with tempfile.TemporaryDirectory() as folder:
            lsp.score_test_images(arguments.data, Path(folder), arguments.limit)
            scores = read_scores(Path(folder) / "scores.parquet")
    Console().print(report(scores, lsp.load_annotations(arguments.data)))


def report(scores: ScoreTable, annotations: np.ndarray) -> Table:
    """Return how often reasons are right, next to how often that happens by chance."""
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("reason", "told", "right", "of all, right", "of all", "of those right, told"):
        table.add_column(heading, justify="left" if heading == "reason" else "right")
    found: dict[str, list[tuple[bool, bool]]] = {}
    for kind, told, right in cases(scores, annotations):
        found.setdefault(kind, []).append((told, right))
    for kind, pairs in found.items():
        told, right = np.array(pairs).T
        table.add_row(
            kind,
            f"{told.sum():,}",
            share(right[told]),
            share(right),
            f"{len(told):,}",
            share(told[right]),
        )
    return table


def share(cases: np.ndarray) -> str:
    """Return how many are so, in percent; a dash where there is no case."""
    return f"{cases.mean():.1%}" if len(cases) else "-"


def cases(scores: ScoreTable, annotations: np.ndarray) -> Iterator[Case]:
    """Return every bone, joint and exchange of every pose."""
    selection = vl4pose.select(scores, int(np.isfinite(scores.numbers("score")).sum()))
    table = selection.to_table()
    skeleton = table.skeleton
    numbers = [int(Path(name).stem.removeprefix("im")) for name in table.rows["image"].to_pylist()]
    truth = annotations[np.array(numbers) - 1]
    keypoints = table.arrays("keypoints")
    errors = lsp.joint_errors(keypoints, truth)
    is_wrong = errors > lsp.WRONG
    ways = exchanges(skeleton)
    pairs = ["/".join(skeleton.joints[j] for j in pair) for pair in skeleton.pairs]
    nearer = np.empty((len(numbers), len(ways)), np.bool_)
    for w, way in enumerate(ways):
        exchanged = lsp.joint_errors(keypoints[:, list(way.order)], truth)
        moved = np.arange(skeleton.num_joints) != way.order
        nearer[:, w] = (errors - exchanged)[:, moved].mean(1) > NEARER
    columns = ["worst_links", "ambiguous_joints", "swap_suspects"]
    for i, row in enumerate(table.rows.select(columns).to_pylist()):
        far = {w["link"] for w in row["worst_links"] if abs(w["z"]) >= TOLD_Z}
        for name, (parent, child) in zip(skeleton.link_names, skeleton.links, strict=True):
            yield "bone too long or short", name in far, bool(is_wrong[i, [parent, child]].any())
        ambiguous = {joint["joint"] for joint in row["ambiguous_joints"]}
        for j, name in enumerate(skeleton.joints):
            yield "several peaks", name in ambiguous, bool(is_wrong[i, j])
        suspects = {
            (s["pair"], s["with_below"]) for s in row["swap_suspects"] if s["gain"] >= TOLD_GAIN
        }
        for w, way in enumerate(ways):
            told = (pairs[way.pair], way.with_below) in suspects
            yield "left and right exchanged", told, bool(nearer[i, w])


if __name__ == "__main__":
    main()

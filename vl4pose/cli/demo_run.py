"""The demo from the first picture to the last table."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vl4pose.cli.errors import RunError, printable
from vl4pose.cli.fit_screen import FitScreen
from vl4pose.cli.score import score
from vl4pose.demo.contact_sheet import Panel, draw_contact_sheet
from vl4pose.demo.evaluation import MANY_WRONG, RANKINGS, THRESHOLDS, WRONG, Evaluation
from vl4pose.demo.folder import DemoFolder
from vl4pose.demo.pictures import KINDS, ORDINARY, SIZE, Picture, draw_picture
from vl4pose.demo.training import HEATMAP_SIZE, TRANSFORM, PictureDataset, export, train
from vl4pose.pool.decoding import read_rgb
from vl4pose.scorer import Prediction, Scorer
from vl4pose.scoring import multi_peak_entropy
from vl4pose.skeleton import get_skeleton
from vl4pose.training.reporting import Reporter

__all__ = ["FULL", "QUICK", "DemoSize", "run_demo"]

# The two highest peaks of a joint, as in the paper's own code. More are found by chance where a
# picture is strange, and drag the refined pose there.
NUM_PEAKS, MIN_DISTANCE = 2, 5
COLUMNS = 5  # of the contact sheet
BATCH_SIZE = 64


@dataclass(frozen=True)
class DemoSize:
    """How many pictures there are, and how often those for training are gone through.

    Attributes
    ----------
    training, validation : int
        Ordinary pictures that the networks learn from, and that they are checked with.
    ordinary, of_each_kind : int
        Held-out pictures that are scored: ordinary ones, and of each kind out of distribution.
    epochs : int
        Each shows every picture twice, the second time mirrored.
    """

    training: int
    validation: int
    ordinary: int
    of_each_kind: int
    epochs: int

    def pool(self) -> list[str]:
        """Return the kinds of the pictures that are scored."""
        others = [kind for kind in KINDS if kind != ORDINARY]
        return [ORDINARY] * self.ordinary + [k for k in others for _ in range(self.of_each_kind)]


FULL = DemoSize(training=1400, validation=100, ordinary=200, of_each_kind=50, epochs=4)
QUICK = DemoSize(training=16, validation=4, ordinary=8, of_each_kind=2, epochs=1)


def run_demo(folder: DemoFolder, size: DemoSize, seed: int, progress: Console) -> None:
    """Draw people, train on some, score others, print what that is worth and draw the extremes.

    Parameters
    ----------
    folder : DemoFolder
    size : DemoSize
    seed : int
        Of everything random.
    progress : rich.console.Console
        For what is shown meanwhile; results go to the standard output.
    """
    results = Console()
    folder.clear()
    with FitScreen(progress) as screen:
        start = time.monotonic()
        pool = size.pool()
        num_pictures = size.training + size.validation + len(pool)
        screen.stage("drawing people", num_pictures)
        training = _drawn([ORDINARY] * size.training, (seed, 0), screen)
        validation = _drawn([ORDINARY] * size.validation, (seed, 1), screen)
        datasets = (
            PictureDataset(training, mirrored=True),
            PictureDataset(validation, mirrored=False),
        )
        truth = folder.save_pictures(_drawn(pool, (seed, 2), screen))
        screen.note(f"Drew {num_pictures:,} pictures in {time.monotonic() - start:.0f} s.")
        start = time.monotonic()
        try:
            trained = train(
                *datasets,
                epochs=size.epochs,
                seed=seed,
                num_peaks=NUM_PEAKS,
                min_distance=MIN_DISTANCE,
                reporter=_OneBar(screen, size.epochs),
            )
        except RuntimeError as error:  # such as too little memory
            raise RunError(f"the training fails: {str(error).splitlines()[0]}") from error
        export(trained, folder.path)
        screen.note(
            f"Trained on {size.training:,} of them for {size.epochs} epochs in "
            f"{time.monotonic() - start:.0f} s. Bones of others: NLL {trained.nll:.2f}, "
            f"{trained.constant_nll:.2f} with constant lengths."
        )
    results.print()
    _print(results, f"$ {_command(folder)}")
    score(
        images=[str(folder.images)],
        pose=folder.pose,
        aux=folder.aux,
        skeleton="lsp",
        out=str(folder.scores),
        trust=True,
        num_peaks=NUM_PEAKS,
        min_distance=MIN_DISTANCE,
    )
    predictions = _predictions(folder, truth)
    # Of five peaks, as it is defined, and not of those that the table's is of.
    temperature = trained.entropy_temperature
    entropy = multi_peak_entropy(predictions.heatmaps, temperature=temperature)
    evaluation = Evaluation(folder.scores, truth, entropy.double().numpy())
    results.print()
    results.print(_rankings_table(evaluation))
    _print(
        results,
        "How often what is to be found comes before an ordinary picture, or a bad pose before a\n"
        f"good one. Bad: {MANY_WRONG} or more joints farther than {WRONG:g} torso from the truth.\n"
        f"Entropy: Multi-Peak Entropy at temperature {temperature:.3g}, fitted to other pictures.\n"
        "Both: the sum of the ranks by entropy and by log_prob, which is of the refined pose.",
        "dim",
    )
    results.print()
    results.print(_accuracies_table(evaluation))
    _draw_extremes(evaluation, truth, predictions.params.numpy(), folder)
    results.print()
    _print(results, f"Least and most likely poses: {folder.contact_sheet}")
    _print(results, f"Networks, pictures, truth, scores: {folder.path}")


class _OneBar(Reporter):
    """Shows all epochs as one bar."""

    def __init__(self, screen: FitScreen, epochs: int) -> None:
        self.screen = screen
        self.epochs = epochs
        self.has_begun = False

    def stage(self, what: str, total: int) -> None:
        """Begin the bar with the first epoch."""
        if not self.has_begun:
            self.has_begun = True
            self.screen.stage("training", total * self.epochs)

    def advance(self, count: int) -> None:
        """Move it."""
        self.screen.advance(count)


def _drawn(kinds: Iterable[str], seed: tuple[int, int], screen: FitScreen) -> Iterator[Picture]:
    for index, kind in enumerate(kinds):
        yield draw_picture(kind, (*seed, index))
        screen.advance(1)


def _command(folder: DemoFolder) -> str:
    """Return the command line that does what the demo does with `score`."""
    paths = {"--pose": folder.pose, "--aux": folder.aux, "--out": folder.scores}
    options = [text for option, path in paths.items() for text in (option, str(path))]
    options += ["--skeleton", "lsp", "--num-peaks", str(NUM_PEAKS), "--trust"]
    return shlex.join(["vl4pose", "score", str(folder.images), *options])


def _rankings_table(evaluation: Evaluation) -> Table:
    table = _table("AUROC", *RANKINGS)
    for ranking in evaluation.rankings():
        best = max(ranking.auroc)
        figures = [
            Text("-" if np.isnan(value) else f"{value:.3f}", "bold" if value == best else "")
            for value in ranking.auroc
        ]
        table.add_row(ranking.found, *figures)
    return table


def _accuracies_table(evaluation: Evaluation) -> Table:
    headings = [f"PCK@{share:g} {pose}" for share in THRESHOLDS for pose in ("raw", "refined")]
    table = _table("poses", *headings)
    for accuracy in evaluation.accuracies():
        pairs = zip(accuracy.raw, accuracy.refined, strict=True)
        figures = [f"{value:.3f}" for pair in pairs for value in pair]
        table.add_row(f"{accuracy.num_pictures} {accuracy.kind}", *figures)
    return table


def _table(*headings: str) -> Table:
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for heading in headings:
        table.add_column(heading, justify="right" if table.columns else "left")
    return table


def _predictions(folder: DemoFolder, truth: dict[str, Picture]) -> Prediction:
    """Return what the scores came from: the table holds neither maps nor expected lengths."""
    scorer = Scorer(folder.pose, folder.aux, "lsp", trust=True)
    inputs = [TRANSFORM.apply(read_rgb(folder.images / name))[0] for name in truth]
    batches = torch.split(torch.from_numpy(np.stack(inputs)), BATCH_SIZE)
    return Prediction(*map(torch.cat, zip(*map(scorer.predict, batches), strict=True)))


def _draw_extremes(
    evaluation: Evaluation,
    truth: dict[str, Picture],
    params: npt.NDArray[np.float32],
    folder: DemoFolder,
) -> None:
    """Draw the contact sheet."""
    skeleton = get_skeleton("lsp")
    ascending = np.argsort([row["score"] for row in evaluation.rows], kind="stable").tolist()
    columns = min(COLUMNS, len(ascending) // 2)
    chosen = ascending[:columns] + ascending[-columns:][::-1]
    rows = [evaluation.rows[index] for index in chosen]
    placement = TRANSFORM.place((SIZE, SIZE))
    origin, unit = TRANSFORM.heatmap_to_image([(0, 0), (1, 0)], HEATMAP_SIZE, placement)
    panels = [
        Panel(
            image=truth[row["image"]].image,
            keypoints=np.array(row["keypoints"]),
            refined=np.array(row["refined_keypoints"]),
            lengths=(unit - origin)[0] * params[index, :, 0],
            per_link=np.array(row["per_link"]),
            title=f"{row['score']:,.0f}".replace("-", "\N{MINUS SIGN}") + f"  {kind}",
        )
        for index, row, kind in zip(chosen, rows, evaluation.kinds[chosen], strict=True)
    ]
    headings = "Least likely: annotate these first", "Most likely"
    halves = panels[:columns], panels[columns:]
    draw_contact_sheet(list(zip(headings, halves, strict=True)), skeleton, folder.contact_sheet)


def _print(console: Console, text: str, style: str = "") -> None:
    for line in text.splitlines():
        console.print(Text(printable(line), style), soft_wrap=True)

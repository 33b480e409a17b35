"""What ``vl4pose fit`` shows: bars and lines while it trains, and a report at the end."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from vl4pose.annotations import LeftOut
from vl4pose.cli.errors import printable
from vl4pose.skeleton import readable
from vl4pose.training.annotated_images import Failure
from vl4pose.training.calibration import COVERAGES
from vl4pose.training.loop import FitResult
from vl4pose.training.reporting import Epoch, Reporter

__all__ = ["FitScreen", "show_report"]

_SHOWN = 5  # failures
_SECONDS_BETWEEN_LINES = 30.0


class FitScreen(Reporter):
    """Shows a bar on a terminal, plain lines anywhere else, and a line for each epoch on both.

    A context manager: the bar is there inside.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None
        self._what, self._loss, self._total, self._done = "", "", 0, 0
        self._last_line = time.monotonic()
        self._has_heading = False

    def __enter__(self) -> FitScreen:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def stage(self, what: str, total: int) -> None:
        """Show a new bar."""
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task(what, total=total)
        self._what, self._loss, self._total, self._done = what, "", total, 0

    def advance(self, count: int) -> None:
        """Move the bar, or say now and then where it would be."""
        self._done = min(self._done + count, self._total)
        if self._task is not None:
            text = self._what + self._loss
            self._bar.update(self._task, completed=self._done, description=text)
        now = time.monotonic()
        if not self._console.is_terminal and now - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = now
            self.note(f"{self._what}: {self._done:,} of {self._total:,}{self._loss}")

    def training_nll(self, nll: float) -> None:
        """Show the loss beside the bar."""
        self._loss = f", NLL {nll:.3f}"

    def epoch(self, epoch: Epoch) -> None:
        """Print the figures of an epoch, and above the first of them what they are."""
        self._last_line = time.monotonic()
        with_heatmaps = epoch.train_heatmap_loss is not None
        if not self._has_heading:
            self._has_heading = True
            heading = "epoch   training NLL   validation NLL   constant bones"
            self._print(heading + "   heatmaps: training   validation" * with_heatmaps, "dim")
        figures = f"{epoch.number:>5}   {epoch.train_nll:>12.3f}   {epoch.validation_nll:>14.3f}"
        figures += f"   {epoch.baseline_nll:>14.3f}"
        if with_heatmaps:
            figures += (
                f"   {epoch.train_heatmap_loss:>18.3f}   {epoch.validation_heatmap_loss:>10.3f}"
            )
        self._print(figures + "   best" * epoch.is_best)

    def note(self, text: str) -> None:
        """Print a sentence."""
        self._print(text)

    def _print(self, text: str, style: str = "") -> None:
        self._console.print(Text(printable(text), style=style), soft_wrap=True)


def show_report(
    result: FitResult,
    failures: Sequence[Failure],
    left_out: Sequence[LeftOut],
    written: Sequence[str],
    console: Console,
    *,
    fit_peaks: bool,
) -> None:
    """Print how the bones agree, who could not be used, and what was written."""
    calibration = result.calibration
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("validation set", no_wrap=True)
    for heading in ("bones", "NLL", "constant", "error", *(f"{share:.0%}" for share in COVERAGES)):
        table.add_column(heading, justify="right")
    links: list[int | None] = [None, *range(len(calibration.link_names))]
    for link in links:
        predicted, count = calibration.predicted(link), calibration.count(link)
        figures = [
            f"{predicted.nll:.3f}",
            f"{calibration.baseline(link).nll:.3f}",
            f"{predicted.error:.2f}",
            *(f"{share:.0%}" for share in predicted.coverage.values()),
        ]
        table.add_row(
            "all" if link is None else readable(calibration.link_names[link]),
            f"{count:,}",
            *(figures if count else ["-"] * len(figures)),
            style="bold" if link is None else "",
        )
    console.print(table)
    explanation = (
        "NLL: negative log-likelihood of the true lengths, in nats; constant: that of the\n"
        "same mean and variance for every image. error: in heatmap pixels. 50%, 80%, 95%:\n"
        "how many true lengths lie in the interval that should hold so many."
    )
    console.print(Text(explanation, style="dim"), soft_wrap=True)

    if fit_peaks and result.peaks is not None:
        console.print(
            f"\nPeaks: temperature {result.peaks.temperature:.3g}, and a variance of "
            f"{result.peaks.variance:.3g} square pixels that\nthe network now adds to that of each "
            "bone.",
            soft_wrap=True,
            highlight=False,
        )

    def warn(warning: str) -> None:
        console.print(Text(f"\nWarning: {warning}", style="bold"), soft_wrap=True)

    if calibration.predicted().nll >= calibration.baseline().nll:
        warn(
            "the network expects the validation images' bones no better than constant\n"
            "lengths do. Train on more images; with few, constant lengths are the better choice."
        )
    if fit_peaks and result.peaks is None:
        warn(
            "fewer than 100 joints of the validation images lie near a peak of the pose\n"
            "network: too few to find out how far to trust its peaks."
        )

    def show(title: str, lines: Sequence[str]) -> None:
        if lines:
            console.print(Text(f"\n{title}"))
        for line in lines:
            console.print(Text(f"  {printable(line)}"), soft_wrap=True)

    first = f" (first {_SHOWN} of {len(failures):,})" if len(failures) > _SHOWN else ""
    shown = [f"{failure.person}  {failure.reason}" for failure in failures[:_SHOWN]]
    show(f"not trained or validated on{first}", shown)
    show("left out", list(map(str, left_out)))
    show("written", written)

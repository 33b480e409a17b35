"""What a run tells its user: progress while it lasts, and a summary at its end."""

from __future__ import annotations

import heapq
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import pyarrow as pa
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from vl4pose.cli.annotations import LeftOut
from vl4pose.cli.errors import printable
from vl4pose.results import Status

__all__ = ["Tally", "Timing", "progress", "show_summary"]

_SHOWN = 5  # lowest scores, and failures
_SECONDS_BETWEEN_LINES = 30.0
_LONG_SCORE = 1e6  # from where digits behind the point say nothing


@dataclass
class Timing:
    """Seconds of a run, as its main thread spends them."""

    decode_s: float = 0.0  # waiting for images: reading them runs ahead, in threads
    network_s: float = 0.0  # both networks
    score_s: float = 0.0  # vl4pose's own pass, and its results back to the host
    total_s: float = 0.0

    @contextmanager
    def of(self, part: str) -> Iterator[None]:
        """Add the time of the ``with`` block to a part."""
        start = time.perf_counter()
        try:
            yield
        finally:
            setattr(self, part, getattr(self, part) + time.perf_counter() - start)


@dataclass
class Tally:
    """Counts of a run: ``scored + flagged + failed == found`` once it is over.

    A row is failed when it has an error, flagged when its status is not 0 (it may have a score all
    the same), else scored.
    """

    found: int
    unit: str = "images"
    scored: int = 0
    flagged: int = 0
    failed: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    flagged_names: list[tuple[str, str]] = field(default_factory=list)
    lowest: list[tuple[float, str]] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        """Return the counts alone."""
        names = ("found", "scored", "flagged", "failed")
        return {name: getattr(self, name) for name in names}

    def add(self, rows: pa.Table) -> None:
        """Count the rows of a batch."""
        names = ("image", "person_id", "error", "status", "score")
        lowest = list(self.lowest)
        for row in rows.select(names).to_pylist():
            name = row["image"] or "?"
            if row["person_id"] is not None:
                name += f" #{row['person_id']}"
            if row["error"] is not None:
                self.failed += 1
                if len(self.failures) < _SHOWN:
                    self.failures.append((name, row["error"]))
                continue
            if row["status"]:
                self.flagged += 1
                labels = [str(flag.name) for flag in Status(row["status"])]
                self.statuses.update(labels)
                if len(self.flagged_names) < _SHOWN:
                    self.flagged_names.append((name, ", ".join(labels)))
            else:
                self.scored += 1
            if row["score"] is not None:
                lowest.append((row["score"], name))
        self.lowest = heapq.nsmallest(_SHOWN, lowest)


class Advance(Protocol):
    """Tells a progress display that so many more people are done."""

    def __call__(self, count: int) -> None: ...


class _Rate(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        # Of the whole run: a speed between updates does not exist before the second of them.
        seconds = task.finished_time or task.elapsed
        rate = f"{task.completed / seconds:.1f}" if seconds and task.completed else "-"
        return Text(f"{rate} {self.unit}/s")


@contextmanager
def progress(tally: Tally, console: Console) -> Iterator[Advance]:
    """Show a bar on a terminal; anywhere else a plain line now and then."""
    if not console.is_terminal:
        yield _plain_lines(tally, console)
        return
    bar = Progress(
        TextColumn("scoring"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(tally.unit),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=console,
    )
    with bar:
        task = bar.add_task("", total=tally.found)
        yield lambda count: bar.advance(task, count)


def _plain_lines(tally: Tally, console: Console) -> Advance:
    total = tally.found
    start = last = time.monotonic()
    done = 0

    def advance(count: int) -> None:
        nonlocal done, last
        done += count
        now = time.monotonic()
        if now - last >= _SECONDS_BETWEEN_LINES and done < total:
            last = now
            rate = done / (now - start)
            left = (total - done) / rate / 60
            console.print(
                f"{done:,} of {total:,}, {rate:.1f} {tally.unit}/s, {left:.0f} min left",
                highlight=False,
            )

    return advance


def show_summary(
    tally: Tally, timing: Timing, left_out: Sequence[LeftOut], out: str, console: Console
) -> None:
    """Print counts, where the time went, the lowest scores and the failures."""
    counts = _table(*tally.counts())
    counts.add_row(*(f"{count:,}" for count in tally.counts().values()))
    console.print(counts)

    total = max(timing.total_s, 1e-9)
    parts = {
        "waiting for images": timing.decode_s,
        "networks": timing.network_s,
        "vl4pose": timing.score_s,
    }
    parts["table and rest"] = max(total - sum(parts.values()), 0.0)
    times = _table("", "seconds", "share")
    for name, seconds in parts.items():
        times.add_row(name, f"{seconds:.2f}", f"{seconds / total:.1%}")
    times.add_row("total", f"{total:.2f}", f"{tally.found / total:.1f} {tally.unit}/s")
    console.print(times)

    def show(title: str, lines: Sequence[str]) -> None:
        if lines:
            console.print(Text(f"\n{title}"))
        for line in lines:
            console.print(Text(f"  {printable(line)}"), soft_wrap=True)

    scores = [_score(score) for score, _ in tally.lowest]
    width = max(map(len, scores), default=0)
    names = [name for _, name in tally.lowest]
    lowest = [f"{score:>{width}}  {name}" for score, name in zip(scores, names, strict=True)]
    show("lowest score" if len(lowest) == 1 else "lowest scores, to annotate first", lowest)
    failures = [f"{name}  {error}" for name, error in tally.failures]
    show(f"failed{_first(failures, tally.failed)}", failures)
    flagged = [f"{name}  {labels}" for name, labels in tally.flagged_names]
    show(f"flagged{_first(flagged, tally.flagged)}", flagged)
    if tally.flagged > len(flagged):
        counts_of = [f"{count:,} {label}" for label, count in tally.statuses.items()]
        show("flagged, by status", counts_of)
    show("left out", list(map(str, left_out)))
    console.print(Text(f"\nwritten to {printable(out)}"), soft_wrap=True)


def _first(shown: Sequence[str], total: int) -> str:
    return f" (first {len(shown)} of {total:,})" if total > len(shown) else ""


def _score(score: float) -> str:
    return f"{score:.2f}" if abs(score) < _LONG_SCORE else f"{score:.6g}"


def _table(*headings: str) -> Table:
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for i, heading in enumerate(headings):
        table.add_column(heading, justify="right" if i or heading else "left")
    return table

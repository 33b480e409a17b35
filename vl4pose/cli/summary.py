"""What a run tells its user: progress while it lasts, and a summary at its end."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

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

from vl4pose.annotations import LeftOut
from vl4pose.cli.errors import printable
from vl4pose.pool.run import PoolResult
from vl4pose.pool.tally import Tally

__all__ = ["progress", "show_summary"]

_SECONDS_BETWEEN_LINES = 30.0
_LONG_SCORE = 1e6  # from where digits behind the point say nothing


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
        done = task.completed - task.fields.get("before", 0)
        rate = f"{done / seconds:.1f}" if seconds and done else "-"
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
        task = bar.add_task("", total=tally.found, completed=tally.done, before=tally.done)
        yield lambda count: bar.advance(task, count)


def _plain_lines(tally: Tally, console: Console) -> Advance:
    total, before = tally.found, tally.done
    start = last = time.monotonic()
    done = before

    def advance(count: int) -> None:
        nonlocal done, last
        done += count
        now = time.monotonic()
        if now - last >= _SECONDS_BETWEEN_LINES and done < total:
            last = now
            rate = (done - before) / (now - start)
            left = (total - done) / rate / 60
            console.print(
                f"{done:,} of {total:,}, {rate:.1f} {tally.unit}/s, {left:.0f} min left",
                highlight=False,
            )

    return advance


def show_summary(
    result: PoolResult, left_out: Sequence[LeftOut], out: str, console: Console
) -> None:
    """Print counts, where the time went, the lowest scores and the failures."""
    tally = result.tally
    counts = _table(*tally.counts())
    counts.add_row(*(f"{count:,}" for count in tally.counts().values()))
    console.print(counts)

    if result.num_scored:
        console.print(_times(result))

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


def _times(result: PoolResult) -> Table:
    timing, tally = result.timing, result.tally
    total = max(timing.total_s, 1e-9)
    parts = {
        "waiting for images": timing.wait_s,
        "networks": timing.network_s,
        "vl4pose": timing.score_s,
        "rows": timing.rows_s,
    }
    if not timing.workers_s:
        parts["waiting to write"] = timing.write_s
    busy = timing.workers_s or total
    parts["rest"] = max(busy - sum(parts.values()), 0.0)
    times = _table("", "seconds", "share")
    for name, seconds in parts.items():
        times.add_row(name, f"{seconds:.2f}", f"{seconds / busy:.1%}")
    if timing.workers_s:
        times.add_row("all workers together", f"{busy:.2f}", f"{busy / total:.1f} at a time")
    times.add_row("total", f"{total:.2f}", f"{result.num_scored / total:.1f} {tally.unit}/s")
    beside = {
        "reading images": timing.read_s,
        "resizing": timing.crop_s,
        "writing": timing.store_s,
    }
    for name, seconds in beside.items():
        times.add_row(f"meanwhile, {name}", f"{seconds:.2f}", f"{seconds / busy:.1%}")
    return times


def _first(shown: Sequence[str], total: int) -> str:
    return f" (first {len(shown)} of {total:,})" if total > len(shown) else ""


def _score(score: float) -> str:
    return f"{score:.2f}" if abs(score) < _LONG_SCORE else f"{score:.6g}"


def _table(*headings: str) -> Table:
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for i, heading in enumerate(headings):
        table.add_column(heading, justify="right" if i or heading else "left")
    return table

"""What a run counts and measures."""

from __future__ import annotations

import heapq
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pyarrow as pa

from vl4pose.results import Status

__all__ = ["TALLIED", "Tally", "Timing", "counts_of"]

TALLIED = ("image", "person_id", "error", "status", "score")
_SHOWN = 5  # lowest scores, and failures


@dataclass
class Timing:
    """Seconds of a run, as its main thread spends them, and the threads that read ahead of it."""

    wait_s: float = 0.0  # for images
    network_s: float = 0.0  # both networks
    score_s: float = 0.0  # vl4pose's own pass, and its results back to the host
    rows_s: float = 0.0  # making rows of them
    write_s: float = 0.0  # writing the rows
    total_s: float = 0.0
    read_s: float = 0.0  # of all threads together: reading and decoding images
    crop_s: float = 0.0  # likewise: cutting and resizing them
    workers_s: float = 0.0  # where workers of Ray score: of all of them together, scoring

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
    unit: str = "images"  # or "people"
    scored: int = 0
    flagged: int = 0
    failed: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    flagged_names: list[tuple[str, str]] = field(default_factory=list)
    lowest: list[tuple[float, str]] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)

    @property
    def done(self) -> int:
        """How many rows there are so far."""
        return self.scored + self.flagged + self.failed

    def counts(self) -> dict[str, int]:
        """Return the counts alone."""
        names = ("found", "scored", "flagged", "failed")
        return {name: getattr(self, name) for name in names}

    def add(self, rows: pa.Table) -> None:
        """Count the rows of a batch."""
        lowest = list(self.lowest)
        for row in rows.select(TALLIED).to_pylist():
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


def counts_of(rows: pa.Table) -> dict[str, int]:
    """Return how many rows were found, scored, flagged and failed."""
    tally = Tally(len(rows))
    tally.add(rows)
    return tally.counts()

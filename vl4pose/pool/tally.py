"""What a run counts and measures."""

from __future__ import annotations

import heapq
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from vl4pose.results import Status

__all__ = ["TALLIED", "Tally", "Timing", "counts_of"]

TALLIED = ("image", "person_id", "error", "status", "score")
_SHOWN = 5  # lowest scores, and failures


@dataclass
class Timing:
    """Seconds of a run, as its main thread spends them, and the threads beside it."""

    wait_s: float = 0.0  # for images
    network_s: float = 0.0  # both networks
    score_s: float = 0.0  # vl4pose's own pass, and its results back to the host
    rows_s: float = 0.0  # making rows of them
    write_s: float = 0.0  # for the rows of the shard before to be written
    total_s: float = 0.0
    read_s: float = 0.0  # of all threads together: reading and decoding images
    crop_s: float = 0.0  # likewise: cutting and resizing them
    store_s: float = 0.0  # of the thread that writes
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
        """Count rows, of which it needs the columns ``TALLIED``."""
        failed = np.asarray(rows["error"].is_valid())
        status = rows["status"].fill_null(0).to_numpy().astype(np.uint8)
        flagged = (status != 0) & ~failed
        for index in np.flatnonzero(failed)[: _SHOWN - len(self.failures)].tolist():
            self.failures.append((_name(rows, index), rows["error"][index].as_py()))
        for index in np.flatnonzero(flagged)[: _SHOWN - len(self.flagged_names)].tolist():
            labels = ", ".join(str(flag.name) for flag in Status(status[index]))
            self.flagged_names.append((_name(rows, index), labels))
        for bits, count in Counter(status[flagged].tolist()).items():
            self.statuses.update(dict.fromkeys((str(f.name) for f in Status(bits)), count))
        self.failed += int(failed.sum())
        self.flagged += int(flagged.sum())
        self.scored += int((~failed & ~flagged).sum())
        scores = rows["score"].to_numpy(zero_copy_only=False)  # NaN where there is none
        there = scores[~np.isnan(scores)]
        if len(there):
            highest = np.sort(there)[:_SHOWN][-1]
            lowest = [
                (float(scores[i]), _name(rows, i))
                for i in np.flatnonzero(scores <= highest).tolist()
            ]
            self.lowest = heapq.nsmallest(_SHOWN, self.lowest + lowest)


def _name(rows: pa.Table, index: int) -> str:
    name = rows["image"][index].as_py() or "?"
    person_id = rows["person_id"][index].as_py()
    return name if person_id is None else f"{name} #{person_id}"


def counts_of(rows: pa.Table) -> dict[str, int]:
    """Return how many rows were found, scored, flagged and failed."""
    tally = Tally(len(rows))
    tally.add(rows)
    return tally.counts()

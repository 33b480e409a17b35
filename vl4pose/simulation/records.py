"""What a simulation found out, one file for each cycle of each run."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vl4pose._atomic_file import write_atomically

__all__ = [
    "PLAN",
    "CycleRecord",
    "DamagedFileError",
    "read_plan",
    "read_record",
    "read_records",
    "record_path",
    "write_record",
]

PLAN = "simulation.json"  # what was asked for, in a simulation's folder


class DamagedFileError(ValueError):
    """A file in a simulation's folder does not hold what was written."""


@dataclass(frozen=True)
class CycleRecord:
    """One cycle of one run: a network trained on the labels so far, and what was chosen next.

    Attributes
    ----------
    strategy : str
        Its name in the configuration.
    seed : int
    cycle : int
        From 0, whose labels are the start set.
    num_labels : int
        Images that the network was trained on.
    metrics : dict of str to float
        Means over the test set, by name ("PCK@0.2"), in the configuration's order.
    per_joint : dict of str to list of float or None
        The same of each joint, in the skeleton's order; None where no image says.
    selected : list of int
        Which images of the training set were labelled after this cycle, the most urgent first;
        none after the last.
    seconds : dict of str to float
        Of this run alone: "train", "evaluate", "score" (all that the strategy asks of networks
        about the pool, training of its own networks included) and "select".
    shared_seconds : dict of str to float
        "train" and "evaluate" of a network that was trained once for all strategies of the seed,
        as that of cycle 0 is; each of them has the same figures, which count once for the seed.
    """

    strategy: str
    seed: int
    cycle: int
    num_labels: int
    metrics: dict[str, float]
    per_joint: dict[str, list[float | None]] = field(default_factory=dict)
    selected: list[int] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    shared_seconds: dict[str, float] = field(default_factory=dict)


def record_path(folder: Path, strategy: str, seed: int, cycle: int) -> Path:
    """Return where the record of a cycle lies in a simulation's folder."""
    return folder / "runs" / strategy / f"seed-{seed}" / f"cycle-{cycle}.json"


def write_record(folder: Path, record: CycleRecord) -> None:
    """Write a record, completely or not at all."""
    path = record_path(folder, record.strategy, record.seed, record.cycle)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(asdict(record), indent=1).encode())


def read_record(path: Path) -> CycleRecord:
    """Return the record that a file holds.

    Raises
    ------
    DamagedFileError
        ``'<path>' must hold the record of a cycle, and does not``.
    """
    try:
        return CycleRecord(**json.loads(path.read_text()))
    except (TypeError, ValueError) as error:
        raise DamagedFileError(
            f"'{path}' must hold the record of a cycle, and does not: delete '{path.parent}', to "
            "have the run done again"
        ) from error


def read_records(folder: str | os.PathLike[str]) -> Sequence[CycleRecord]:
    """Return all records of a simulation's folder, by strategy, seed and cycle."""
    records = [read_record(path) for path in Path(folder).glob("runs/*/seed-*/cycle-*.json")]
    return sorted(records, key=lambda record: (record.strategy, record.seed, record.cycle))


def read_plan(folder: Path) -> dict[str, Any]:
    """Return what the folder's ``simulation.json`` holds.

    Raises
    ------
    DamagedFileError
        ``'.../simulation.json' must hold JSON: ...``, or ``must hold an object``.
    """
    path = folder / PLAN
    try:
        plan = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DamagedFileError(f"'{path}' must hold JSON: {error}") from error
    if not isinstance(plan, dict):
        raise DamagedFileError(f"'{path}' must hold an object, got {type(plan).__name__}")
    return plan

"""``python -m bench.selection``: how long a selection from a million rows takes, and its memory.

Every case runs in a process of its own, in which only it has been at work: the seconds are those of
``vl4pose.select`` alone, the memory is the most that the process had, less what it had before the
call. What comes back is checked before it is reported. Budget 1,000.

With ``--scores FILE``, a table of ``vl4pose score``, the rows of that table are repeated, with
noise on their scores, to a file of as many rows, and ``vl4pose select`` runs on it as a user would
run it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import vl4pose
from bench.machine import cpu_name

BUDGET = 1000
CLIP = 1000  # frames of a video
SIZE = 256  # of an embedding
CASES = {
    "likelihood": {},
    "likelihood + entropy": {"strategy": "likelihood+entropy"},
    "a tenth at random": {"random_share": 0.1},
    "frames 25 apart": {"min_gap": 25},
    "near-duplicates": {"diversity": "none", "min_separation": 18.0},
    "k-centre of the first 200,000": {"diversity": "k-centre"},
    "the same, approximate": {"diversity": "k-centre", "approximate": True},
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.selection", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--rows", type=int, default=1_000_000, help="from 50,000")
    parser.add_argument("--scores", type=Path, metavar="FILE", help="also the command line, on it")
    parser.add_argument("--case", choices=CASES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        print(json.dumps(measure(arguments.case, arguments.rows)))
        return
    print(f"{cpu_name()}, {arguments.rows:,} rows, budget {BUDGET:,}")
    for case in CASES:
        command = [sys.executable, "-m", "bench.selection", "--case", case]
        run = subprocess.run(
            [*command, "--rows", str(arguments.rows)], check=True, capture_output=True, text=True
        )
        show(case, **json.loads(run.stdout))
    if arguments.scores:
        with tempfile.TemporaryDirectory() as folder:
            table = Path(folder) / "scores.parquet"
            repeat(arguments.scores, table, arguments.rows)
            show("vl4pose select, all of the process", **measure_command(table))


def show(case: str, seconds: float, mebibytes: float) -> None:
    """Print a line."""
    print(f"{case:36}{seconds:8.2f} s {mebibytes:8,.0f} MiB")


def measure(case: str, num_rows: int) -> dict[str, float]:
    """Return the time and memory of a case."""
    rng = np.random.default_rng(0)
    scores = {
        "score": rng.normal(-40, 20, num_rows),
        "multi_peak_entropy": rng.gamma(2, 2, num_rows),
    }
    options: dict[str, Any] = dict(CASES[case])
    if "min_gap" in options:
        rows = np.arange(num_rows)
        options |= {"groups": rows // CLIP, "order": rows % CLIP}
    if "diversity" in options:
        options["embeddings"] = rng.standard_normal((num_rows, SIZE), np.float32)
    before = peak_memory()
    start = time.perf_counter()
    selection = vl4pose.select(scores, BUDGET, **options)
    seconds = time.perf_counter() - start
    memory = peak_memory() - before
    check(selection, scores["score"], options)
    return {"seconds": seconds, "mebibytes": memory}


def check(selection: vl4pose.Selection, score: np.ndarray, options: dict[str, Any]) -> None:
    """Raise an AssertionError unless a selection is what was asked for."""
    rows = selection.rows
    assert len(set(rows.tolist())) == BUDGET
    ranked = rows[selection.chosen_by == "ranking"]
    lowest = np.argsort(score, kind="stable")
    if not options:
        assert (rows == lowest[:BUDGET]).all()
    if "random_share" in options:
        assert len(ranked) == 0.9 * BUDGET
        assert (score[ranked] <= score[lowest[BUDGET]]).all()
    if "min_gap" in options:
        order = np.sort(rows)
        same = np.diff(order // CLIP) == 0
        assert (np.diff(order)[same] >= options["min_gap"]).all()
    if "min_separation" in options:
        points = options["embeddings"][rows].astype(float)
        squares = (points**2).sum(1)
        distances = squares[:, None] + squares - 2 * points @ points.T
        np.fill_diagonal(distances, np.inf)
        assert distances.min() >= options["min_separation"] ** 2 - 1e-6
    if options.get("diversity") == "k-centre":
        assert (selection.chosen_by == "diversity").all()
        assert set(rows.tolist()) <= set(lowest[: selection.settings["shortlist"]].tolist())


def peak_memory() -> float:
    """Return the most memory that this process had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def repeat(scores: Path, out: Path, num_rows: int) -> None:
    """Write a table of as many rows, without embeddings."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from vl4pose.score_table import METADATA_KEY, SCHEMA, read_scores

    table = read_scores(scores)
    field = SCHEMA.get_field_index("embedding")
    rows = table.rows.select(SCHEMA.names)
    rows = rows.set_column(
        field, SCHEMA.field(field), pa.nulls(len(rows), SCHEMA.field(field).type)
    )
    rng = np.random.default_rng(0)

    def parts() -> Iterator[pa.Table]:
        for start in range(0, num_rows, 4096):
            number = min(4096, num_rows - start)
            part = rows.take(pa.array(rng.integers(0, len(rows), number)))
            names = [f"clip{i // CLIP:04}/{i % CLIP:06}.jpg" for i in range(start, start + number)]
            noisy = part["score"].to_numpy() + rng.normal(0, 5, number)
            for name, values in (("image", names), ("score", noisy)):
                at = SCHEMA.get_field_index(name)
                part = part.set_column(
                    at, SCHEMA.field(at), pa.array(values, SCHEMA.field(at).type)
                )
            yield part

    told = {METADATA_KEY: json.dumps(table.metadata).encode()}
    schema = SCHEMA.with_metadata(told)
    with pq.ParquetWriter(out, schema, compression="zstd") as writer:
        for part in parts():
            writer.write_table(part.cast(schema))


def measure_command(scores: Path) -> dict[str, float]:
    """Return the time and memory of ``vl4pose select``."""
    out = scores.with_name("selection.parquet")
    main = "from vl4pose.cli import main; main()"
    command = [sys.executable, "-c", main, "select", scores, "--budget", BUDGET, "--out", out]
    start = time.perf_counter()
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "mebibytes": usage.ru_maxrss / 1024}


if __name__ == "__main__":
    main()

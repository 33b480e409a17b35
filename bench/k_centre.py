"""``python -m bench.k_centre``: what a greedy k-centre choice (Core-Set) costs.

Two tables for each kind of embeddings, of normally distributed ones and of ones in clusters:

- seconds of one choice, everybody in turn, with the same number of threads: vl4pose, exact and over
  an index, and the loops that are otherwise written: torch with differences, torch and NumPy with a
  matrix product (as scikit-learn's ``euclidean_distances``), each comparing all rows with each new
  centre;
- the largest distance that is left, next to the exact choice's and a random one's.

Answers are checked first: ours against the twin, bit for bit, the others against ours by the
distance of every centre, which the matrix product has to fewer digits. ``--million`` adds one run
each over 1,000,000 rows, without the loops.
"""

from __future__ import annotations

import argparse
import functools
import time
from collections.abc import Callable

import numpy as np
import torch
from rich import box
from rich.console import Console
from rich.table import Table

from bench.machine import cpu_name, num_cpus
from bench.rounds import interleaved
from vl4pose import reference
from vl4pose.active.k_centre import Centres, k_centre

Choose = Callable[[np.ndarray, int], Centres]


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.k_centre", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--columns", type=int, default=256)
    parser.add_argument("--centres", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3, help="at least")
    parser.add_argument("--threads", type=int, default=num_cpus())
    parser.add_argument("--million", action="store_true", help="also choose among 1,000,000 rows")
    parser.add_argument("--check", action="store_true", help="compare answers, time nothing")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    console = Console()
    for make in (spread, clustered):
        check(make(2000, arguments.columns), 50)
    if arguments.check:
        console.print("all answers agree")
        return
    size = f"{arguments.centres:,} of {arguments.rows:,} x {arguments.columns} float32"
    console.print(f"{cpu_name()}, {arguments.threads} threads; {size}")
    for make in (spread, clustered):
        rows = make(arguments.rows, arguments.columns)
        calls = {
            name: functools.partial(choose, rows, arguments.centres)
            for name, choose in CONTESTANTS.items()
        }
        times = interleaved(calls, 0.0, arguments.rounds)
        result = table(f"{make.__name__}: seconds", ("median", "ratio", "spread"))
        first = next(iter(times.values())).median
        for name, taken in times.items():
            ratio = f"{taken.median / first:.2f}"
            result.add_row(name, f"{taken.median:.3f}", ratio, f"{taken.spread:.0%}")
        console.print(result)
        console.print(coverage(rows, arguments.centres))
    if arguments.million:
        for make in (spread, clustered):
            console.print(million(make(1_000_000, arguments.columns), arguments.centres))


def table(title: str, columns: tuple[str, ...]) -> Table:
    result = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    result.add_column("")
    for name in columns:
        result.add_column(name, justify="right")
    return result


# Embeddings -----------------------------------------------------------------------------------


def spread(num_rows: int, num_columns: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.standard_normal((num_rows, num_columns), dtype=np.float32)


def clustered(num_rows: int, num_columns: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    centres = rng.standard_normal((100, num_columns), dtype=np.float32)
    rows = rng.standard_normal((num_rows, num_columns), dtype=np.float32)
    rows *= np.float32(0.1)
    rows += centres[rng.integers(0, len(centres), num_rows)]
    return rows


# Contestants ----------------------------------------------------------------------------------


def exact(rows: np.ndarray, num_centres: int) -> Centres:
    return k_centre(rows, num_centres, num_threads=torch.get_num_threads())


def over_index(rows: np.ndarray, num_centres: int) -> Centres:
    return k_centre(rows, num_centres, approximate=True, num_threads=torch.get_num_threads())


def torch_differences(rows: np.ndarray, num_centres: int) -> Centres:
    given = torch.from_numpy(rows)

    def to_all(row: int) -> torch.Tensor:
        return (given - given[row]).square_().sum(1)

    return torch_loop(to_all, len(rows), num_centres)


def torch_product(rows: np.ndarray, num_centres: int) -> Centres:
    given = torch.from_numpy(rows)
    squares = given.square().sum(1)

    def to_all(row: int) -> torch.Tensor:
        return (squares + squares[row] - 2 * (given @ given[row])).clamp_(min=0)

    return torch_loop(to_all, len(rows), num_centres)


def torch_loop(to_all: Callable[[int], torch.Tensor], num_rows: int, num_centres: int) -> Centres:
    indices, nearest = [0], torch.full((num_rows,), torch.inf)
    distances = [np.inf]
    while len(indices) < num_centres:
        nearest = torch.minimum(nearest, to_all(indices[-1]))
        indices.append(int(nearest.argmax()))
        distances.append(float(nearest[indices[-1]].sqrt()))
    return Centres(np.array(indices), np.float32(distances))


def numpy_product(rows: np.ndarray, num_centres: int) -> Centres:
    squares = np.einsum("nd,nd->n", rows, rows)
    indices, distances = [0], [np.inf]
    nearest = np.full(len(rows), np.inf, np.float32)
    while len(indices) < num_centres:
        row = indices[-1]
        to_all = squares + squares[row] - 2 * (rows @ rows[row])
        nearest = np.minimum(nearest, np.maximum(to_all, 0))
        indices.append(int(nearest.argmax()))
        distances.append(float(np.sqrt(nearest[indices[-1]])))
    return Centres(np.array(indices), np.float32(distances))


CONTESTANTS: dict[str, Choose] = {
    "vl4pose": exact,
    "vl4pose, approximate": over_index,
    "torch, differences": torch_differences,
    "torch, matrix product": torch_product,
    "NumPy, matrix product": numpy_product,
}


# Answers --------------------------------------------------------------------------------------


def check(rows: np.ndarray, num_centres: int) -> None:
    """Compare what all contestants choose."""
    ours = exact(rows, num_centres)
    indices, distances = reference.k_centre(rows, num_centres)
    np.testing.assert_array_equal(ours.indices, indices)
    np.testing.assert_array_equal(ours.distances, distances)
    for choose in (torch_differences, torch_product, numpy_product):
        np.testing.assert_allclose(choose(rows, num_centres).distances, distances, rtol=1e-3)
    left = largest_distance(rows, over_index(rows, num_centres).indices)
    assert left <= 1.15 * largest_distance(rows, indices)


def largest_distance(rows: np.ndarray, indices: np.ndarray) -> float:
    """Return the largest distance of a row from the nearest of the chosen ones."""
    given = torch.from_numpy(rows)
    centres = given[torch.from_numpy(indices)]
    largest = 0.0
    for part in given.split(20_000):
        apart = torch.cdist(part, centres)
        largest = max(largest, float(apart.amin(1).max()))
    return largest


def coverage(rows: np.ndarray, num_centres: int) -> Table:
    """Return the largest distances that are left, those of the index for three seeds."""
    rng = np.random.default_rng(0)
    result = table("Largest distance left", ("distance", "ratio"))
    best = largest_distance(rows, exact(rows, num_centres).indices)
    choices = {"vl4pose": exact(rows, num_centres).indices}
    for seed in range(3):
        found = k_centre(rows, num_centres, approximate=True, seed=seed)
        choices[f"vl4pose, approximate, seed {seed}"] = found.indices
    choices["random"] = rng.choice(len(rows), num_centres, replace=False)
    for name, indices in choices.items():
        left = largest_distance(rows, indices)
        result.add_row(name, f"{left:.3f}", f"{left / best:.3f}")
    return result


def million(rows: np.ndarray, num_centres: int) -> Table:
    """Return one time each of choosing among very many rows."""
    title = f"{num_centres:,} of {len(rows):,} x {rows.shape[1]} float32, one run each"
    result = table(title, ("seconds", "largest distance left"))
    for name, choose in (("vl4pose", exact), ("vl4pose, approximate", over_index)):
        start = time.perf_counter()
        indices = choose(rows, num_centres).indices
        seconds = time.perf_counter() - start
        result.add_row(name, f"{seconds:.1f}", f"{largest_distance(rows, indices):.3f}")
    return result


if __name__ == "__main__":
    main()

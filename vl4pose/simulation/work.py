"""Who does what: the runs of a simulation, taken by any number of processes one by one."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vl4pose._sentences import network_reason
from vl4pose.simulation.claims import Claim, claim
from vl4pose.simulation.config import ChosenStrategy, SimulationConfig
from vl4pose.simulation.datasets import load_datasets
from vl4pose.simulation.folder import SimulationFolder
from vl4pose.simulation.pace import Pace, SimulationError, TimeUpError
from vl4pose.simulation.pose_network import PoseNetwork
from vl4pose.simulation.runs import Bench, check_needs
from vl4pose.training.positions import reproducible
from vl4pose.training.reporting import Reporter

__all__ = ["Activity", "Piece", "is_complete", "make_bench", "pieces", "work"]

_SECONDS_BETWEEN_LOOKS = 0.5


@dataclass(frozen=True)
class Piece:
    """A run: all cycles of a strategy and a seed; of no strategy, what they share."""

    strategy: ChosenStrategy | None
    seed: int

    @property
    def name(self) -> str:
        """What its claim is called."""
        return f"{'shared' if self.strategy is None else self.strategy.label}-seed-{self.seed}"

    @property
    def title(self) -> str:
        """What the screen calls it."""
        what = "start set" if self.strategy is None else self.strategy.label
        return f"{what}, seed {self.seed}"


def pieces(config: SimulationConfig) -> list[Piece]:
    """Return all runs, in the order in which they are begun."""
    seeds = config.simulation.seed_list
    if config.run.order == "seed":
        return [Piece(chosen, seed) for seed in seeds for chosen in config.strategies]
    return [Piece(chosen, seed) for chosen in config.strategies for seed in seeds]


def is_complete(config: SimulationConfig, folder: SimulationFolder) -> bool:
    """Return whether every run is done."""
    return all(_is_done(config, folder, piece) for piece in pieces(config))


def make_bench(
    config: SimulationConfig, path: Path, device: torch.device, pace: Pace, *, begin: bool = True
) -> Bench:
    """Make the network, read the data, and make sure that the folder is of this simulation.

    Parameters
    ----------
    config : SimulationConfig
    path : Path
        The folder.
    device : torch.device
    pace : Pace
    begin : bool
        Write into the folder what it is of.

    Raises
    ------
    ValueError
        About a key of the configuration; `OtherSimulationError`.
    SimulationError
    """
    if device.type == "cuda":
        # Read with the first product of matrices: see `reproducible`.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if config.run.threads is not None:
        torch.set_num_threads(config.run.threads)
    folder = SimulationFolder(path)
    folder.check(config)
    for chosen in config.strategies:
        try:
            chosen.make().check_packages()
        except ImportError as error:
            raise SimulationError(f"the strategy {chosen.label!r}: {error}") from error
    network = PoseNetwork(config, device)
    check_needs(config, network)
    train, test = load_datasets(config, network.heatmap_size, device, pace.reporter)
    if begin:
        folder.begin(
            config,
            {
                "num_training_images": len(train),
                "num_test_images": len(test),
                "training set": train.digest(),
                "test set": test.digest(),
                "weights": network.given_digest(),
            },
        )
    return Bench(config, folder, network, train, test, device, pace)


class Activity(Reporter):
    """Writes what this process does into the file of its claim, for whoever watches the folder."""

    def __init__(self) -> None:
        self._claim: Claim | None = None
        self._note: dict[str, Any] = {}

    @contextmanager
    def of(self, claimed: Claim) -> Iterator[None]:
        """Take a claim, while the ``with`` block lasts."""
        before = self._claim, self._note
        self._claim, self._note = claimed, {}
        try:
            yield
        finally:
            self._claim, self._note = before

    def title(self, title: str, cycle: int) -> None:
        """Take note of what is begun."""
        self._note = {"title": title, "cycle": cycle}

    def stage(self, what: str, total: int) -> None:
        """Pass it on."""
        self._note |= {"stage": what, "total": total, "done": 0}
        self._tell(now=True)

    def advance(self, count: int) -> None:
        """Pass it on."""
        self._note["done"] = self._note.get("done", 0) + count
        self._tell()

    def _tell(self, *, now: bool = False) -> None:
        if self._claim is not None:
            self._claim.tell(self._note, now=now)


def work(bench: Bench, activity: Activity) -> None:
    """Do what nobody else does, until there is nothing left.

    Parameters
    ----------
    bench : Bench
    activity : Activity
        What the bench's pace reports to.

    Raises
    ------
    TimeUpError
        When the time is over, with everything on the disk.

    Notes
    -----
    Where others have claimed all that is left this process waits, to take over the work of one that
    is killed.
    """
    left = pieces(bench.config)
    with reproducible(bench.device):
        while left := [piece for piece in left if not _is_done(bench.config, bench.folder, piece)]:
            if not any(_try(bench, piece, activity) for piece in left):
                if bench.pace.is_over():
                    raise TimeUpError
                time.sleep(_SECONDS_BETWEEN_LOOKS)


def _try(bench: Bench, piece: Piece, activity: Activity) -> bool:
    """Do a piece of work unless others do it; return whether it is done."""
    folder, pace = bench.folder, bench.pace
    if not folder.is_start_shared(piece.seed):
        shared = Piece(None, piece.seed)
        mine = claim(folder.claim(shared.name))
        if mine is None:
            return False
        with mine, activity.of(mine):
            if not folder.is_start_shared(piece.seed):
                pace.stop_if_over()
                folder.sweep(folder.shared(piece.seed))
                activity.title(shared.title, 0)
                with _naming(shared, 0):
                    bench.share_start(piece.seed)
    mine = claim(folder.claim(piece.name))
    if mine is None:
        return False
    assert piece.strategy is not None
    with mine, activity.of(mine):
        folder.sweep(folder.work(piece.strategy.label, piece.seed, 0).parent.parent)
        for cycle in range(bench.config.simulation.cycles):
            if not folder.is_done(piece.strategy.label, piece.seed, cycle):
                pace.stop_if_over()
                activity.title(piece.title, cycle)
                with _naming(piece, cycle):
                    bench.run_cycle(piece.strategy, piece.seed, cycle)
    return True


@contextmanager
def _naming(piece: Piece, cycle: int) -> Iterator[None]:
    """Say in which run and cycle something is wrong."""
    try:
        yield
    except (RuntimeError, TypeError, ValueError) as error:
        where = f"{piece.title}, cycle {cycle + 1}"
        raise SimulationError(f"{where}: {network_reason(error)}") from error


def _is_done(config: SimulationConfig, folder: SimulationFolder, piece: Piece) -> bool:
    assert piece.strategy is not None
    return folder.is_done(piece.strategy.label, piece.seed, config.simulation.cycles - 1)

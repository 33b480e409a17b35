"""What a simulation is going to cost, from its own steps, timed."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vl4pose.active.strategies import Pool, Strategy
from vl4pose.simulation.measurement import measure
from vl4pose.simulation.observation import TrainedHead
from vl4pose.simulation.runs import Bench
from vl4pose.simulation.workload import head_steps, training_steps
from vl4pose.training.checkpoints import Checkpoints
from vl4pose.training.positions import reproducible

__all__ = ["PARTS", "Estimate", "estimate"]

PARTS = ("train", "evaluate", "score", "select")
_WARM_STEPS = 3
_TIMED_SECONDS = 5.0  # of each kind of step, about
_MOST_STEPS = 50
_BATCHES = 3  # that are scored or measured


@dataclass(frozen=True)
class Estimate:
    """Seconds of one process, as a whole simulation would take them.

    Attributes
    ----------
    shared : dict of str to float
        By part, of what the strategies of a seed share, all seeds together.
    strategies : dict of str to dict of str to float
        By label and part, of all seeds together.
    start : float
        That each process takes before its first step: to import, to read the data, to compile.
    step, image : float
        Of a training step, and of an image that the network alone looks at.
    """

    shared: dict[str, float]
    strategies: dict[str, dict[str, float]]
    start: float
    step: float
    image: float

    @property
    def total(self) -> float:
        """Of all strategies and what they share, without the start."""
        parts = [self.shared, *self.strategies.values()]
        return sum(sum(part.values()) for part in parts)

    def num_pieces(self, seconds: float, processes: int = 1) -> int | None:
        """Return how many pieces of so many seconds it takes; None where a start takes as long."""
        if seconds <= self.start:
            return None
        return math.ceil(self.total / processes / (seconds - self.start))


def estimate(bench: Bench, started: float) -> Estimate:
    """Time steps of training and of scoring, and multiply.

    Parameters
    ----------
    bench : Bench
        Its network is changed; nothing is written into the folder.
    started : float
        ``time.monotonic()`` when the process began.

    Notes
    -----
    A step of the pose network, and of each small network, is timed after a few that are not;
    batches are looked at as each strategy asks for them; and each strategy chooses once, out of a
    pool of the size that it will have, whose rows are like those seen. What is not in it: that
    other programs use the machine, and images that are harder for a strategy than those seen.
    """
    config, simulation = bench.config, bench.config.simulation
    reading = time.monotonic() - started
    seeds, last = len(simulation.seed_list), simulation.cycles - 1
    with tempfile.TemporaryDirectory() as name, reproducible(bench.device):
        timing = _Timing(bench, Path(name))
        step, compiling = timing.pose_step()
        evaluation = timing.measured()
        head_step = {
            head: timing.head_step(head)
            for head in {chosen.make().head for chosen in config.strategies}
            if head is not None
        }
        image = timing.look((), None, None)
        strategies = {}
        for chosen in config.strategies:
            strategy = chosen.make()
            looks, select = timing.strategy(strategy) if last else (None, 0.0)
            parts = dict.fromkeys(PARTS, 0.0)
            for cycle in range(simulation.cycles):
                labels = config.num_labels(cycle)
                if cycle > 0:
                    parts["train"] += training_steps(config, cycle) * step
                    parts["evaluate"] += evaluation
                if cycle < last and looks is not None:
                    heads = head_steps(config, chosen, cycle)
                    parts["score"] += heads * head_step.get(strategy.head or "", 0.0)
                    parts["score"] += (len(bench.data) - labels) * looks.pool
                    parts["score"] += labels * looks.labelled
                    parts["select"] += select
            strategies[chosen.label] = {part: seeds * value for part, value in parts.items()}
    shared = {
        "train": seeds * training_steps(config, 0) * step,
        "evaluate": seeds * evaluation + len(bench.data) * image,
    }
    return Estimate(shared, strategies, reading + compiling, step, image)


@dataclass(frozen=True)
class _Looks:
    """Seconds of looking at an image."""

    pool: float
    labelled: float


class _Timing:
    def __init__(self, bench: Bench, directory: Path) -> None:
        self.bench = bench
        self.directory = directory
        self.seed = bench.config.simulation.seed_list[0]
        self.labels = list(range(min(bench.config.simulation.start, len(bench.data))))
        self._number = 0
        self._heads: dict[str, TrainedHead] = {}

    def pose_step(self) -> tuple[float, float]:
        """Return the seconds of a step, and those that the first few took above theirs."""
        self.bench.network.load(self.bench.network.initial(self.seed, 0))

        def steps(number: int) -> float:
            return self.bench.train_pose(self.labels, self.seed, 0, number, self._checkpoints())

        first = steps(_WARM_STEPS)
        step = _seconds_of_one(steps)
        return step, max(first - _WARM_STEPS * step, 0.0)

    def head_step(self, name: str) -> float:
        """Return the seconds of a step of a small network."""
        head = self.bench.make_head(name, self.labels, self.seed, 0)
        self._heads[name] = head

        def steps(number: int) -> float:
            checkpoints = self._checkpoints()
            return self.bench.train_head(head, self.labels, self.seed, 0, number, checkpoints)

        steps(_WARM_STEPS)
        return _seconds_of_one(steps)

    def measured(self) -> float:
        """Return the seconds of measuring the test set, which is done."""
        start = time.monotonic()
        measure(self.bench.config, self.bench.network, self.bench.test, self.bench.pace)
        return time.monotonic() - start

    def look(self, names: Any, head: TrainedHead | None, strategy: Strategy | None) -> float:
        """Return the seconds of looking at an image for some arrays."""
        return self._looked(names, head, strategy)[1]

    def strategy(self, strategy: Strategy) -> tuple[_Looks, float]:
        """Return the seconds of looking at an image, and of choosing once."""
        head = self._heads.get(strategy.head or "")
        of_pool, pool_seconds = self._looked(strategy.needs, head, strategy)
        of_labelled: dict[str, Any] = {}
        labelled_seconds = 0.0
        if strategy.needs_labelled:
            of_labelled, labelled_seconds = self._looked(strategy.needs_labelled, head, strategy)
        rng = np.random.default_rng(0)
        options = self.bench.config.simulation
        num_unlabelled = len(self.bench.data) - options.start
        pool = Pool(num_unlabelled, _more(of_pool, num_unlabelled, rng))
        labelled = Pool(options.start, _more(of_labelled, options.start, rng))
        start = time.monotonic()
        strategy.select(pool, labelled, options.budget, rng)
        return _Looks(pool_seconds, labelled_seconds), time.monotonic() - start

    def _looked(
        self, names: Any, head: TrainedHead | None, strategy: Strategy | None
    ) -> tuple[dict[str, Any], float]:
        bench = self.bench
        options = {} if strategy is None else strategy.observation_options
        observer = bench.observer(self.labels, head, options)
        number = min(len(bench.data), _BATCHES * bench.config.scoring.batch_size)
        chosen = np.arange(len(bench.data) - number, len(bench.data))
        what = "images"
        if strategy is not None and not names:
            return {}, 0.0
        self._number += 1
        directory = self.directory / f"looks-{self._number}"

        def look(indices: Any, name: str) -> dict[str, Any]:
            if strategy is None:
                return observer.keypoints_and_embeddings(indices, what, directory / name)
            return observer.observe(list(names), indices, what, directory / name)

        look(chosen[: bench.config.scoring.batch_size], "first")
        before = observer.seconds
        found = look(chosen, "timed")
        return found, (observer.seconds - before) / number

    def _checkpoints(self) -> Checkpoints:
        self._number += 1
        return Checkpoints(self.directory / f"checkpoints-{self._number}")


def _seconds_of_one(steps: Callable[[int], float]) -> float:
    number = 2
    seconds = steps(number)
    more = min(int(_TIMED_SECONDS / max(seconds / number, 1e-9)), _MOST_STEPS)
    return steps(more) / more if more > number else seconds / number


def _more(arrays: Mapping[str, Any], number: int, rng: np.random.Generator) -> dict[str, Any]:
    """Return arrays of so many rows that are like those given, but not the same."""
    made = {}
    for name, array in arrays.items():
        rows = array[rng.integers(len(array), size=number)]
        noise = rng.standard_normal(rows.shape).astype(rows.dtype)
        made[name] = rows + 0.1 * np.nanstd(array, axis=0) * noise
    return made

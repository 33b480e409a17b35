"""Timing: everybody in turn, round after round, so that noise hits all of them alike."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Call = Callable[[], object]
Sample = Callable[[Call, int], float]  # the seconds of a call, the mean of so many

MIN_ROUNDS = 7
SAMPLE_SECONDS = 0.002  # a shorter call is repeated so often


@dataclass(frozen=True)
class Time:
    """Seconds that one call takes: the median of the rounds, and how they spread about it.

    Attributes
    ----------
    median : float
    spread : float
        Interquartile range over median.
    rounds : int
    """

    median: float
    spread: float
    rounds: int


def host_sample(call: Call, repeats: int) -> float:
    """Return the seconds from a call's beginning to its return."""
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def interleaved(
    calls: Mapping[str, Call],
    seconds: float,
    min_rounds: int = MIN_ROUNDS,
    sample: Sample = host_sample,
) -> dict[str, Time]:
    """Time all calls for about so many seconds, by name; each round has one sample of each."""
    repeats = {name: _repeats(call, sample) for name, call in calls.items()}
    rounds: list[list[float]] = []
    end = time.perf_counter() + seconds
    gc.disable()
    try:
        while len(rounds) < min_rounds or time.perf_counter() < end:
            rounds.append([sample(call, repeats[name]) for name, call in calls.items()])
    finally:
        gc.enable()
    return {
        name: _time(samples) for name, samples in zip(calls, zip(*rounds, strict=True), strict=True)
    }


def fastest(calls: Mapping[str, Call]) -> str:
    """Return the name of the fastest call, in little time."""
    times = interleaved(calls, seconds=0.2, min_rounds=3)
    return min(times, key=lambda name: times[name].median)


def _repeats(call: Call, sample: Sample) -> int:
    """Return how many calls make a sample, after one that warms up."""
    if sample(call, 1) > 10 * SAMPLE_SECONDS:
        return 1
    return math.ceil(SAMPLE_SECONDS / min(sample(call, 1) for _ in range(3)))


def _time(samples: Sequence[float]) -> Time:
    low, median, high = np.quantile(samples, [0.25, 0.5, 0.75])
    return Time(float(median), float((high - low) / median), len(samples))

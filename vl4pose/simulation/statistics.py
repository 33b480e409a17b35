"""What the records of a simulation say: means, paired differences, labels saved, and how sure.

All intervals and tests are over seeds: other start sets, other training, the same pool and the same
test set. Runs of one seed share their start set and the seed of their training, so that strategies
are compared seed by seed.
"""

from __future__ import annotations

import itertools
import math
import numbers
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vl4pose.simulation.records import CycleRecord
from vl4pose.simulation.saved_labels import LabelsSaved, labels_saved
from vl4pose.simulation.seed_statistics import (
    Difference,
    Estimate,
    estimate,
    holm,
    paired_difference,
)
from vl4pose.skeleton import nearest, shown

__all__ = [
    "STAGES",
    "Comparison",
    "Growth",
    "MetricSummary",
    "Missing",
    "Plan",
    "StageSeconds",
    "Summary",
    "higher_is_better",
    "summarise",
]

Float64Array = npt.NDArray[np.float64]

STAGES = ("train", "evaluate", "score", "select")
_WITHOUT_CHOICE = ("train", "evaluate")  # what there is of the last cycle too
_BASELINE = "random"


@dataclass(frozen=True)
class Comparison:
    """A strategy against another, by one metric.

    Attributes
    ----------
    strategy, versus : str
        Differences are those of the first less the second.
    seeds : tuple of int
        Those in which both have all cycles up to ``last_cycle``.
    last_cycle : int
        The last one that two seeds of both have reached; that one has, where there are not two;
        -1 where there is none.
    cycles : tuple of Difference
        After each cycle, over the seeds in which both have it.
    curve : Difference
        Of the means of all cycles after the first, up to ``last_cycle``. The networks of the first
        are trained on the start set, which all strategies share.
    saved : tuple of LabelsSaved
        For each cycle after the first, up to ``last_cycle``.
    verdict : str
        About ``curve``: "better", "worse", "not separated", "equal" (in all seeds) or "unknown"
        (fewer than two seeds, no cycle after the first, or no noise to judge by).
    """

    strategy: str
    versus: str
    seeds: tuple[int, ...]
    last_cycle: int
    cycles: tuple[Difference, ...]
    curve: Difference
    saved: tuple[LabelsSaved, ...]
    verdict: str


@dataclass(frozen=True)
class Growth:
    """What the labels alone are worth: the baseline's last cycle against its first.

    Attributes
    ----------
    cycle : int
        The last one, as ``last_cycle`` of a `Comparison`.
    first, last : float
        Means over the seeds that have all cycles up to it.
    difference : Difference
        Last less first.
    verdict : str
        "grows", "flat" (the interval includes zero), "falls" (gets worse), "small" (grows by less
        than the smallest difference between strategies that would have been seen) or "unknown".
    """

    cycle: int
    first: float
    last: float
    difference: Difference
    verdict: str


@dataclass(frozen=True)
class MetricSummary:
    """All that is said by one metric.

    Attributes
    ----------
    metric : str
    higher_is_better : bool
    estimates : dict of str to tuple of Estimate
        Of each strategy, after each cycle, over all its seeds.
    values : dict of str to (R, C) float64
        What they are of: of each strategy, by seed and cycle; NaN where there is nothing.
    comparisons : tuple of Comparison
        Of every other strategy with the baseline.
    pairs : tuple of Comparison
        Of the others among themselves, the better one of each as ``strategy``.
    growth : Growth
        Of the baseline, or of the only strategy.
    parts : tuple of K str
        Names of the joints, of the links for PCP; empty where no record tells of them.
    per_joint : dict of str to (C, K) float64
        Means over the seeds of each strategy, by cycle and joint; NaN where there is nothing.
    """

    metric: str
    higher_is_better: bool
    estimates: dict[str, tuple[Estimate, ...]]
    values: dict[str, Float64Array]
    comparisons: tuple[Comparison, ...]
    pairs: tuple[Comparison, ...]
    growth: Growth
    parts: tuple[str, ...]
    per_joint: dict[str, Float64Array]


class Missing(NamedTuple):
    """Cycles of a run that are not there, or whose metric is not a number.

    Attributes
    ----------
    strategy : str
    seed : int
    cycles : tuple of int
    metric : str or None
        Which metric is not a number; None where the cycles are not there.
    """

    strategy: str
    seed: int
    cycles: tuple[int, ...]
    metric: str | None


class StageSeconds(NamedTuple):
    """How long a stage of a cycle takes.

    Attributes
    ----------
    mean : float
        Seconds; NaN where nothing was measured.
    num_runs : int
        In how many runs it was.
    """

    mean: float
    num_runs: int


class Plan(NamedTuple):
    """What a simulation was to do, so that what is missing can be told.

    Attributes
    ----------
    strategies : tuple of str
    seeds : tuple of int
    num_cycles : int
        Records a run, the first of which is of the start set.
    titles : mapping of str to str
        What people call the strategies; by default their names.
    fine_tuned : bool
        Whether each cycle trains the network of the last one further.
    joints, links : tuple of str
        What they are called; by default they are numbered.
    """

    strategies: tuple[str, ...]
    seeds: tuple[int, ...]
    num_cycles: int
    titles: Mapping[str, str] = MappingProxyType({})
    fine_tuned: bool = False
    joints: tuple[str, ...] = ()
    links: tuple[str, ...] = ()


@dataclass(frozen=True)
class Summary:
    """All that the records of a simulation say.

    Attributes
    ----------
    strategies : tuple of str
        In the order of the configuration; of records alone by name, the baseline first.
    titles : dict of str to str
        What people call them.
    baseline : str or None
        The strategy that others are compared with; None where there is only one.
    seeds : tuple of int
    num_labels : tuple of int
        After each cycle.
    level : float
        Of the intervals; tests are at 1 - ``level``.
    metrics : tuple of MetricSummary
        The first is the one that the head of a page is about.
    seconds : dict of str to dict of str to tuple of StageSeconds
        Of each strategy, stage and cycle, with those that it shares with others of the seed;
        "score" and "select" where there was a choice to make.
    missing : tuple of Missing
    fine_tuned : bool
        Whether each cycle trains the network of the last one further.
    """

    strategies: tuple[str, ...]
    titles: dict[str, str]
    baseline: str | None
    seeds: tuple[int, ...]
    num_labels: tuple[int, ...]
    level: float
    metrics: tuple[MetricSummary, ...]
    seconds: dict[str, dict[str, tuple[StageSeconds, ...]]]
    missing: tuple[Missing, ...]
    fine_tuned: bool = False

    def mean_seconds(self, strategy: str, stage: str) -> float:
        """Return the seconds that a stage of a cycle takes a strategy; NaN where unmeasured."""
        measured = [one for one in self.seconds[strategy][stage] if one.num_runs]
        runs = sum(one.num_runs for one in measured)
        return sum(one.mean * one.num_runs for one in measured) / runs if runs else math.nan


def summarise(
    records: Iterable[CycleRecord],
    *,
    plan: Plan | None = None,
    baseline: str | None = None,
    level: float = 0.95,
) -> Summary:
    """Return what the records of a simulation say, finished or not.

    Parameters
    ----------
    records : iterable of CycleRecord
        As `vl4pose.simulation.records.read_records` returns them.
    plan : Plan, optional
        What there should be. By default every strategy, seed and cycle that occurs.
    baseline : str, optional
        The strategy to compare with. By default "random", or where that was not run the first.
    level : float, default 0.95
        Of all intervals.

    Returns
    -------
    Summary

    Raises
    ------
    ImportError
        ``vl4pose.simulation needs scipy: pip install 'vl4pose[cli]'``.
    TypeError, ValueError
        ``level must be above 0 and below 1``, ``records must hold at least one``, ``records must
        have each cycle of a run once``, ``records must agree on the labels of a cycle``,
        ``baseline must be one of ...``.

    Notes
    -----
    Intervals and p-values are those of Student's t over seeds; p-values are corrected by Holm's
    method, separately for the comparisons with the baseline (for each cycle, and for the curve) and
    for those of the others among themselves. Intervals are not corrected. Of the exact alternative
    for few seeds, sign flips, `sign_flip_p` says why verdicts are not made by it.
    """
    level = _checked_level(level)
    kept = list(records)
    if not kept:
        raise ValueError("records must hold at least one, got none")
    plan = _planned(kept, plan, baseline)
    if baseline is not None and baseline not in plan.strategies:
        raise ValueError(f"baseline must be {nearest(baseline, plan.strategies)}, got {baseline!r}")
    if baseline is None:
        baseline = _BASELINE if _BASELINE in plan.strategies else plan.strategies[0]
    table = _Table(kept, plan)
    names = dict.fromkeys(name for record in kept for name in record.metrics)
    metrics = tuple(_metric_summary(name, table, baseline, level) for name in names)
    return Summary(
        plan.strategies,
        {name: plan.titles.get(name, name) for name in plan.strategies},
        baseline if len(plan.strategies) > 1 else None,
        plan.seeds,
        table.num_labels,
        level,
        metrics,
        {name: table.seconds(name) for name in plan.strategies},
        (*table.missing(), *itertools.chain(*(table.not_numbers(name) for name in names))),
        plan.fine_tuned,
    )


def higher_is_better(metric: str) -> bool:
    """Return whether a metric is an accuracy rather than an error in pixels."""
    return "MPJPE" not in metric


class _Table:
    """Records by strategy, seed and cycle."""

    def __init__(self, records: Sequence[CycleRecord], plan: Plan) -> None:
        self.plan = plan
        self.records: dict[tuple[str, int, int], CycleRecord] = {}
        labels: dict[int, int] = {}
        for record in records:
            key = (record.strategy, record.seed, record.cycle)
            if record.strategy not in plan.strategies or record.seed not in plan.seeds:
                continue  # of an earlier configuration
            if record.cycle >= plan.num_cycles:
                continue
            if key in self.records:
                raise ValueError(
                    "records must have each cycle of a run once, got cycle "
                    f"{record.cycle} of {record.strategy!r}, seed {record.seed}, twice"
                )
            self.records[key] = record
            known = labels.setdefault(record.cycle, record.num_labels)
            if known != record.num_labels:
                raise ValueError(
                    "records must agree on the labels of a cycle, got "
                    f"{known} and {record.num_labels} in cycle {record.cycle}"
                )
        self.num_labels = tuple(labels[cycle] for cycle in sorted(labels))
        if not labels:
            raise ValueError("records must hold one of the plan, got others alone")
        if sorted(labels) != list(range(len(labels))):
            raise ValueError(f"records must have every cycle from 0, got {sorted(labels)}")

    def values(self, metric: str) -> dict[str, Float64Array]:
        """Return a metric by seed and cycle of each strategy, NaN where there is none."""
        made = {}
        for strategy in self.plan.strategies:
            values = np.full((len(self.plan.seeds), len(self.num_labels)), np.nan)
            for row, seed in enumerate(self.plan.seeds):
                for cycle in range(len(self.num_labels)):
                    record = self.records.get((strategy, seed, cycle))
                    given = None if record is None else record.metrics.get(metric)
                    if given is not None and math.isfinite(given):
                        values[row, cycle] = given
            made[strategy] = values
        return made

    def per_joint(self, metric: str) -> dict[str, Float64Array]:
        """Return a metric's means over the seeds, by cycle and joint of each strategy."""
        given = {
            key: np.array(record.per_joint[metric], np.float64)  # None becomes NaN
            for key, record in self.records.items()
            if metric in record.per_joint
        }
        num_joints = max(map(len, given.values()), default=0)
        unknown = np.full(num_joints, np.nan)
        made = {}
        for strategy in self.plan.strategies:
            values = np.array(
                [
                    [given.get((strategy, seed, cycle), unknown) for seed in self.plan.seeds]
                    for cycle in range(len(self.num_labels))
                ]
            )
            known = ~np.isnan(values)
            sums, counts = np.where(known, values, 0.0).sum(axis=1), known.sum(axis=1)
            made[strategy] = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
        return made

    def parts(self, metric: str, number: int) -> tuple[str, ...]:
        """Return what the joints of a metric are called, or the links if it is PCP."""
        names = self.plan.links if metric.startswith("PCP") else self.plan.joints
        return names if len(names) == number else tuple(str(i + 1) for i in range(number))

    def seconds(self, strategy: str) -> dict[str, tuple[StageSeconds, ...]]:
        """Return how long each stage of each cycle takes a strategy."""
        made: dict[str, tuple[StageSeconds, ...]] = {}
        for stage in STAGES:
            cycles = []
            for cycle in range(len(self.num_labels)):
                of = [self.records.get((strategy, seed, cycle)) for seed in self.plan.seeds]
                measured = [
                    sum(seconds)
                    for record in of
                    if record is not None
                    and (record.selected or stage in _WITHOUT_CHOICE)
                    and (
                        seconds := [
                            among[stage]
                            for among in (record.seconds, record.shared_seconds)
                            if stage in among
                        ]
                    )
                ]
                mean = sum(measured) / len(measured) if measured else math.nan
                cycles.append(StageSeconds(mean, len(measured)))
            made[stage] = tuple(cycles)
        return made

    def missing(self) -> list[Missing]:
        """Return the runs of which cycles are missing."""
        found = []
        for strategy, seed in itertools.product(self.plan.strategies, self.plan.seeds):
            cycles = tuple(
                cycle
                for cycle in range(self.plan.num_cycles)
                if (strategy, seed, cycle) not in self.records
            )
            if cycles:
                found.append(Missing(strategy, seed, cycles, None))
        return found

    def not_numbers(self, metric: str) -> list[Missing]:
        """Return the runs that have no finite number for a metric."""
        found: dict[tuple[str, int], list[int]] = {}
        for (strategy, seed, cycle), record in self.records.items():
            given = record.metrics.get(metric)
            if given is None or not math.isfinite(given):
                found.setdefault((strategy, seed), []).append(cycle)
        return [Missing(*run, tuple(sorted(cycles)), metric) for run, cycles in found.items()]


def _planned(records: Sequence[CycleRecord], plan: Plan | None, baseline: str | None) -> Plan:
    if plan is not None:
        return plan
    names = sorted({record.strategy for record in records})
    first = baseline if baseline in names else _BASELINE
    names.sort(key=lambda name: name != first)
    return Plan(
        tuple(names),
        tuple(sorted({record.seed for record in records})),
        max(record.cycle for record in records) + 1,
    )


def _metric_summary(metric: str, table: _Table, baseline: str, level: float) -> MetricSummary:
    values, num_labels, seeds = table.values(metric), table.num_labels, table.plan.seeds
    up = higher_is_better(metric)
    others = [name for name in table.plan.strategies if name != baseline]

    def compared(pairs: Sequence[tuple[str, str]]) -> list[Comparison]:
        return [
            _comparison(pair, values, num_labels, seeds, level, up, len(pairs)) for pair in pairs
        ]

    comparisons = _corrected(compared([(name, baseline) for name in others]), level, up)
    sign = 1 if up else -1
    ordered = [  # the better one first
        pair if sign * _mean_difference(values[pair[0]], values[pair[1]]) >= 0 else pair[::-1]
        for pair in itertools.combinations(others, 2)
    ]
    pairs = _corrected(compared(ordered), level, up)
    growth = _growth(values[baseline], comparisons, level, up)
    per_joint = table.per_joint(metric)
    return MetricSummary(
        metric,
        up,
        {
            name: tuple(estimate(of[:, cycle], level) for cycle in range(len(num_labels)))
            for name, of in values.items()
        },
        values,
        comparisons,
        pairs,
        growth,
        table.parts(metric, per_joint[baseline].shape[1]),
        per_joint,
    )


def _comparison(
    pair: tuple[str, str],
    values: Mapping[str, Float64Array],
    num_labels: tuple[int, ...],
    seeds: tuple[int, ...],
    level: float,
    up: bool,
    num_comparisons: int,
) -> Comparison:
    ours, theirs = (values[name] for name in pair)
    last, both = _compared_as_far(ours, theirs)

    def difference(first: npt.ArrayLike, second: npt.ArrayLike) -> Difference:
        return paired_difference(first, second, level, num_comparisons=num_comparisons)

    # Where there is no cycle after the first, no seed says anything of the curve.
    means = [of[both, 1 : last + 1].mean(axis=1) if last > 0 else [] for of in (ours, theirs)]
    sign = 1 if up else -1
    return Comparison(
        *pair,
        tuple(seeds[row] for row in np.flatnonzero(both)),
        last,
        tuple(difference(ours[:, c], theirs[:, c]) for c in range(len(num_labels))),
        difference(means[0], means[1]),
        tuple(
            labels_saved(
                sign * ours[both, : last + 1],
                sign * theirs[both, : last + 1],
                num_labels[: last + 1],
                cycle,
                level,
            )
            for cycle in range(1, last + 1)
        ),
        "unknown",
    )


def _compared_as_far(ours: Float64Array, theirs: Float64Array) -> tuple[int, npt.NDArray[np.bool_]]:
    """Return up to which cycle two strategies are compared, and in which seeds."""
    there = ~np.isnan(ours) & ~np.isnan(theirs)
    last = _last_cycle(there)
    return last, np.asarray(there[:, : last + 1].all(axis=1) & (last >= 0), np.bool_)


def _mean_difference(ours: Float64Array, theirs: Float64Array) -> float:
    """Return the mean of what a comparison's curve is of; 0 where there is nothing."""
    last, both = _compared_as_far(ours, theirs)
    away = (ours - theirs)[both, 1 : last + 1]
    return float(away.mean()) if away.size else 0.0


def _last_cycle(there: npt.NDArray[np.bool_]) -> int:
    """Return the last cycle up to which two seeds are there, or one if never two; -1 if none."""
    complete = np.logical_and.accumulate(there, axis=1).sum(axis=0)
    reached = np.flatnonzero(complete >= min(2, complete.max(initial=0)))
    return int(reached[-1]) if complete.max(initial=0) else -1


def _corrected(comparisons: Sequence[Comparison], level: float, up: bool) -> tuple[Comparison, ...]:
    """Return comparisons with the p-values of several, and what follows from them."""
    if not comparisons:
        return ()

    def correct(differences: Sequence[Difference]) -> list[Difference]:
        p = holm([difference.p for difference in differences])
        return [
            replace(difference, p_holm=float(value))
            for difference, value in zip(differences, p, strict=True)
        ]

    curves = correct([one.curve for one in comparisons])
    by_cycle = [correct(of) for of in zip(*(one.cycles for one in comparisons), strict=True)]
    cycles = list(zip(*by_cycle, strict=True))
    return tuple(
        replace(one, curve=curve, cycles=tuple(of), verdict=_verdict(curve, level, up))
        for one, curve, of in zip(comparisons, curves, cycles, strict=True)
    )


def _verdict(difference: Difference, level: float, up: bool) -> str:
    if math.isnan(difference.p):
        return "unknown"
    if difference.std == 0:
        return "equal"
    if difference.p_holm >= 1 - level:
        return "not separated"
    return "better" if (difference.mean > 0) == up else "worse"


def _growth(
    values: Float64Array, comparisons: Sequence[Comparison], level: float, up: bool
) -> Growth:
    last = _last_cycle(~np.isnan(values))
    rows = ~np.isnan(values[:, : last + 1]).any(axis=1) & (last > 0)
    first, final = values[rows, 0], values[rows, last]
    difference = paired_difference(final, first, level)
    seen = [one.curve.detectable for one in comparisons if not math.isnan(one.curve.detectable)]
    gain = difference.mean if up else -difference.mean
    if math.isnan(difference.p):
        verdict = "unknown"
    elif difference.low <= 0 <= difference.high:
        verdict = "flat"
    elif gain < 0:
        verdict = "falls"
    else:
        verdict = "small" if seen and gain < min(seen) else "grows"
    start, end = (float(of.mean()) if len(of) else math.nan for of in (first, final))
    return Growth(last, start, end, difference, verdict)


def _checked_level(level: object) -> float:
    if isinstance(level, bool) or not isinstance(level, numbers.Real):
        raise TypeError(f"level must be a real number, got {shown(level)}")
    if not 0 < float(level) < 1:
        raise ValueError(f"level must be above 0 and below 1, got {shown(level)}")
    return float(level)

"""What a simulation found out, for programs: three tables as CSV, and summary.json."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vl4pose import __version__
from vl4pose.simulation.saved_labels import LabelsSaved
from vl4pose.simulation.seed_statistics import POWER, Difference, Estimate
from vl4pose.simulation.statistics import STAGES, Comparison, MetricSummary, Summary
from vl4pose.simulation.verdicts import (
    comparison_verdict,
    growth_verdict,
    headline,
    missing_sentences,
    scale_of,
)

__all__ = ["cycles_csv", "differences_csv", "joints_csv", "summary_json"]

_FORMAT = 1
_NOT_REACHED = "not reached"


def cycles_csv(summary: Summary) -> str:
    """Return a row for each metric, strategy and cycle.

    Notes
    -----
    Columns: ``metric``, ``strategy``, ``cycle`` (from 0, the start set), ``num_labels``,
    ``num_seeds``, ``mean``, ``std`` (of the seeds, n - 1), ``low`` and ``high`` (t interval of the
    mean), and ``train_seconds``, ``evaluate_seconds``, ``score_seconds``, ``select_seconds`` (means
    over seeds). What is not known is empty.
    """
    rows = [
        (
            metric.metric, strategy, cycle, num_labels, of.num_seeds, of.mean, of.std, of.low,
            of.high, *(summary.seconds[strategy][stage][cycle].mean for stage in STAGES),
        )
        for metric in summary.metrics
        for strategy in summary.strategies
        for cycle, (num_labels, of) in enumerate(
            zip(summary.num_labels, metric.estimates[strategy], strict=True)
        )
    ]  # fmt: skip
    columns = ["metric", "strategy", "cycle", "num_labels", "num_seeds", "mean", "std", "low"]
    return _csv([*columns, "high", *(f"{stage}_seconds" for stage in STAGES)], rows)


def joints_csv(summary: Summary) -> str:
    """Return a row for each metric, strategy, cycle and joint.

    Notes
    -----
    Columns: ``metric``, ``strategy``, ``cycle``, ``num_labels``, ``joint`` (of PCP a link,
    ``parent>child``) and ``mean`` (over seeds, empty where no image of the test set tells).
    """
    rows = [
        (metric.metric, strategy, cycle, num_labels, joint, float(mean))
        for metric in summary.metrics
        for strategy in summary.strategies
        for cycle, num_labels in enumerate(summary.num_labels)
        for joint, mean in zip(metric.parts, metric.per_joint[strategy][cycle], strict=True)
    ]
    return _csv(["metric", "strategy", "cycle", "num_labels", "joint", "mean"], rows)


def differences_csv(summary: Summary) -> str:
    """Return a row for each metric, pair of strategies and cycle, and one of each pair's curves.

    Notes
    -----
    Columns: ``metric``, ``strategy``, ``versus``, ``cycle`` ("curve" for the mean of all cycles
    after the first), ``num_labels`` (empty for "curve"), ``num_seeds`` (that both have),
    ``difference`` (of ``strategy`` less ``versus``), ``low``, ``high``, ``p``, ``p_holm``,
    ``p_sign_flip``, ``detectable`` (as `vl4pose.simulation.seed_statistics.Difference`),
    ``labels_saved``, ``labels_saved_low``, ``labels_saved_high`` ("not reached" where the
    accuracy that ``versus`` has after the cycle may need more labels than there were),
    ``num_reached`` (seeds in which it is reached) and ``verdict`` (of "curve"). What is not known
    is empty. Pairs with the baseline come first.
    """
    rows: list[Sequence[Any]] = []
    for metric in summary.metrics:
        for one in (*metric.comparisons, *metric.pairs):
            pair = (metric.metric, one.strategy, one.versus)
            saved = {of.cycle: of for of in one.saved}
            rows += [
                (*pair, cycle, num_labels, *_numbers(of), *_saved_numbers(saved.get(cycle)), "")
                for cycle, (num_labels, of) in enumerate(
                    zip(summary.num_labels, one.cycles, strict=True)
                )
            ]
            rows.append((*pair, "curve", "", *_numbers(one.curve), "", "", "", "", one.verdict))
    columns = [
        "metric", "strategy", "versus", "cycle", "num_labels", "num_seeds", "difference", "low",
        "high", "p", "p_holm", "p_sign_flip", "detectable", "labels_saved", "labels_saved_low",
        "labels_saved_high", "num_reached", "verdict",
    ]  # fmt: skip
    return _csv(columns, rows)


def summary_json(summary: Summary) -> dict[str, Any]:
    """Return all of a summary as JSON holds it.

    Notes
    -----
    - ``format`` (1), ``version`` (of vl4pose), ``level`` (of intervals), ``power`` (of what would
      have been seen), ``baseline`` (null where there is one strategy alone), ``strategies`` (titles
      by name, in order), ``seeds``, ``num_labels`` (by cycle), ``fine_tuned``.
    - ``missing``: sentences; empty where the simulation is finished.
    - ``metrics``: a list, the first being the one that matters most, of objects with ``metric``,
      ``higher_is_better``, ``headline``, ``growth`` (``cycle``, ``first``, ``last``, a
      difference, ``verdict``: "grows", "flat", "falls", "small", "unknown", and ``sentence``),
      ``estimates`` (by strategy, a list by cycle of ``num_seeds``, ``mean``, ``std``, ``low``,
      ``high``), ``values`` (by strategy, a list by seed of lists by cycle), ``joints`` (names, of
      PCP those of links), ``per_joint`` (by strategy, a list by cycle of the joints' means over
      seeds), and ``comparisons`` (with the baseline) and ``pairs`` (the others among themselves).
    - Each of these: ``strategy``, ``versus``, ``verdict`` ("better", "worse", "not separated",
      "equal", "unknown"), ``sentence``, ``seeds``, ``last_cycle``, ``curve`` (a difference),
      ``cycles`` (differences), ``labels_saved`` (a list by cycle after the first of ``cycle``,
      ``num_labels``, ``needed``, ``low``, ``high``, ``num_seeds``, ``num_reached``).
    - A difference: ``num_seeds``, ``mean``, ``std``, ``low``, ``high``, ``p``, ``p_holm``,
      ``p_sign_flip``, ``detectable``, as `vl4pose.simulation.seed_statistics.Difference`.
    - ``seconds``: by strategy and stage, the mean a cycle.

    What is not known is null, and labels that are not enough are "not reached".
    """
    return {
        "format": _FORMAT,
        "version": __version__,
        "level": summary.level,
        "power": POWER,
        "baseline": summary.baseline,
        "strategies": summary.titles,
        "seeds": list(summary.seeds),
        "num_labels": list(summary.num_labels),
        "fine_tuned": summary.fine_tuned,
        "missing": missing_sentences(summary),
        "metrics": [_metric(summary, metric) for metric in summary.metrics],
        "seconds": {
            name: {stage: _number(summary.mean_seconds(name, stage)) for stage in STAGES}
            for name in summary.strategies
        },
    }


def _metric(summary: Summary, metric: MetricSummary) -> dict[str, Any]:
    growth = metric.growth
    scale = scale_of(metric)

    def compared(several: Sequence[Comparison]) -> list[dict[str, Any]]:
        return [
            {
                "strategy": one.strategy,
                "versus": one.versus,
                "verdict": one.verdict,
                "sentence": comparison_verdict(one, summary, metric, scale),
                "seeds": list(one.seeds),
                "last_cycle": one.last_cycle,
                "curve": _fields(one.curve),
                "cycles": [_fields(of) for of in one.cycles],
                "labels_saved": [_fields(of) for of in one.saved],
            }
            for one in several
        ]

    return {
        "metric": metric.metric,
        "higher_is_better": metric.higher_is_better,
        "headline": headline(summary, metric),
        "growth": {
            "cycle": growth.cycle,
            "first": _number(growth.first),
            "last": _number(growth.last),
            "difference": _fields(growth.difference),
            "verdict": growth.verdict,
            "sentence": growth_verdict(summary, metric, scale),
        },
        "estimates": {
            name: [_fields(of) for of in several] for name, several in metric.estimates.items()
        },
        "values": _by_strategy(metric.values),
        "joints": list(metric.parts),
        "per_joint": _by_strategy(metric.per_joint),
        "comparisons": compared(metric.comparisons),
        "pairs": compared(metric.pairs),
    }


def _by_strategy(tables: Mapping[str, npt.NDArray[np.float64]]) -> dict[str, Any]:
    return {
        name: [[_number(value) for value in row] for row in of.tolist()]
        for name, of in tables.items()
    }


def _fields(of: Estimate | LabelsSaved) -> dict[str, Any]:
    return {name: _number(value) for name, value in vars(of).items()}


def _number(value: float) -> float | str | None:
    if math.isnan(value):
        return None
    return _NOT_REACHED if math.isinf(value) else value


def _numbers(of: Difference) -> tuple[Any, ...]:
    """Return the columns of a difference."""
    return (
        of.num_seeds, of.mean, of.low, of.high, of.p, of.p_holm, of.p_sign_flip, of.detectable,
    )  # fmt: skip


def _saved_numbers(of: LabelsSaved | None) -> tuple[Any, ...]:
    return ("",) * 4 if of is None else (of.saved, of.saved_low, of.saved_high, of.num_reached)


def _csv(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return file.getvalue()


def _cell(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    known = _number(value)
    return "" if known is None else f"{known:.10g}" if isinstance(known, float) else known

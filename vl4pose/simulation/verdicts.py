"""What the statistics of a simulation mean, in plain words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vl4pose.simulation.saved_labels import LabelsSaved
from vl4pose.simulation.seed_statistics import Difference
from vl4pose.simulation.statistics import Comparison, MetricSummary, Summary

__all__ = [
    "HOW_SURE",
    "Scale",
    "comparison_verdict",
    "growth_verdict",
    "headline",
    "labels_words",
    "missing_sentences",
    "p_words",
    "saved_cell",
    "saved_words",
    "scale_of",
    "seen_cell",
]

_SHARES = ("PCK", "PCKh", "AUC", "PCP", "OKS")
_FEWEST_DIGITS, _MOST_DIGITS = 1, 4
_NAMED = 4  # strategies in a headline

HOW_SURE = (
    "Differences are of the means of all cycles after the first, in which all strategies have the "
    "same labels, seed by seed. Intervals and p-values are those of the paired t-test over seeds "
    "(start sets and training), for this pool and this test set; p is corrected for the number of "
    "strategies by Holm's method, intervals are not. A difference that would have been seen is one "
    "that four of five such simulations would have found."
)


@dataclass(frozen=True)
class Scale:
    """How the numbers of a metric are shown.

    Attributes
    ----------
    factor : float
        From the metric to what is shown: 100 for shares.
    digits : int
        Decimals, after how much the seeds differ.
    unit : str
        Of values: " %", " px" or nothing.
    points : str
        Of differences: " points", " px" or nothing.
    """

    factor: float
    digits: int
    unit: str
    points: str

    def value(self, value: float) -> str:
        """Return a value without its unit, "-" where there is none."""
        return "-" if math.isnan(value) else f"{self.factor * value:.{self.digits}f}"

    def difference(self, value: float, *, signed: bool = True) -> str:
        """Return a difference without its unit."""
        if math.isnan(value):
            return "-"
        text = f"{self.factor * value:{'+' if signed else ''}.{self.digits}f}"
        return text.lstrip("+-") if not float(text) else text  # neither -0.0 nor +0.0

    def interval(self, low: float, high: float) -> str:
        """Return the interval of a difference, "-" where there is none."""
        if math.isnan(low):
            return "-"
        return f"{self.difference(low, signed=False)} to {self.difference(high, signed=False)}"

    def can_be(self, difference: float) -> bool:
        """Return whether two values can differ by so much, as shares can by 100 points at most."""
        return self.unit != " %" or not difference > 1


def scale_of(metric: MetricSummary) -> Scale:
    """Return how the numbers of a metric are shown."""
    name = metric.metric
    is_share = name.partition("@")[0].removesuffix("-AP") in _SHARES
    factor = 100.0 if is_share else 1.0
    spread = sorted(
        one.std
        for of in metric.estimates.values()
        for one in of
        if not math.isnan(one.std) and one.std > 0
    )
    digits = 1 if is_share else 2
    if spread:  # so that two digits of what the seeds differ by are seen of most
        digits = math.ceil(-math.log10(factor * spread[len(spread) // 2]))
    unit = " %" if is_share else " px" if not metric.higher_is_better else ""
    points = " points" if is_share else unit
    return Scale(factor, min(max(digits, _FEWEST_DIGITS), _MOST_DIGITS), unit, points)


def headline(summary: Summary, metric: MetricSummary) -> str:
    """Return in one or two sentences what the comparisons with the baseline came to."""
    if summary.baseline is None:
        name = summary.titles[summary.strategies[0]]
        return f"{name} alone was run: there is nothing to compare it with."
    baseline = summary.titles[summary.baseline]
    if all(one.last_cycle < 1 for one in metric.comparisons):
        return (
            f"No strategy can be compared with {baseline}: there is no cycle after the first, in "
            "which all have the same labels."
        )
    by_verdict: dict[str, list[str]] = {}
    for one in metric.comparisons:
        verdict = one.verdict
        if verdict == "unknown" and one.curve.num_seeds == 1:
            verdict = "one seed"
        by_verdict.setdefault(verdict, []).append(summary.titles[one.strategy])
    said = [
        f"{_named(by_verdict[verdict])} {_is_are(by_verdict[verdict])} {words} {baseline}"
        for verdict, words in (("better", "better than"), ("worse", "worse than"))
        if verdict in by_verdict
    ]
    if alike := by_verdict.get("not separated", []) + by_verdict.get("equal", []):
        seeds = {one.curve.num_seeds for one in metric.comparisons if one.curve.num_seeds > 1}
        many = f"{_counted(seeds.pop(), 'seed')}" if len(seeds) == 1 else "the seeds"
        said.append(f"{many} cannot separate {_named(alike, bool(said))} from {baseline}")
    if one_seed := by_verdict.get("one seed"):
        said.append(f"one seed cannot separate {_named(one_seed, bool(said))} from {baseline}")
    if unknown := by_verdict.get("unknown"):
        said.append(f"nothing can be said of {_named(unknown)}")
    text = f"By {metric.metric}, {'; '.join(said)}."
    so_far = {_so_far(one, summary) for one in metric.comparisons if one.curve.num_seeds}
    return " ".join(filter(None, [text, so_far.pop() if len(so_far) == 1 else ""]))


def comparison_verdict(
    comparison: Comparison,
    summary: Summary,
    metric: MetricSummary,
    scale: Scale,
    *,
    num_comparisons: int | None = None,
) -> str:
    """Return what the comparison of two strategies came to.

    Parameters
    ----------
    comparison : Comparison
    summary : Summary
    metric : MetricSummary
    scale : Scale
        Of the metric.
    num_comparisons : int, optional
        How many the p-value is corrected for; by default as many as ``comparison`` stands among.

    Returns
    -------
    str
        A sentence or a few.
    """
    ours, theirs = (summary.titles[name] for name in (comparison.strategy, comparison.versus))
    curve, seeds = comparison.curve, comparison.curve.num_seeds
    if num_comparisons is None:
        among = metric.comparisons if comparison in metric.comparisons else metric.pairs
        num_comparisons = sum(not math.isnan(one.curve.p) for one in among)
    gap = f"{scale.difference(curve.mean)}{scale.points}"
    if comparison.last_cycle < 1:
        return f"{ours} and {theirs}: no seed has a cycle of both after the first yet."
    if seeds < 2:
        return (
            f"One seed cannot separate {ours} from {theirs}: {gap}, and nothing to say how much of "
            "it is chance. Run more seeds."
        )
    if comparison.verdict == "equal":
        return f"{ours} and {theirs} have the same results in all {seeds} seeds."
    if comparison.verdict == "unknown":
        return (
            f"{ours} differs from {theirs} by {gap} in each of {seeds} seeds, exactly: there is no "
            "noise to judge this by."
        )
    interval = f"{_percent(summary.level)} interval {scale.interval(curve.low, curve.high)}"
    p = p_words(curve.p_holm)
    corrected = f" corrected for {num_comparisons} comparisons" if num_comparisons > 1 else ""
    # What holds of all comparisons is in the headline.
    every = {_so_far(one, summary) for one in metric.comparisons if one.curve.num_seeds}
    so_far = _so_far(comparison, summary) if len(every) > 1 else ""
    if comparison.verdict != "not separated":
        text = f"{ours} is {comparison.verdict} than {theirs}: {gap}, {interval}, {p}{corrected}."
        return " ".join(filter(None, [text, saved_words(comparison, summary), so_far]))
    if curve.p < 1 - summary.level:
        p = f"{p_words(curve.p)}, but {p_words(curve.p_holm, bare=True)}"
    seen = f"A difference of {scale.value(curve.detectable)}{scale.points} would have been seen."
    if not scale.can_be(curve.detectable):
        seen = "No difference that there can be would have been seen: run more seeds."
    text = (
        f"{_counted(seeds, 'seed')} cannot separate {ours} from {theirs}: {gap}, {interval}, "
        f"{p}{corrected}. {seen}"
    )
    return " ".join(filter(None, [text, so_far]))


def saved_words(comparison: Comparison, summary: Summary) -> str:
    """Return what the comparison of two strategies says of labels, as a sentence."""
    if not comparison.saved:
        return ""
    saved = comparison.saved[-1]
    theirs = summary.titles[comparison.versus]
    first, last = summary.num_labels[0], summary.num_labels[comparison.last_cycle]
    accuracy = f"the accuracy that {theirs} has with {saved.num_labels:,}"
    if saved.low <= first:
        return f"There are no labels to save: the start set may have {accuracy}."
    if math.isinf(saved.needed):
        return f"It does not reach, with {last:,} labels, {accuracy}."
    text = f"It needs {_rounded(saved.needed):,} labels for {accuracy}"
    ends = labels_words(saved.saved_low), labels_words(saved.saved_high)
    if math.isnan(saved.low):
        return f"{text}: {labels_words(saved.saved)}."
    if math.isinf(saved.high):
        interval = f"at most {ends[1]}, if it is reached at all"
    elif saved.saved_low > 0:
        interval = f"{ends[0].split()[0]} to {ends[1]}"
    else:
        interval = " to ".join(ends)
    sure = f"{_percent(summary.level)} interval {interval}"
    return f"{text}: {labels_words(saved.saved)} ({sure})."


def labels_words(saved: float) -> str:
    """Return a number of labels as "1,670 fewer", "300 more" or "as many"."""
    number = _rounded(abs(saved))
    return f"{number:,} {'fewer' if saved > 0 else 'more'}" if number else "as many"


def seen_cell(difference: Difference, scale: Scale) -> str:
    """Return from which size on a difference would have been seen, as short as a table asks."""
    if not scale.can_be(difference.detectable):
        return "none"
    return scale.value(difference.detectable)


def saved_cell(saved: LabelsSaved, num_start: int) -> tuple[str, str]:
    """Return labels saved and their interval, as short as a table asks.

    ``num_start`` is the size of the start set: where that may be enough there is nothing to save.
    """
    if math.isnan(saved.needed):
        return "-", "-"
    if saved.low <= num_start:
        return "-", "none to save"
    value = "not reached" if math.isinf(saved.needed) else f"{_rounded(saved.saved):,}"
    if math.isnan(saved.low):
        return value, "-"
    if math.isinf(saved.low):
        return value, "not reached"
    high = f"{_rounded(saved.saved_high):,}"
    if math.isinf(saved.high):
        return value, f"up to {high}"
    return value, f"{_rounded(saved.saved_low):,} to {high}"


def growth_verdict(summary: Summary, metric: MetricSummary, scale: Scale) -> str:
    """Return whether labels make a difference at all, and where they do not, what that means."""
    growth = metric.growth
    if growth.cycle < 1:
        return ""
    baseline = summary.titles[summary.baseline or summary.strategies[0]]
    first, last = summary.num_labels[0], summary.num_labels[growth.cycle]
    what = metric.metric
    gap = f"{scale.difference(growth.difference.mean)}{scale.points}"
    how = (
        f"{baseline} has {scale.value(growth.first)}{scale.unit} with {first:,} and "
        f"{scale.value(growth.last)}{scale.unit} with {last:,} ({gap}"
    )
    if growth.verdict == "unknown":
        return f"Labels and {what}: {how})."
    of = growth.difference
    how += f", {_percent(summary.level)} interval {scale.interval(of.low, of.high)})"
    seeds = _counted(of.num_seeds, "seed")
    separated = any(one.verdict in ("better", "worse") for one in metric.comparisons)
    hence = (
        "so that the strategies' differences are no matter of how many labels they save"
        if separated
        else "so that strategies can hardly separate"
    )
    further = (
        " Each cycle trains the network of the last one further, so that some of this is owed to "
        "steps, not to labels."
        if summary.fine_tuned
        else ""
    )
    limited = f"training is limited by its steps, not by labels, {hence}"
    if growth.verdict == "grows":
        return f"{what} improves with labels: {how}.{further}"
    if growth.verdict == "small":
        least = min(
            one.curve.detectable
            for one in metric.comparisons
            if not math.isnan(one.curve.detectable)
        )
        if not scale.can_be(least):
            return (
                f"{what} improves with labels: {how}.{further} {seeds} would have seen no "
                "difference between strategies that there can be: run more seeds."
            )
        return (
            f"{what} improves with labels, but little: {how}. All of them together bring less than "
            f"the smallest difference between strategies that {seeds} would have seen, "
            f"{scale.value(least)}{scale.points}, {hence}. Either training is limited by its "
            "steps, not by labels, or the seeds differ by too much: train longer, begin with fewer "
            "labels, or run more seeds."
        )
    begin = "does not improve measurably" if growth.verdict == "flat" else "gets worse"
    return (
        f"{what} {begin} with labels: {how}. As far as {seeds} show, {limited}. Train longer, or "
        "begin with fewer labels."
    )


def missing_sentences(summary: Summary) -> list[str]:
    """Return what is missing of the simulation; cycles are counted from 1."""
    runs: dict[tuple[str, tuple[int, ...], str | None], list[int]] = {}
    for strategy, seed, cycles, metric in summary.missing:
        runs.setdefault((strategy, cycles, metric), []).append(seed)
    groups: dict[tuple[tuple[int, ...], tuple[int, ...], str | None], list[str]] = {}
    for (strategy, cycles, metric), of_run in runs.items():
        groups.setdefault((tuple(of_run), cycles, metric), []).append(summary.titles[strategy])
    said = []
    for (seeds, cycles, metric), names in groups.items():
        everyone = len(names) == len(summary.strategies) > 1
        of = "all strategies" if everyone else _listed(names)
        which = f"cycle{'s' * (len(cycles) > 1)} {_ranges(cycle + 1 for cycle in cycles)}"
        where = f"seed{'s' * (len(seeds) > 1)} {_ranges(seeds)}"
        if metric is not None:
            said.append(f"{metric} is not a number in {which} of {where}: {of}.")
        elif seeds == summary.seeds and 0 in cycles and len(cycles) >= len(summary.num_labels):
            said.append(f"Not begun: {of}.")
        else:
            said.append(f"C{which[1:]} of {where} {_is_are(cycles)} not there: {of}.")
    return said


def p_words(p: float, *, bare: bool = False) -> str:
    """Return a p-value as "p = 0.35"; bare as "0.35"."""
    if math.isnan(p):
        return "-"
    if p < 0.001:
        return "below 0.001" if bare else "p < 0.001"
    digits = 2 if p >= 0.1 else 3
    return f"{'' if bare else 'p = '}{p:.{digits}f}"


def _so_far(comparison: Comparison, summary: Summary) -> str:
    """Return what a comparison leaves out, of a simulation that is not finished."""
    said = []
    if len(comparison.seeds) < len(summary.seeds):
        said.append(f"{len(comparison.seeds)} of {len(summary.seeds)} seeds")
    if comparison.last_cycle < len(summary.num_labels) - 1:
        said.append(f"up to {summary.num_labels[comparison.last_cycle]:,} labels")
    return f"So far: {', '.join(said)}." if said else ""


def _rounded(number: float) -> int:
    """Return a number of labels to three digits: there is no more in it."""
    if not math.isfinite(number) or number == 0:
        return 0
    return round(round(number), min(0, 2 - math.floor(math.log10(abs(number)))))


def _percent(share: float) -> str:
    return f"{100 * share:g} %"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _named(names: Sequence[str], others: bool = False) -> str:
    """Return names, or how many they are where these are too many to read."""
    if len(names) <= _NAMED:
        return _listed(names)
    return f"{len(names)} {'others' if others else 'strategies'}"


def _is_are(several: Sequence[object]) -> str:
    return "is" if len(several) == 1 else "are"


def _ranges(numbers: Iterable[int]) -> str:
    """Return numbers as "0 to 2 and 4"."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    said: list[str] = []
    for run in runs:
        said += [f"{run[0]} to {run[-1]}"] if len(run) > 2 else map(str, run)
    return _listed(said)

"""The tables of a simulation's page."""

from __future__ import annotations

import math

from vl4pose.simulation.curve_svg import interval_svg
from vl4pose.simulation.page_markup import dash, named, section, table, text_of
from vl4pose.simulation.statistics import STAGES, MetricSummary, Summary
from vl4pose.simulation.verdicts import Scale, p_words, saved_cell, scale_of, seen_cell
from vl4pose.skeleton import readable

__all__ = ["accuracy_section", "differences_section", "seconds_section"]

_WORDS_OF_STAGES = {
    "train": "training",
    "evaluate": "evaluation",
    "score": "scoring the pool",
    "select": "choosing",
}


def accuracy_section(summary: Summary, metric: MetricSummary, key: str = "") -> str:
    """Return the means by cycle; ``key`` ends the names of a metric that is not the first."""
    scale = scale_of(metric)
    heads = ["Strategy", *(f"{number:,} labels" for number in summary.num_labels)]
    best = _best(metric)
    rows = []
    for name in summary.strategies:
        cells = []
        for cycle, of in enumerate(metric.estimates[name]):
            text = text_of(scale.value(of.mean)) if of.num_seeds else "–"
            if best.get(cycle) == name:
                text = f"<strong>{text}</strong>"
            if not math.isnan(of.std):
                text += f' <span class="of">± {text_of(scale.value(of.std))}</span>'
            if 0 < of.num_seeds < len(summary.seeds):
                text += f' <span class="of">({of.num_seeds})</span>'
            cells.append(text)
        rows.append((named(summary, name), cells, False))
    unit = scale.unit.strip()
    seeds = len(summary.seeds)
    said = f"Mean{' ± standard deviation' * (seeds > 1)}{f', in {unit}' * bool(unit)}, of " + (
        f"{seeds} seeds" if seeds > 1 else "one seed"
    )
    if any(0 < of.num_seeds < seeds for several in metric.estimates.values() for of in several):
        said += "; of fewer where a number in brackets says so"
    if len(summary.strategies) > 1:
        said += ". The best mean of a column is bold, whether or not the seeds can separate it"
    title = "Accuracy by cycle" if not key else f"{metric.metric} by cycle"
    parts = [f"<p>{text_of(said)}.</p>", table(title, heads, rows), _joints(summary, metric, scale)]
    return section(f"accuracy{key}", title, parts)


def differences_section(summary: Summary, metric: MetricSummary, key: str = "") -> str:
    """Return the comparisons with the baseline, if there is anything to compare."""
    if summary.baseline is None or not any(one.curve.num_seeds for one in metric.comparisons):
        return ""
    scale = scale_of(metric)
    level = f"{100 * summary.level:g} %"
    points = scale.points.strip() or "difference"
    ends = [
        abs(end)
        for one in metric.comparisons
        for end in (one.curve.low, one.curve.high, one.curve.mean)
        if not math.isnan(end)
    ]
    reach = max(ends, default=0.0) or 1.0
    heads = [
        "Strategy", points, f"{level} interval", "", "p", "corrected", "seen from", "labels saved",
        f"{level} interval",
    ]  # fmt: skip
    rows = []
    for one in metric.comparisons:
        curve = one.curve
        saved = saved_cell(one.saved[-1], summary.num_labels[0]) if one.saved else ("-", "-")
        cells = [
            scale.difference(curve.mean),
            scale.interval(curve.low, curve.high),
            None,
            *(p_words(p, bare=True).replace("below ", "<") for p in (curve.p, curve.p_holm)),
            seen_cell(curve, scale),
            *saved,
        ]
        shown = [
            interval_svg(curve, reach) if cell is None else text_of(dash(cell)) for cell in cells
        ]
        rows.append((named(summary, one.strategy), shown, one.verdict in ("better", "worse")))
    baseline = summary.titles[summary.baseline]
    said = (
        f"Means of the cycles after the first, less {baseline}'s, seed by seed"
        f"{'' if metric.higher_is_better else '; less is better'}. p: paired t-test; corrected: by "
        "Holm's method for the number of strategies, which the verdicts go by. Seen from: the "
        "difference that four of five such simulations would have found, none where it is larger "
        "than any can be. Labels saved: how many fewer are needed than "
        f"{baseline} needs for what it reaches after the last cycle."
    )
    title = f"Against {baseline}" if not key else f"{metric.metric} against {baseline}"
    parts = [f"<p>{text_of(said)}</p>", table(title, heads, rows)]
    if len(summary.num_labels) > 2:
        parts.append(_by_cycle(summary, metric, scale))
    return section(f"differences{key}", title, parts)


def seconds_section(summary: Summary) -> str:
    """Return how long each stage takes."""
    heads = ["Strategy", *(_WORDS_OF_STAGES[stage] for stage in STAGES)]
    rows = []
    for name in summary.strategies:
        seconds = [summary.mean_seconds(name, stage) for stage in STAGES]
        cells = [
            "–" if math.isnan(one) else f"{one:,.{0 if one >= 100 else 2}f}" for one in seconds
        ]
        rows.append((named(summary, name), cells, False))
    said = (
        "Seconds a cycle, mean of all cycles and seeds. Scoring the pool is all that a strategy "
        "asks of networks about the pool, training of its own networks included."
    )
    title = "Seconds"
    return section("seconds", title, [f"<p>{text_of(said)}</p>", table(title, heads, rows)])


def _best(metric: MetricSummary) -> dict[int, str]:
    """Return which strategy has the best mean after each cycle, where they are not all the same."""
    best = {}
    for cycle in range(1, len(next(iter(metric.estimates.values())))):
        means = {
            name: of[cycle].mean for name, of in metric.estimates.items() if of[cycle].num_seeds
        }
        if len(set(means.values())) > 1:
            choose = max if metric.higher_is_better else min
            best[cycle] = choose(means, key=lambda name: means[name])
    return best


def _joints(summary: Summary, metric: MetricSummary, scale: Scale) -> str:
    """Return the means of each joint after the last cycle, if records tell of joints."""
    if not metric.parts:
        return ""
    what = "bone" if metric.metric.startswith("PCP") else "joint"
    rows = []
    for joint, part in enumerate(metric.parts):
        values = [metric.per_joint[name][-1, joint] for name in summary.strategies]
        cells = [text_of(dash(scale.value(value))) for value in values]
        rows.append((text_of(readable(part)), cells, False))
    unit = scale.unit.strip()
    said = f"Mean{f', in {unit}' * bool(unit)}, after the last cycle."
    heads = [what.capitalize(), *(summary.titles[name] for name in summary.strategies)]
    return (
        f"<details>\n<summary>The same for each {what}</summary>\n<p>{text_of(said)}</p>\n"
        f"{table(f'{metric.metric} of each {what} after the last cycle', heads, rows)}\n</details>"
    )


def _by_cycle(summary: Summary, metric: MetricSummary, scale: Scale) -> str:
    """Return differences and labels saved after each cycle."""
    differences, saved = [], []
    for one in metric.comparisons:
        cells = []
        for of in one.cycles[1:]:
            text = text_of(dash(scale.difference(of.mean)))
            if not math.isnan(of.low):
                text += f' <span class="of">{text_of(scale.interval(of.low, of.high))}</span>'
            cells.append(text)
        differences.append((named(summary, one.strategy), cells, False))
        by_cycle = {of.cycle: saved_cell(of, summary.num_labels[0]) for of in one.saved}
        cells = []
        for cycle in range(1, len(summary.num_labels)):
            value, interval = by_cycle.get(cycle, ("-", "-"))
            text = text_of(dash(value))
            if interval != "-":
                text += f' <span class="of">{text_of(interval)}</span>'
            cells.append(text)
        saved.append((named(summary, one.strategy), cells, False))
    heads = ["Strategy", *(f"{number:,} labels" for number in summary.num_labels[1:])]
    baseline = summary.titles[summary.baseline or ""]
    level = f"{100 * summary.level:g} %"
    return (
        "<details>\n<summary>The same after each cycle</summary>\n"
        f"<p>{text_of(f'Difference to {baseline}, with its {level} interval.')}</p>\n"
        f"{table(f'Differences of {metric.metric} after each cycle', heads, differences)}\n"
        f"<p>{text_of(f'Labels saved at the accuracy that {baseline} has with so many.')}</p>\n"
        f"{table(f'Labels saved by {metric.metric}', heads, saved)}\n</details>"
    )

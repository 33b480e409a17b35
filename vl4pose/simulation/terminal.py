"""What the terminal shows of a simulation."""

from __future__ import annotations

import math

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from vl4pose.simulation.statistics import STAGES, MetricSummary, Summary
from vl4pose.simulation.verdicts import (
    HOW_SURE,
    Scale,
    comparison_verdict,
    growth_verdict,
    headline,
    missing_sentences,
    p_words,
    saved_cell,
    scale_of,
    seen_cell,
)

__all__ = ["terminal_summary"]

_SHOWN = 6  # sentences of a kind
_NAME_WIDTH = 20  # in the table that is wide already


def terminal_summary(summary: Summary, *, width: int = 80) -> RenderableType:
    """Return the tables and verdicts of a simulation, by its first metric.

    Parameters
    ----------
    summary : Summary
    width : int, default 80
        Of the terminal. A table of more cycles than fit is cut into several.

    Returns
    -------
    rich renderable
    """
    metric = summary.metrics[0]
    scale = scale_of(metric)
    parts: list[RenderableType] = [*_means(summary, metric, scale, width)]
    parts += [*_differences(summary, metric, scale), Text(), _seconds(summary), Text()]
    parts.append(Text(headline(summary, metric), "bold"))
    parts += _sentences(summary, metric, scale)
    if missing := missing_sentences(summary):
        parts += [Text("\nnot there yet", "yellow"), *map(_indented, missing)]
    if len(summary.metrics) > 1:
        others = ", ".join(of.metric for of in summary.metrics[1:])
        parts.append(Text(f"\nThe same by {others}: in the files.", "dim"))
    return Group(*parts)


def _means(
    summary: Summary, metric: MetricSummary, scale: Scale, width: int
) -> list[RenderableType]:
    name_width = max(map(len, summary.titles.values()))
    cells = {
        name: [
            _cell(of.num_seeds, scale.value(of.mean), scale.value(of.std), len(summary.seeds))
            for of in metric.estimates[name]
        ]
        for name in summary.strategies
    }
    heads = [f"{number:,}" for number in summary.num_labels]
    heads[0] += " labels"
    widest = max(len(text) for row in (heads, *cells.values()) for text in row)
    each = max(1, (width - name_width - 2) // (widest + 2))
    unit = scale.unit.strip()
    said = f"{metric.metric}{f' in {unit}' * bool(unit)}"
    seeds = len(summary.seeds)
    said += f": mean ± std of {seeds} seeds" if seeds > 1 else ": one seed"
    if any("(" in text for row in cells.values() for text in row):
        said += ", or of as many as are there (in brackets)"
    parts: list[RenderableType] = [Text(said)]
    for start in range(0, len(heads), each):
        table = _table("", *heads[start : start + each])
        for name in summary.strategies:
            table.add_row(summary.titles[name], *cells[name][start : start + each])
        parts.append(table)
    return parts


def _cell(num_seeds: int, mean: str, std: str, num_planned: int) -> str:
    if not num_seeds:
        return "-"
    text = mean if std == "-" else f"{mean} ± {std}"
    return text if num_seeds == num_planned else f"{text} ({num_seeds})"


def _differences(summary: Summary, metric: MetricSummary, scale: Scale) -> list[RenderableType]:
    if summary.baseline is None or not any(one.curve.num_seeds for one in metric.comparisons):
        return []
    level = f"{100 * summary.level:g} %"
    points = scale.points.strip()
    table = _table("", points or "difference", level, "p", "seen from", "labels saved", level)
    for column in table.columns:
        column.no_wrap = True
    names = table.columns[0]
    names.no_wrap, names.overflow, names.max_width = False, "fold", _NAME_WIDTH
    for one in metric.comparisons:
        curve = one.curve
        saved = saved_cell(one.saved[-1], summary.num_labels[0]) if one.saved else ("-", "-")
        table.add_row(
            summary.titles[one.strategy],
            scale.difference(curve.mean),
            scale.interval(curve.low, curve.high),
            p_words(curve.p_holm, bare=True).replace("below ", "<"),
            seen_cell(curve, scale),
            # With all its labels less accurate than the baseline with as many.
            saved[0].replace("not reached", "<0"),
            saved[1].replace("not reached", "<0"),
            style="bold" if one.verdict in ("better", "worse") else "",
        )
    baseline = summary.titles[summary.baseline]
    said = f"against {baseline}, mean of the cycles after the first"
    if not metric.higher_is_better:
        said += " (less is better)"
    return [Text(f"\n{said}"), table]


def _seconds(summary: Summary) -> RenderableType:
    table = _table("seconds a cycle", *STAGES)
    for name in summary.strategies:
        seconds = [summary.mean_seconds(name, stage) for stage in STAGES]
        table.add_row(
            summary.titles[name], *("-" if math.isnan(one) else _short(one) for one in seconds)
        )
    return table


def _short(seconds: float) -> str:
    return (
        f"{seconds:,.0f}"
        if seconds >= 100
        else f"{seconds:.1f}"
        if seconds >= 10
        else (f"{seconds:.2f}")
    )


def _sentences(summary: Summary, metric: MetricSummary, scale: Scale) -> list[RenderableType]:
    growth = growth_verdict(summary, metric, scale)
    limited = metric.growth.verdict in ("flat", "falls", "small")
    parts: list[RenderableType] = []
    if growth:
        parts.append(Text(f"\n{growth}", "yellow" if limited else ""))
    # Of many, those that say something: the others are in the table, and named above.
    told = [
        one
        for one in metric.comparisons
        if len(metric.comparisons) <= _SHOWN or one.verdict in ("better", "worse")
    ]
    if any(one.last_cycle > 0 for one in told):
        parts.append(Text())
        parts += [_indented(comparison_verdict(one, summary, metric, scale)) for one in told]
    pairs = [one for one in metric.pairs if one.verdict != "unknown"]
    separated = [one for one in pairs if one.verdict in ("better", "worse")]
    if pairs:
        parts.append(Text("\namong the others"))
        shown = separated[:_SHOWN]
        parts += [_indented(comparison_verdict(one, summary, metric, scale)) for one in shown]
        rest = [
            f"{number:,} {words}"
            for number, words in (
                (len(separated) - len(shown), "more pairs separated, in the files"),
                (len(pairs) - len(separated), "pairs not separated"),
            )
            if number
        ]
        if rest:
            parts.append(_indented("; ".join(rest).replace("1 pairs", "1 pair")))
    if any(one.curve.num_seeds > 1 for one in metric.comparisons):
        parts.append(Text(f"\n{HOW_SURE}", "dim"))
    return parts


def _indented(sentence: str) -> RenderableType:
    return Padding(Text(sentence), (0, 0, 0, 2))


def _table(*headings: str) -> Table:
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0), pad_edge=False)
    for i, heading in enumerate(headings):
        table.add_column(heading, justify="right" if i else "left", no_wrap=not i)
    return table

"""simulation.html: the outcome of a simulation in one file, without a script or a request."""

from __future__ import annotations

import base64
import html
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from vl4pose._one_file_page import content_policy, shared_style
from vl4pose.simulation.curve_svg import curves_svg, interval_svg, key_svg, with_minus
from vl4pose.simulation.curves import curves_of, panel_title, panels_of, styles_of, value_range
from vl4pose.simulation.statistics import STAGES, Comparison, MetricSummary, Summary
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
)

__all__ = ["simulation_page"]

_WIDE, _NARROW, _PANEL = (860.0, 400.0), (340.0, 300.0), (290.0, 210.0)
_PICTURE_WIDTH = 1600  # pixels, of the pictures of what was chosen
_LIMITED = ("flat", "falls", "small")
_WORDS_OF_STAGES = {
    "train": "training",
    "evaluate": "evaluation",
    "score": "scoring the pool",
    "select": "choosing",
}


def simulation_page(
    summary: Summary,
    *,
    name: str,
    configuration: Mapping[str, Any] | None = None,
    pictures: Sequence[tuple[str, Path]] = (),
) -> str:
    """Return the page of a simulation.

    Parameters
    ----------
    summary : Summary
    name : str
        What the page calls the simulation.
    configuration : mapping, optional
        Tables and values to show, as ``simulation.json`` holds them.
    pictures : sequence of (str, Path)
        Titles and files of pictures of what was chosen.

    Returns
    -------
    str
        HTML. Names are text wherever they are shown, and the page's own policy
        (Content-Security-Policy) allows its style sheet and the pictures in it, and nothing else.
    """
    assets = files("vl4pose") / "simulation" / "assets"
    style = f"\n{shared_style()}{(assets / 'simulation.css').read_text(encoding='utf-8')}"
    first, *others = summary.metrics
    sections = [
        _missing(summary),
        _verdicts(summary, first),
        _curves(summary, first),
        _accuracy(summary, first),
        _differences(summary, first),
        *(_other_metric(summary, metric) for metric in others),
        _seconds(summary),
        _pictures(pictures),
        _configuration(configuration),
    ]
    return Template((assets / "page.html").read_text(encoding="utf-8")).substitute(
        policy=content_policy(style),
        title=html.escape(name),
        style=style,
        lead=_lead(summary, first, name),
        sections="\n".join(filter(None, sections)),
    )


def _lead(summary: Summary, metric: MetricSummary, name: str) -> str:
    labels = summary.num_labels
    number = f"{labels[0]:,} to {labels[-1]:,}" if len(labels) > 1 else f"{labels[0]:,}"
    strategies, seeds = len(summary.strategies), len(summary.seeds)
    what = (
        f"{strategies} strateg{'ies' if strategies != 1 else 'y'}, "
        f"{seeds} seed{'s' * (seeds != 1)}, {number} labels: what a network is worth that is "
        "trained on the labels that a strategy chooses, on a dataset that has them all."
    )
    return (
        f"<p><strong>{_text(name)}</strong>: {_text(what)}</p>\n"
        f'<p class="headline">{_text(headline(summary, metric))}</p>'
    )


def _missing(summary: Summary) -> str:
    sentences = missing_sentences(summary)
    if not sentences:
        return ""
    said = "".join(f"<p>{_text(one)}</p>" for one in sentences)
    return _section("missing", "Not finished", [f'<div class="note">{said}</div>'])


def _verdicts(summary: Summary, metric: MetricSummary) -> str:
    scale = scale_of(metric)
    parts = [_growth(summary, metric, scale)]
    parts.append(_sentences(summary, metric, scale, metric.comparisons))
    pairs = [one for one in metric.pairs if one.verdict != "unknown"]
    if pairs:
        separated = sum(one.verdict in ("better", "worse") for one in pairs)
        title = f"The others among themselves: {separated:,} of {len(pairs):,} pairs separated"
        parts.append(
            f"<details>\n<summary>{_text(title)}</summary>\n"
            f"{_sentences(summary, metric, scale, pairs)}</details>"
        )
    if any(one.curve.num_seeds > 1 for one in metric.comparisons):
        parts.append(f'<p class="quiet">{_text(HOW_SURE)}</p>')
    return _section("verdicts", "Verdicts", parts)


def _growth(summary: Summary, metric: MetricSummary, scale: Scale) -> str:
    sentence = growth_verdict(summary, metric, scale)
    if not sentence:
        return ""
    limited = metric.growth is not None and metric.growth.verdict in _LIMITED
    kind = ' class="note warn"' if limited else ""
    return f"<p{kind}>{_text(sentence)}</p>"


def _sentences(
    summary: Summary, metric: MetricSummary, scale: Scale, several: Iterable[Comparison]
) -> str:
    items = "".join(
        f"<li>{_text(comparison_verdict(one, summary, metric, scale))}</li>\n" for one in several
    )
    return f'<ul class="verdicts">\n{items}</ul>\n' if items else ""


def _curves(summary: Summary, metric: MetricSummary, key: str = "") -> str:
    curves = curves_of(summary, metric)
    if not curves:
        return _section(f"curves{key}", "Curves", ["<p>No cycle has a number to show.</p>"])
    scale = scale_of(metric)
    panels = panels_of(summary, curves)
    unit = scale.unit.strip()
    what = f"{metric.metric}{f' in {unit}' * bool(unit)}"
    label = f"{what} by number of labels, a curve for each strategy. The numbers are in a table."
    tall = (_WIDE[0], max(_WIDE[1], 17.0 * len(curves) + 60))
    bands = not panels
    drawn = [
        f'<div class="wide">{_drawn(curves, scale, label, tall, bands, True)}</div>',
        f'<div class="narrow">{_drawn(curves, scale, label, _NARROW, bands, False)}</div>',
    ]
    keys = "".join(f"<li>{key_svg(one.style)} {_text(one.title)}</li>" for one in curves)
    seeds = len(summary.seeds)
    caption = f"{what}, mean of {f'{seeds} seeds' if seeds > 1 else 'one seed'}."
    parts = [
        f'<figure>{"".join(drawn)}<figcaption class="quiet">{_text(caption)}</figcaption></figure>',
        f'<ul class="keys">{keys}</ul>',
    ]
    if panels and summary.baseline is not None:
        parts += _panels(summary, metric, scale, what)
    return _section(f"curves{key}", "Curves" if not key else f"Curves of {metric.metric}", parts)


def _drawn(
    curves: Any, scale: Scale, label: str, size: tuple[float, float], bands: bool, named: bool
) -> str:
    width, height = size
    return curves_svg(
        curves, scale, label=label, width=width, height=height, bands=bands, named=named
    )


def _panels(summary: Summary, metric: MetricSummary, scale: Scale, what: str) -> list[str]:
    """Return each strategy's curve beside the baseline's."""
    curves = curves_of(summary, metric)
    baseline = [curve for curve in curves if curve.strategy == summary.baseline]
    compared = {one.strategy: one for one in metric.comparisons}
    limits = value_range(curves, bands=True)
    points = scale.points.strip()
    title = summary.titles[summary.baseline or ""]
    figures = []
    for curve in panels_of(summary, curves):
        both = [*baseline, curve]
        said = panel_title(compared.get(curve.strategy), scale)
        drawn = curves_svg(
            both,
            scale,
            label=f"{what} by number of labels: {curve.title} and {title}.",
            width=_PANEL[0],
            height=_PANEL[1],
            faint=[one for one in curves if one not in both],
            bands=True,
            limits=limits,
        )
        said = f' <span class="quiet">{_text(f"{said} {points}".strip())}</span>' if said else ""
        figures.append(
            f"<figure><figcaption>{key_svg(curve.style)} <strong>{_text(curve.title)}</strong>"
            f"{said}</figcaption>{drawn}</figure>"
        )
    level = f"{100 * summary.level:g} %"
    explained = (
        f"Each strategy beside {title} (dashed), with {level} intervals of both means. Whether the "
        "two differ is said by the paired difference above: seeds differ from each other in what "
        "both strategies share, so that it may be clear where bands overlap."
    )
    return [
        f'<p class="quiet">{_text(explained)}</p>',
        f'<div class="panels">{"".join(figures)}</div>',
    ]


def _accuracy(summary: Summary, metric: MetricSummary, key: str = "") -> str:
    scale = scale_of(metric)
    heads = ["Strategy", *(f"{number:,} labels" for number in summary.num_labels)]
    best = _best(metric)
    rows = []
    for name in summary.strategies:
        cells = []
        for cycle, of in enumerate(metric.estimates[name]):
            text = _text(scale.value(of.mean)) if of.num_seeds else "–"
            if best.get(cycle) == name:
                text = f"<strong>{text}</strong>"
            if not math.isnan(of.std):
                text += f' <span class="of">± {_text(scale.value(of.std))}</span>'
            if 0 < of.num_seeds < len(summary.seeds):
                text += f' <span class="of">({of.num_seeds})</span>'
            cells.append(text)
        rows.append((_named(summary, name), cells, False))
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
    return _section(f"accuracy{key}", title,
                    [f"<p>{_text(said)}.</p>", _table(title, heads, rows)])  # fmt: skip


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


def _differences(summary: Summary, metric: MetricSummary, key: str = "") -> str:
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
        "Strategy", points, f"{level} interval", "", "p", "corrected", "sign flips", "seen from",
        "labels saved", f"{level} interval",
    ]  # fmt: skip
    rows = []
    for one in metric.comparisons:
        curve = one.curve
        saved = saved_cell(one.saved[-1], summary.num_labels[0]) if one.saved else ("-", "-")
        cells = [
            scale.difference(curve.mean),
            scale.interval(curve.low, curve.high),
            None,
            *(p_words(p, bare=True) for p in (curve.p, curve.p_holm, curve.p_sign_flip)),
            scale.value(curve.detectable),
            *saved,
        ]
        shown = [
            interval_svg(curve, reach) if cell is None else _text(_dash(cell)) for cell in cells
        ]
        rows.append((_named(summary, one.strategy), shown, one.verdict in ("better", "worse")))
    baseline = summary.titles[summary.baseline]
    said = (
        f"Means of the cycles after the first, less {baseline}'s, seed by seed"
        f"{'' if metric.higher_is_better else '; less is better'}. p: paired t-test; corrected: by "
        "Holm's method for all strategies, which the verdicts go by; sign flips: the exact test "
        "that asks for no normal distribution, and cannot be below "
        f"{_least_sign_flip(metric)}. Seen from: the difference that four of five such simulations "
        f"would have found. Labels saved: fewer than {baseline} needs for what it reaches after "
        "the last cycle."
    )
    title = f"Against {baseline}" if not key else f"{metric.metric} against {baseline}"
    parts = [f"<p>{_text(said)}</p>", _table(title, heads, rows)]
    if len(summary.num_labels) > 2:
        parts.append(_by_cycle(summary, metric, scale))
    return _section(f"differences{key}", title, parts)


def _least_sign_flip(metric: MetricSummary) -> str:
    seeds = max(one.curve.num_seeds for one in metric.comparisons)
    return f"{2.0 ** (1 - seeds):.3g} with {seeds} seed{'s' * (seeds != 1)}"


def _by_cycle(summary: Summary, metric: MetricSummary, scale: Scale) -> str:
    """Return differences and labels saved after each cycle."""
    differences, saved = [], []
    for one in metric.comparisons:
        cells = []
        for of in one.cycles[1:]:
            text = _text(_dash(scale.difference(of.mean)))
            if not math.isnan(of.low):
                text += f' <span class="of">{_text(scale.interval(of.low, of.high))}</span>'
            cells.append(text)
        differences.append((_named(summary, one.strategy), cells, False))
        by_cycle = {of.cycle: saved_cell(of, summary.num_labels[0]) for of in one.saved}
        cells = []
        for cycle in range(1, len(summary.num_labels)):
            value, interval = by_cycle.get(cycle, ("-", "-"))
            text = _text(_dash(value))
            if interval != "-":
                text += f' <span class="of">{_text(interval)}</span>'
            cells.append(text)
        saved.append((_named(summary, one.strategy), cells, False))
    heads = ["Strategy", *(f"{number:,} labels" for number in summary.num_labels[1:])]
    baseline = summary.titles[summary.baseline or ""]
    level = f"{100 * summary.level:g} %"
    return (
        "<details>\n<summary>The same after each cycle</summary>\n"
        f"<p>{_text(f'Difference to {baseline}, with its {level} interval.')}</p>\n"
        f"{_table(f'Differences of {metric.metric} after each cycle', heads, differences)}\n"
        f"<p>{_text(f'Labels saved at the accuracy that {baseline} has with so many.')}</p>\n"
        f"{_table(f'Labels saved by {metric.metric}', heads, saved)}\n</details>"
    )


def _other_metric(summary: Summary, metric: MetricSummary) -> str:
    """Return all about a metric that is not the first, closed until it is asked for."""
    scale = scale_of(metric)
    key = f"-{[of.metric for of in summary.metrics].index(metric.metric)}"
    inner = [
        f'<p class="headline">{_text(headline(summary, metric))}</p>',
        _growth(summary, metric, scale),
        _sentences(summary, metric, scale, metric.comparisons),
        _curves(summary, metric, key),
        _accuracy(summary, metric, key),
        _differences(summary, metric, key),
    ]
    title = f"The same by {metric.metric}"
    return (
        f'<section aria-labelledby="metric{key}">\n<details>\n'
        f'<summary><h2 id="metric{key}">{_text(title)}</h2></summary>\n'
        f"{''.join(inner)}\n</details>\n</section>"
    )


def _seconds(summary: Summary) -> str:
    heads = ["Strategy", *(_WORDS_OF_STAGES[stage] for stage in STAGES)]
    rows = []
    for name in summary.strategies:
        seconds = [summary.mean_seconds(name, stage) for stage in STAGES]
        cells = [
            "–" if math.isnan(one) else f"{one:,.{0 if one >= 100 else 2}f}" for one in seconds
        ]
        rows.append((_named(summary, name), cells, False))
    said = (
        "Seconds a cycle, mean of all cycles and seeds. Scoring the pool is all that a strategy "
        "asks of networks about the pool, training of its own networks included."
    )
    title = "Seconds"
    return _section("seconds", title, [f"<p>{_text(said)}</p>", _table(title, heads, rows)])


def _pictures(pictures: Sequence[tuple[str, Path]]) -> str:
    if not pictures:
        return ""
    figures = []
    for title, path in pictures:
        source, width, height = _embedded(path)
        figures.append(
            f'<figure><figcaption>{_text(title)}</figcaption><img src="{source}" '
            f'alt="{html.escape(title)}" width="{width}" height="{height}"></figure>'
        )
    return _section("picks", "What was chosen first",
                    [f'<div class="pictures">{"".join(figures)}</div>'])  # fmt: skip


def _embedded(path: Path) -> tuple[str, int, int]:
    """Return a picture as a data URL, no wider than a page needs, and its size."""
    from PIL import Image

    with Image.open(path) as file:
        picture: Image.Image = file.convert("RGB")
        if picture.width > _PICTURE_WIDTH:
            height = max(1, round(picture.height * _PICTURE_WIDTH / picture.width))
            picture = picture.resize((_PICTURE_WIDTH, height), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        picture.save(buffer, format="webp", quality=85)
        data = base64.b64encode(buffer.getvalue()).decode("ascii")
        return f"data:image/webp;base64,{data}", picture.width, picture.height


def _configuration(configuration: Mapping[str, Any] | None) -> str:
    if not configuration:
        return ""
    entries = "".join(
        f"<dt>{_plain(key)}</dt><dd>{_plain(value)}</dd>" for key, value in _flat(configuration)
    )
    return (
        '<section aria-labelledby="configuration-title" id="configuration">\n<details>\n'
        '<summary><h2 id="configuration-title">Configuration</h2></summary>\n'
        f"<dl>{entries}</dl>\n</details>\n</section>"
    )


def _flat(values: Mapping[str, Any], above: str = "") -> Iterable[tuple[str, str]]:
    """Yield the entries of tables in tables, named by the way to them."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{above}{key}.")
        elif isinstance(value, str):
            yield f"{above}{key}", value
        elif value is not None:
            yield f"{above}{key}", json.dumps(value, ensure_ascii=False)


def _section(name: str, title: str, parts: Sequence[str]) -> str:
    level = 3 if "-" in name else 2  # within another metric's
    inner = "\n".join(filter(None, parts))
    return (
        f'<section id="{name}" aria-labelledby="{name}-title" tabindex="-1">\n'
        f'<h{level} id="{name}-title">{_text(title)}</h{level}>\n{inner}\n</section>'
    )


def _table(
    label: str, heads: Sequence[str], rows: Sequence[tuple[str, Sequence[str], bool]]
) -> str:
    """Return a table that can be moved sideways; names and cells are markup already."""
    first, *others = map(_text, heads)
    head = f'<th scope="col">{first}</th>' + "".join(
        f'<th scope="col" class="number">{text}</th>' if text else "<td></td>" for text in others
    )
    body = "\n".join(
        ('<tr class="separated">' if separated else "<tr>")
        + f'<th scope="row">{name}</th>'
        + "".join(f'<td class="number">{cell}</td>' for cell in cells)
        + "</tr>"
        for name, cells, separated in rows
    )
    return (
        f'<div class="scroll" role="region" aria-label="{html.escape(label)}" tabindex="0">'
        f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>"
    )


def _named(summary: Summary, name: str) -> str:
    return f"{key_svg(styles_of(summary)[name])} {_text(summary.titles[name])}"


def _dash(text: str) -> str:
    return "–" if text == "-" else text


def _text(text: str) -> str:
    return html.escape(with_minus(text))


def _plain(text: str) -> str:
    return html.escape(text)

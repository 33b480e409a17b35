"""simulation.html: the outcome of a simulation in one file, without a script or a request."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from vl4pose._one_file_page import content_policy, shared_style
from vl4pose.simulation.curve_svg import curves_svg, key_svg
from vl4pose.simulation.curves import (
    Curve,
    banded_of,
    curves_of,
    panel_title,
    panels_of,
    value_range,
)
from vl4pose.simulation.page_markup import section, text_of
from vl4pose.simulation.page_tables import (
    accuracy_section,
    differences_section,
    seconds_section,
)
from vl4pose.simulation.statistics import Comparison, MetricSummary, Summary
from vl4pose.simulation.verdicts import (
    HOW_SURE,
    Scale,
    comparison_verdict,
    growth_verdict,
    headline,
    missing_sentences,
    scale_of,
)

__all__ = ["simulation_page"]

_WIDE, _NARROW, _PANEL = (860.0, 400.0), (340.0, 300.0), (290.0, 210.0)
_PICTURE_WIDTH = 1600  # pixels, of the pictures of what was chosen
_LIMITED = ("flat", "falls", "small")
_ORDER = ("better", "worse", "not separated", "equal", "unknown")


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
        accuracy_section(summary, first),
        differences_section(summary, first),
        *(_other_metric(summary, metric) for metric in others),
        seconds_section(summary),
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
        f"<p><strong>{text_of(name)}</strong>: {text_of(what)}</p>\n"
        f'<p class="headline">{text_of(headline(summary, metric))}</p>'
    )


def _missing(summary: Summary) -> str:
    sentences = missing_sentences(summary)
    if not sentences:
        return ""
    said = "".join(f"<p>{text_of(one)}</p>" for one in sentences)
    return section("missing", "Not finished", [f'<div class="note">{said}</div>'])


def _verdicts(summary: Summary, metric: MetricSummary) -> str:
    scale = scale_of(metric)
    parts = [_growth(summary, metric, scale)]
    parts.append(_sentences(summary, metric, scale, metric.comparisons))
    pairs = [one for one in metric.pairs if one.verdict != "unknown"]
    if pairs:
        separated = sum(one.verdict in ("better", "worse") for one in pairs)
        title = f"The others among themselves: {separated:,} of {len(pairs):,} pairs separated"
        parts.append(
            f"<details>\n<summary>{text_of(title)}</summary>\n"
            f"{_sentences(summary, metric, scale, pairs)}</details>"
        )
    if any(one.curve.num_seeds > 1 for one in metric.comparisons):
        parts.append(f'<p class="quiet">{text_of(HOW_SURE)}</p>')
    return section("verdicts", "Verdicts", parts)


def _growth(summary: Summary, metric: MetricSummary, scale: Scale) -> str:
    sentence = growth_verdict(summary, metric, scale)
    if not sentence:
        return ""
    limited = metric.growth.verdict in _LIMITED
    kind = ' class="note warn"' if limited else ""
    return f"<p{kind}>{text_of(sentence)}</p>"


def _sentences(
    summary: Summary, metric: MetricSummary, scale: Scale, several: Iterable[Comparison]
) -> str:
    items = "".join(
        f"<li>{text_of(comparison_verdict(one, summary, metric, scale))}</li>\n"
        for one in sorted(several, key=lambda one: _ORDER.index(one.verdict))
    )
    return f'<ul class="verdicts">\n{items}</ul>\n' if items else ""


def _curves(summary: Summary, metric: MetricSummary, key: str = "") -> str:
    curves = curves_of(summary, metric)
    if not curves:
        return section(f"curves{key}", "Curves", ["<p>No cycle has a number to show.</p>"])
    scale = scale_of(metric)
    panels = panels_of(summary, curves)
    unit = scale.unit.strip()
    what = f"{metric.metric}{f' in {unit}' * bool(unit)}"
    label = f"{what} by number of labels, a curve for each strategy. The numbers are in a table."
    tall = (_WIDE[0], max(_WIDE[1], 17.0 * len(curves) + 60))
    banded = banded_of(summary, curves, bool(panels))
    drawn = [
        f'<div class="wide">{_drawn(curves, scale, label, tall, banded, True)}</div>',
        f'<div class="narrow">{_drawn(curves, scale, label, _NARROW, banded, False)}</div>',
    ]
    keys = "".join(f"<li>{key_svg(one.style)} {text_of(one.title)}</li>" for one in curves)
    seeds = len(summary.seeds)
    caption = f"{what}, mean of {f'{seeds} seeds' if seeds > 1 else 'one seed'}."
    if seeds > 1 and len(banded) == 1:
        caption += (
            f" The band is the {100 * summary.level:g} % interval of {banded[0].title}'s mean."
        )
    parts = [
        f"<figure>{''.join(drawn)}"
        f'<figcaption class="quiet">{text_of(caption)}</figcaption></figure>',
        f'<ul class="keys">{keys}</ul>',
    ]
    if panels and summary.baseline is not None:
        parts += _panels(summary, metric, scale, what)
    return section(f"curves{key}", "Curves" if not key else f"Curves of {metric.metric}", parts)


def _drawn(
    curves: Sequence[Curve],
    scale: Scale,
    label: str,
    size: tuple[float, float],
    banded: Sequence[Curve],
    named: bool,
) -> str:
    width, height = size
    return curves_svg(
        curves, scale, label=label, width=width, height=height, banded=banded, named=named
    )


def _panels(summary: Summary, metric: MetricSummary, scale: Scale, what: str) -> list[str]:
    """Return each strategy's curve beside the baseline's."""
    curves = curves_of(summary, metric)
    baseline = [curve for curve in curves if curve.strategy == summary.baseline]
    compared = {one.strategy: one for one in metric.comparisons}
    limits = value_range(curves, curves)
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
            banded=both,
            limits=limits,
        )
        said = f' <span class="quiet">{text_of(said)}</span>' if said else ""
        figures.append(
            f"<figure><figcaption>{key_svg(curve.style)} <strong>{text_of(curve.title)}</strong>"
            f"{said}</figcaption>{drawn}</figure>"
        )
    level = f"{100 * summary.level:g} %"
    explained = f"Each strategy beside {title} (dashed), and the mean difference of the two."
    if any(one.curve.num_seeds > 1 for one in metric.comparisons):
        explained = (
            f"Each strategy beside {title} (dashed), with {level} intervals of both means. Whether "
            "the two differ is said by the paired difference above: seeds differ from each other "
            "in what both strategies share, so that it may be clear where bands overlap."
        )
    return [
        f'<p class="quiet">{text_of(explained)}</p>',
        f'<div class="panels">{"".join(figures)}</div>',
    ]


def _other_metric(summary: Summary, metric: MetricSummary) -> str:
    """Return all about a metric that is not the first, closed until it is asked for."""
    scale = scale_of(metric)
    key = f"-{[of.metric for of in summary.metrics].index(metric.metric)}"
    inner = [
        f'<p class="headline">{text_of(headline(summary, metric))}</p>',
        _growth(summary, metric, scale),
        _sentences(summary, metric, scale, metric.comparisons),
        _curves(summary, metric, key),
        accuracy_section(summary, metric, key),
        differences_section(summary, metric, key),
    ]
    title = f"The same by {metric.metric}"
    return (
        f'<section aria-labelledby="metric{key}">\n<details>\n'
        f'<summary><h2 id="metric{key}">{text_of(title)}</h2></summary>\n'
        f"{''.join(inner)}\n</details>\n</section>"
    )


def _pictures(pictures: Sequence[tuple[str, Path]]) -> str:
    if not pictures:
        return ""
    figures = []
    for title, path in pictures:
        source, width, height = _embedded(path)
        figures.append(
            f'<figure><figcaption>{text_of(title)}</figcaption><img src="{source}" '
            f'alt="{html.escape(title)}" width="{width}" height="{height}"></figure>'
        )
    return section("picks", "What was chosen first",
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
        f"<dt>{html.escape(key)}</dt><dd>{html.escape(value)}</dd>"
        for key, value in _flat(configuration)
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

"""Curves and intervals as SVG, for the page: its colours are those of the style sheet."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Callable, Sequence

from vl4pose.simulation.curves import Curve, Style, label_ticks, spread, value_range
from vl4pose.simulation.seed_statistics import Difference
from vl4pose.simulation.verdicts import Scale

__all__ = ["curves_svg", "interval_svg", "key_svg", "nice_ticks", "with_minus"]

_LETTER = 6.4  # pixels across, of text of 12 pixels
_LINE = 16.0  # pixels from one label to the next
_LEFT, _RIGHT, _TOP, _BOTTOM = 50.0, 14.0, 10.0, 38.0
_SHAPES = {
    "circle": "M-4 0A4 4 0 1 0 4 0A4 4 0 1 0 -4 0Z",
    "square": "M-3.5 -3.5H3.5V3.5H-3.5Z",
    "triangle": "M0 -4.5L4.3 3.5H-4.3Z",
    "turned triangle": "M0 4.5L4.3 -3.5H-4.3Z",
    "diamond": "M0 -4.8L4.8 0L0 4.8L-4.8 0Z",
    "cross": "M-4 -4L4 4M-4 4L4 -4",
}


def curves_svg(
    curves: Sequence[Curve],
    scale: Scale,
    *,
    label: str,
    width: float,
    height: float,
    faint: Sequence[Curve] = (),
    banded: Sequence[Curve] = (),
    named: bool = False,
    limits: tuple[float, float] | None = None,
) -> str:
    """Return curves as an SVG element.

    Parameters
    ----------
    curves : sequence of Curve
        At least one.
    scale : Scale
        Of the metric.
    label : str
        What it is called for those who do not see it.
    width, height : float
        In pixels of the page.
    faint : sequence of Curve
        Others to draw in the background.
    banded : sequence of Curve
        Those of ``curves`` whose intervals are drawn.
    named : bool
        Write the titles beside the curves' ends.
    limits : (float, float), optional
        The lowest and highest value of the axis; by default those of ``curves``.
    """
    low, high = value_range(curves, banded) if limits is None else limits
    low, high = scale.factor * low, scale.factor * high
    labels = sorted({number for curve in curves for number in curve.num_labels})
    titles = max((len(curve.title) for curve in curves), default=0)
    right = width - (_LETTER * titles + 30 if named else _RIGHT)
    bottom = height - _BOTTOM
    span = max(labels[-1] - labels[0], 1)

    def x(number: float) -> float:
        return _LEFT + 8 + (number - labels[0]) / span * (right - _LEFT - 16)

    def y(value: float) -> float:  # cut, so that a huge band stays in its picture
        part = (value - low) / (high - low)
        return bottom - min(max(part, 0.0), 1.0) * (bottom - _TOP)

    parts = []
    ticks = nice_ticks(low, high, max(3, int((bottom - _TOP) / 45)))
    digits = max(0, -math.floor(math.log10(ticks[1] - ticks[0]) + 1e-9)) if len(ticks) > 1 else 1
    for tick in ticks:
        parts.append(f'<path class="grid" d="M{_LEFT} {y(tick):.1f}H{right:.1f}"/>')
        text = with_minus(f"{tick:.{digits}f}")
        parts.append(f'<text x="{_LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{text}</text>')
    parts.append(f'<path class="axis" d="M{_LEFT} {bottom}H{right:.1f}"/>')
    fit = max(2, int((right - _LEFT) / (_LETTER * len(f"{labels[-1]:,}") + 18)))
    for number in label_ticks(labels, min(fit, 6)):
        parts.append(f'<path class="axis" d="M{x(number):.1f} {bottom}v4"/>')
        parts.append(
            f'<text x="{x(number):.1f}" y="{bottom + 17}" text-anchor="middle">{number:,}</text>'
        )
    middle = (x(labels[0]) + x(labels[-1])) / 2
    parts.append(f'<text x="{middle:.1f}" y="{bottom + 33}" text-anchor="middle">labels</text>')

    def line(curve: Curve) -> str:
        points = zip(curve.num_labels, curve.mean, strict=True)
        return "M" + "L".join(f"{x(n):.1f} {y(scale.factor * v):.1f}" for n, v in points)

    parts += [f'<path class="curve faint" d="{line(curve)}"/>' for curve in faint]
    for curve in curves:
        parts.append(f'<g class="{_class(curve.style)}">')
        if curve in banded:
            parts += _bands(curve, scale, x, y)
        parts.append(f'<path class="curve" d="{line(curve)}"/>')
        for i, number in enumerate(curve.num_labels):
            place = f"translate({x(number):.1f} {y(scale.factor * curve.mean[i]):.1f})"
            parts.append(
                f'<g transform="{place}"><title>{html.escape(_said(curve, i, scale))}</title>'
                f"{_marker(curve.style)}</g>"
            )
        parts.append("</g>")
    if named:
        ends = [y(scale.factor * curve.mean[-1]) for curve in curves]
        places = spread(ends, _LINE, _TOP, bottom)
        for curve, end, at in zip(curves, ends, places, strict=True):
            start = x(curve.num_labels[-1]) + 7
            parts.append(
                f'<path class="leader" d="M{start:.1f} {end:.1f}L{right + 4:.1f} {at:.1f}h6"/>'
                f'<text class="{_class(curve.style)} name" x="{right + 14:.1f}" '
                f'y="{at + 4:.1f}">{html.escape(curve.title)}</text>'
            )
    return (
        f'<svg class="chart" role="img" aria-label="{html.escape(label)}" '
        f'viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}">'
        f"{''.join(parts)}</svg>"
    )


def key_svg(style: Style) -> str:
    """Return a small sample of a curve, for a legend."""
    return (
        f'<svg class="key-curve {_class(style)}" aria-hidden="true" viewBox="0 0 30 12">'
        '<path class="curve" d="M1 6H29"/>'
        f'<g transform="translate(15 6)">{_marker(style)}</g></svg>'
    )


def interval_svg(difference: Difference, reach: float) -> str:
    """Return a difference and its interval beside zero, from -``reach`` to ``reach``."""
    width, height = 150.0, 18.0

    def x(value: float) -> float:
        return width / 2 + min(max(value / reach, -1.0), 1.0) * (width / 2 - 6)

    parts = [f'<path class="axis" d="M{width / 2} 1V{height - 1}"/>']
    if not math.isnan(difference.low):
        low, high = x(difference.low), x(difference.high)
        parts.append(f'<path class="whisker" d="M{low:.1f} {height / 2}H{high:.1f}"/>')
    if not math.isnan(difference.mean):
        parts.append(f'<circle cx="{x(difference.mean):.1f}" cy="{height / 2}" r="4"/>')
    return (
        f'<svg class="interval" aria-hidden="true" viewBox="0 0 {width:g} {height:g}" '
        f'width="{width:g}" height="{height:g}">{"".join(parts)}</svg>'
    )


def nice_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return round numbers between two others, at most as many as wanted.

    Raises
    ------
    ValueError
        ``high must be above low, got ...``.
    """
    if not high > low:
        raise ValueError(f"high must be above low, got {high} and {low}")
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    for factor in (1, 2, 5, 10, 20):
        step = factor * power
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            break
    return [step * i for i in range(first, last + 1)]


def with_minus(text: str) -> str:
    """Return text with minus signs before its negative numbers, and what must not be parted."""
    text = re.sub(r"(?<![\w-])-(?=\d)", "−", text)
    return re.sub(r"\bp ([=<]) ", "p\u00a0\\1\u00a0", text).replace(" %", "\u00a0%")


def _bands(
    curve: Curve, scale: Scale, x: Callable[[float], float], y: Callable[[float], float]
) -> list[str]:
    """Return the intervals of a curve, in pieces where some are not known."""
    pieces: list[list[int]] = [[]]
    for i, low in enumerate(curve.low):
        if math.isnan(low):
            pieces.append([])
        else:
            pieces[-1].append(i)
    made = []
    for piece in pieces:
        if len(piece) < 2:
            continue
        ends = [(i, curve.high[i]) for i in piece] + [(i, curve.low[i]) for i in piece[::-1]]
        points = [f"{x(curve.num_labels[i]):.1f} {y(scale.factor * end):.1f}" for i, end in ends]
        made.append(f'<path class="band" d="M{"L".join(points)}Z"/>')
    return made


def _marker(style: Style) -> str:
    kind = "marker open" if style.marker == "cross" else "marker"
    return f'<path class="{kind}" d="{_SHAPES[style.marker]}"/>'


def _class(style: Style) -> str:
    return "strategy-baseline" if style.colour is None else f"strategy-{style.colour}"


def _said(curve: Curve, index: int, scale: Scale) -> str:
    """Return what a point says when it is pointed at."""
    text = f"{curve.title}, {curve.num_labels[index]:,} labels: {scale.value(curve.mean[index])}"
    if not math.isnan(curve.std[index]):
        text += f" ± {scale.value(curve.std[index])}"
    seeds = curve.num_seeds[index]
    return with_minus(f"{text}{scale.unit}, {seeds} seed{'s' * (seeds != 1)}")

"""What the parts of a simulation's page are built with."""

from __future__ import annotations

import html
from collections.abc import Sequence

from vl4pose.simulation.curve_svg import key_svg, with_minus
from vl4pose.simulation.curves import styles_of
from vl4pose.simulation.statistics import Summary

__all__ = ["dash", "named", "section", "table", "text_of"]


def section(name: str, title: str, parts: Sequence[str]) -> str:
    """Return a part of the page; one whose name has a hyphen is a part of another part."""
    level = 3 if "-" in name else 2  # within another metric's
    inner = "\n".join(filter(None, parts))
    return (
        f'<section id="{name}" aria-labelledby="{name}-title" tabindex="-1">\n'
        f'<h{level} id="{name}-title">{text_of(title)}</h{level}>\n{inner}\n</section>'
    )


def table(label: str, heads: Sequence[str], rows: Sequence[tuple[str, Sequence[str], bool]]) -> str:
    """Return a table that can be moved sideways; names and cells are markup already."""
    first, *others = map(text_of, heads)
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
        f'<div class="scroll" role="region" aria-label="Table: {html.escape(label)}" tabindex="0">'
        f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>"
    )


def named(summary: Summary, name: str) -> str:
    """Return a strategy's title with a sample of its curve, as markup."""
    return f"{key_svg(styles_of(summary)[name])} {text_of(summary.titles[name])}"


def dash(text: str) -> str:
    """Return what stands for nothing in a table."""
    return "–" if text == "-" else text


def text_of(text: str) -> str:
    """Return text as markup."""
    return html.escape(with_minus(text))
